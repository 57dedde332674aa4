import { describe, expect, it } from "vitest";

import { EventStreamReader } from "../../web/src/client/event-stream.ts";
import { randomNumbers } from "./random-numbers.ts";

const encoder = new TextEncoder();

/** The data of all events, from bytes cut at the given places. */
function read(bytes: Uint8Array, cuts: readonly number[] = []): string[] {
  const reader = new EventStreamReader();
  const edges = [0, ...cuts, bytes.length];
  return edges
    .slice(1)
    .flatMap((end, index) => reader.push(bytes.subarray(edges[index], end)))
    .map(({ data }) => data);
}

const STREAM = [
  ": a comment\n\n",
  "data: one\n\n",
  "data:two\r\n\r\n",
  "event: words\rdata: three\rid: 7\r\r",
  "data: é 日本 🙂\n",
  "data:  second line\n\n",
  "retry: 3\nunknown\n\n",
  "data\n\n",
  "data: never ended",
].join("");
const EVENTS = ["one", "two", "three", "é 日本 🙂\n second line", ""];

describe("EventStreamReader", () => {
  it("reads every kind of line", () => {
    expect(read(encoder.encode(STREAM))).toEqual(EVENTS);
  });

  it("does not mind where bytes are cut", () => {
    const bytes = encoder.encode(STREAM);
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(read(bytes, [cut])).toEqual(EVENTS);
    }
    expect(
      read(
        bytes,
        Array.from(bytes, (_, index) => index),
      ),
    ).toEqual(EVENTS);
    const random = randomNumbers(7);
    for (let round = 0; round < 200; round++) {
      const cuts = Array.from({ length: 9 }, () => Math.floor(random() * bytes.length));
      expect(
        read(
          bytes,
          cuts.sort((a, b) => a - b),
        ),
      ).toEqual(EVENTS);
    }
  });

  it("tells what an event is about", () => {
    const reader = new EventStreamReader();
    expect(reader.push(encoder.encode("event: error\ndata: x\n\ndata: y\n\n"))).toEqual([
      { event: "error", data: "x" },
      { event: "message", data: "y" },
    ]);
  });

  it("leaves out a byte order mark", () => {
    expect(read(encoder.encode("\ufeffdata: one\n\n"))).toEqual(["one"]);
  });
});
