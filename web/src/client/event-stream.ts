/**
 * Server-sent events out of a stream's bytes, however they were cut. Pure.
 *
 * As the HTML standard has it: lines end with CR, LF or both; several `data` lines are one text;
 * comments and unknown fields are passed over; what is not ended by an empty line is no event.
 */

/** What a stream without an `event` line is about. */
const MESSAGE = "message";

export interface ServerSentEvent {
  event: string;
  data: string;
}

export class EventStreamReader {
  readonly #decoder = new TextDecoder();
  /** A line that has begun. */
  #rest = "";
  /** The last character was CR: an LF that comes next belongs to it. */
  #endsInReturn = false;
  #event = "";
  #data: string[] = [];

  /** @returns the events that these bytes complete, in order. */
  push(bytes: Uint8Array): ServerSentEvent[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") {
      return [];
    }
    if (this.#endsInReturn && text.startsWith("\n")) {
      text = text.slice(1);
    }
    this.#endsInReturn = text === "" ? false : text.endsWith("\r");
    const [first = "", ...others] = text.split(/\r\n|\r|\n/);
    const lines = [this.#rest + first, ...others];
    this.#rest = lines.pop() ?? "";
    return lines.map((line) => this.#take(line)).filter((event) => event !== null);
  }

  #take(line: string): ServerSentEvent | null {
    if (line === "") {
      const event = { event: this.#event || MESSAGE, data: this.#data.join("\n") };
      const isEvent = this.#data.length > 0;
      this.#event = "";
      this.#data = [];
      return isEvent ? event : null;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") {
      this.#data.push(value);
    } else if (field === "event") {
      this.#event = value;
    }
    return null;
  }
}
