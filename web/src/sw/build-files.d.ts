/** `virtual:build-files`, made by `web/precache-manifest.ts`. */
import type { BuildFiles } from "../../precache-manifest.ts";

declare const files: BuildFiles;
export default files;
