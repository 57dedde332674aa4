/**
 * The sentence in a TVM error that tells what happened.
 *
 * TVM's messages are Python-like: "Traceback (most recent call last):", places, and last
 * "InternalError: Check failed: (…) is false: The KV cache is full." People need the last part.
 */

/** "InternalError: …", "ValueError: …", as TVM and the C++ runtime write them. */
const KIND = /^\s*(?:[A-Za-z_:]*(?:Error|Exception|Exit)|terminated): +(\S.*)$/;
/** "Check failed: (a == b) is false: " says what a programmer checked; the reason follows. */
const CHECK = /^Check failed: .*? is false: (?=\S)/;
const LONGEST = 300;

export function essenceOf(message: string): string {
  const lines = message
    .split(/\n| \| /)
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const telling = lines.map((line) => KIND.exec(line)?.[1]).find((text) => text !== undefined);
  const plain = lines.find((line) => !/^(Traceback|File ")/.test(line));
  const text = (telling ?? plain ?? lines[0] ?? "no reason given").replace(CHECK, "");
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
