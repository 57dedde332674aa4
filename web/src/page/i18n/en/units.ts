/** Behind a number and a space. */
export const units = {
  bytes: ["B", "kB", "MB", "GB", "TB"] as readonly string[],
  second: "s",
  minute: "min",
  hour: "h",
};
