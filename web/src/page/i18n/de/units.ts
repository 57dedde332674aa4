import type { Words } from "../words.ts";

export const units: Words["units"] = {
  bytes: ["B", "kB", "MB", "GB", "TB"],
  second: "s",
  minute: "min",
  hour: "h",
};
