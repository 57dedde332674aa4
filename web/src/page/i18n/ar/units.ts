import type { Words } from "../words.ts";

export const units: Words["units"] = {
  bytes: ["بايت", "كيلوبايت", "ميغابايت", "غيغابايت", "تيرابايت"],
  second: "ث",
  minute: "د",
  hour: "س",
};
