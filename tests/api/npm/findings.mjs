// What the scripts of npm's clients share: the words of tests/api/clients/findings.py.

import { readdirSync, readFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";

import * as z from "zod";

const [, , address, folder] = process.argv;
export const ADDRESS = address;
export const PICTURES = readdirSync(folder)
  .filter((name) => name.endsWith(".png"))
  .sort()
  .map((name) => readFileSync(join(folder, name)).toString("base64"));

export const QUESTION = "Name the seven colours of the rainbow in one line.";
export const TOWN_QUESTION = "Which town, and what is its sky like? Answer in JSON.";
export const WEATHER_QUESTION = "What is the weather in Oulu?";
export const WEATHER_ANSWER = "It is sunny in Oulu, 21 degrees.";
export const WEATHER_SCHEMA = {
  type: "object",
  properties: { city: { type: "string", description: "Name of the city." } },
  required: ["city"],
  additionalProperties: false,
};
export const SENTENCES = [
  "A cat sat on the mat.",
  "A kitten rests on a rug.",
  "Shares fell sharply on Monday.",
];
export const COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9,";
// More than any answer takes here, and less than the one that is cancelled would.
export const MILLISECONDS = 60_000;

export const Town = z.object({
  name: z.enum(["Oulu", "Rome"]),
  sky: z.object({ colour: z.enum(["blue", "grey"]), is_clear: z.boolean() }),
});

const away = [];
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  const host = options?.host ?? options?.hostname ?? "localhost";
  if (!["127.0.0.1", "::1", "localhost"].includes(host)) {
    // Kept as well: some clients pass over it when a call home fails.
    away.push(host);
    throw new Error(`this script stays on this machine: ${host}`);
  }
  return connect.apply(this, given);
};

function cosine(one, other) {
  const dot = (x, y) => x.reduce((sum, value, place) => sum + value * y[place], 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}

/** How near the vectors of SENTENCES are to each other. */
export function vectorsSeen([first, near, far]) {
  return { size: first.length, near: cosine(first, near), far: cosine(first, far) };
}

/** The class and the words of the error that `ask` ends with. */
export async function refused(ask) {
  let answer;
  try {
    answer = await ask();
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
  throw new Error(`this should have been refused: ${JSON.stringify(answer)}`);
}

/** What `ask` says of each of `items`, one after the other. */
export async function each(items, ask) {
  const answers = [];
  for (const item of items) answers.push(await ask(item));
  return answers;
}

/** Print the findings, with the version that was found. */
export function report(name, findings) {
  if (away.length > 0) throw new Error(`this client called home: ${away}`);
  const path = join(import.meta.dirname, "node_modules", name, "package.json");
  const { version } = JSON.parse(readFileSync(path, "utf8"));
  console.log(JSON.stringify({ versions: { [name]: version }, ...findings }));
}
