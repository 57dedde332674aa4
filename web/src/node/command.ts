/** What every Node entry does around its work: find the library, print errors, end the process. */
import { TransomError, describe } from "../errors.ts";
import type { Product, Schedule, Variant } from "../protocol.ts";
import { MEDIA_TYPES, SCHEDULE, layersOf } from "../store/manifest.ts";
import { ByteMeter } from "../store/progress.ts";
import { BundleFolder } from "./bundle-folder.ts";

/** Which variant, product and schedule a file name stands for. */
export async function findLibrary(
  folder: string,
  title: string,
): Promise<{ variant: Variant; schedule: Schedule; product: Product }> {
  const reader = new BundleFolder(folder, new ByteMeter(() => 0));
  for (const row of (await reader.readIndex()).manifests) {
    const variant = row.platform?.variant;
    if (row.platform?.os !== "browser" || (variant !== "f16" && variant !== "f32")) {
      continue;
    }
    const manifest = await reader.readManifest(row);
    for (const product of ["program", "library"] as const) {
      const layers = layersOf(manifest, MEDIA_TYPES[product]);
      const found = layers.find((layer) => layer.title === title);
      if (found !== undefined) {
        const isFallback = found.annotations.get(SCHEDULE) === "fallback";
        return { variant, product, schedule: isFallback ? "fallback" : "gpu" };
      }
    }
  }
  throw new TransomError(
    "invalid-request",
    `The bundle in ${folder} has no program or library ${title}.`,
  );
}

/**
 * Run an entry to its end. Exits 2 with one line on user errors, 3 where there is no graphics
 * adapter, 1 on anything else.
 */
export function runCommand(main: () => Promise<void>): void {
  main().then(
    () => {
      // Dawn keeps the process alive while a device exists, and crashes when it is collected; but
      // what a pipe has not taken yet would be lost.
      process.stdout.write("", () => process.exit(0));
    },
    (error: unknown) => {
      console.error(`error: ${describe(error)}`);
      process.exit(exitCodeOf(error));
    },
  );
}

function exitCodeOf(error: unknown): number {
  if (error instanceof TransomError && error.code === "no-adapter") {
    return 3;
  }
  return isUserError(error) ? 2 : 1;
}

/** Ours, or Node's own words for a wrong option, a missing file, or a file that is no JSON. */
function isUserError(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return (
    error instanceof TransomError ||
    error instanceof SyntaxError ||
    code === "ENOENT" ||
    code.startsWith("ERR_PARSE_ARGS")
  );
}
