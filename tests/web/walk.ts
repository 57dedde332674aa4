/** A model that knows nothing: it says any token that its format lets through. Seeded. */
import type { Constraint } from "../../web/src/protocol.ts";
import { TokenTable, type TokenizerJson } from "../../web/src/worker/detokenizer.ts";
import { ConstraintMaker } from "../../web/src/worker/constraint.ts";

/** Past so many tokens a walk looks for the way out. */
const LONG = 60;
const TOO_LONG = 2000;

const PIECES = [
  ...[
    '{"',
    '":',
    '": ',
    '": "',
    '", "',
    '"}',
    '"]',
    "},",
    "}}",
    "]]",
    '{"a":',
    '"a"',
    '["',
    "[]",
    "{}",
    '":{"',
  ],
  ...[
    " the",
    "the",
    "ing",
    "name",
    "age",
    " name",
    "true",
    "false",
    "null",
    "tr",
    "ue",
    "nul",
    "12",
    "345",
    "00",
  ],
  ...[
    "1.5",
    "e+",
    "-1",
    ".0",
    " {",
    "\n  ",
    "\n\n",
    "  ",
    "    ",
    "\t",
    ", ",
    ",\n",
    '\\"',
    "\\n",
    "\\u00",
    "\\\\",
  ],
  ...[
    "<tool_call>",
    "</tool_call>",
    "<to",
    "ol_",
    "call>",
    "2024",
    "-0",
    "T1",
    ":0",
    "@",
    ".com",
    "://",
    "yes",
    "ye",
    "no",
  ],
  ...[
    "é",
    "ß",
    "日本",
    "🪟",
    "abc",
    "xyz",
    "foo",
    "bar",
    '"foo"',
    '"bar":',
    "city",
    "Paris",
    "Hello",
    " world",
  ],
];
const STOP = "<|im_end|>";
const SILENT = "<|im_start|>";

/** Single bytes, pieces of JSON that cross every border, and two special tokens. */
export function byteLevelVocabulary(): TokenizerJson {
  const characters = byteCharacters();
  const spell = (text: string) =>
    Array.from(new TextEncoder().encode(text), (byte) => characters[byte]).join("");
  const tokens = [...new Set([...characters, ...PIECES.map(spell)])];
  const size = tokens.length;
  return {
    model: { vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) },
    decoder: { type: "ByteLevel" },
    added_tokens: [
      { id: size, content: STOP, special: true },
      { id: size + 1, content: SILENT, special: true },
    ],
  };
}

/** The same with spaces written `▁`, bytes as `<0x0A>`, and the first space taken away. */
export function sentencePieceVocabulary(): TokenizerJson {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const pieces = PIECES.map((piece) => piece.replaceAll(" ", "▁"));
  const tokens = [...new Set([...bytes, ...pieces, "▁", "▁▁", "▁yes", "▁{"])];
  return {
    model: { vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace" },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip" },
      ],
    },
    added_tokens: [{ id: tokens.length, content: STOP, special: true }],
  };
}

export class Walker {
  readonly table: TokenTable;
  readonly stopTokenId: number;
  readonly size: number;
  readonly maker: ConstraintMaker;
  readonly #texts: readonly string[];

  /** @param now milliseconds, of whoever watches a grammar's steps. */
  constructor(vocabulary: TokenizerJson, now?: () => number) {
    this.table = new TokenTable(vocabulary);
    this.stopTokenId = vocabulary.added_tokens.find(({ content }) => content === STOP)?.id ?? -1;
    // Models pad their vocabulary.
    this.size = this.table.size + 40;
    this.maker = new ConstraintMaker(this.table, this.size, [this.stopTokenId], now);
    const decoder = new TextDecoder("latin1");
    this.#texts = Array.from({ length: this.size }, (_, id) =>
      decoder.decode(this.table.bytesOrNone(id)),
    );
  }

  /** The ids of a text, by the longest tokens that begin it. */
  encode(text: string): number[] {
    const left = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte));
    const ids: number[] = [];
    for (let rest = left.join(""); rest !== "";) {
      let best = -1;
      this.#texts.forEach((token, id) => {
        if (
          token !== "" &&
          rest.startsWith(token) &&
          token.length > (this.#texts[best]?.length ?? 0)
        ) {
          best = id;
        }
      });
      ids.push(best);
      rest = rest.slice(this.#texts[best]?.length ?? rest.length);
    }
    return ids;
  }

  /** Which tokens may come next. */
  allowed(constraint: Constraint): number[] {
    const mask = constraint.nextMask();
    return Array.from({ length: this.size }, (_, id) => id).filter(
      (id) => mask === null || (((mask[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1,
    );
  }

  /** One answer, from its first token to its last. */
  walk(constraint: Constraint, random: () => number): string {
    const answer = this.walkSome(constraint, random);
    if (answer === null) {
      throw new Error(`no end after ${TOO_LONG} tokens`);
    }
    return answer;
  }

  /** The same, or null where it would have to be cut. */
  walkSome(constraint: Constraint, random: () => number): string | null {
    const bytes: number[] = [];
    for (let count = 0; count < TOO_LONG; count++) {
      const left = this.allowed(constraint);
      let id: number;
      do {
        id = this.#choose(left, random, count);
        left.splice(left.indexOf(id), 1);
      } while (!this.#continues(bytes, id));
      if (id === this.stopTokenId) {
        return this.#decode(bytes);
      }
      bytes.push(...this.table.bytesOrNone(id));
      if (!constraint.accept(id)) {
        return this.#decode(bytes);
      }
    }
    return null;
  }

  #choose(allowed: readonly number[], random: () => number, count: number): number {
    const closing = allowed.filter(
      (id) => id === this.stopTokenId || /^["\]}]+$/.test(this.#texts[id] ?? ""),
    );
    const isHurried = count > LONG || random() < 0.2;
    const from = isHurried && closing.length > 0 ? closing : allowed;
    return from[Math.floor(random() * from.length)] ?? -1;
  }

  /**
   * Models say bytes of characters in their order; xgrammar would let some others through as well,
   * which become U+FFFD.
   */
  #continues(bytes: readonly number[], id: number): boolean {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    const last = bytes.findLastIndex((byte) => byte < 0x80 || byte >= 0xc0);
    const tail = [...bytes.slice(Math.max(0, last)), ...this.table.bytesOrNone(id)];
    try {
      decoder.decode(Uint8Array.from(tail), { stream: id !== this.stopTokenId });
      return true;
    } catch {
      return false;
    }
  }

  #decode(bytes: readonly number[]): string {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
    return this.table.stripsFirstSpace ? text.replace(/^ /, "") : text;
  }
}

/** Numbers from 0 to 1, the same for the same seed. */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** GPT-2's visible character of each byte. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(isVisible ? byte : next++);
  });
}
