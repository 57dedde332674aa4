/**
 * Token ids back to text, piece by piece, never with half a character.
 *
 * A token is a run of bytes, and a character's bytes may be spread over tokens. Each id becomes
 * its bytes; a streaming UTF-8 decoder holds back what is incomplete until the rest arrives or the
 * answer ends. Special tokens (`<|im_end|>`) have no text.
 */
import { TransomError } from "../errors.ts";

/** The parts of `tokenizer.json` that matter here. */
export interface TokenizerJson {
  /** Unigram lists its tokens with their scores; the others give each token its id. */
  model: { vocab: Record<string, number> | [string, number][] };
  decoder: { type: string; decoders?: { type: string }[] } | null;
  added_tokens: { id: number; content: string; special: boolean; rstrip?: boolean }[];
}

type TokenToBytes = (token: string) => Uint8Array;

const NO_BYTES = new Uint8Array(0);
const SPACE = 0x20;

/** What tokens stand for. */
export interface TokenBytes {
  /** One more than the largest id. */
  readonly size: number;
  /** Encoding puts a space in front of a text; decoding takes it away. */
  readonly stripsFirstSpace: boolean;
  /** The token's bytes; none for ids that no token has. */
  bytesOrNone(tokenId: number): Uint8Array;
  /** @throws TransomError for an id outside the vocabulary. */
  bytesOf(tokenId: number): Uint8Array;
}

/** The bytes of each token of one vocabulary. */
export class TokenTable implements TokenBytes {
  readonly #bytes: (Uint8Array | undefined)[] = [];
  readonly stripsFirstSpace: boolean;

  /** @throws TransomError `invalid-bundle` for a decoder that we would have to guess about. */
  constructor(tokenizer: TokenizerJson) {
    const decoders = tokenizer.decoder?.decoders ?? (tokenizer.decoder ? [tokenizer.decoder] : []);
    const types = new Set(decoders.map(({ type }) => type));
    const toBytes = chooseDecoding(types);
    this.stripsFirstSpace = types.has("Strip");
    const encoder = new TextEncoder();
    for (const { id, content, special } of tokenizer.added_tokens) {
      this.#bytes[id] = special ? NO_BYTES : encoder.encode(content);
    }
    for (const [token, id] of tokenIds(tokenizer.model.vocab)) {
      // Added tokens are written as they are, in no alphabet.
      this.#bytes[id] ??= toBytes(token);
    }
  }

  /** One more than the largest id. */
  get size(): number {
    return this.#bytes.length;
  }

  /** The token's bytes; none for special tokens, and for ids that no token has. */
  bytesOrNone(tokenId: number): Uint8Array {
    return this.#bytes[tokenId] ?? NO_BYTES;
  }

  /** The token's bytes; none for special tokens. @throws for an id outside the vocabulary. */
  bytesOf(tokenId: number): Uint8Array {
    const bytes = this.#bytes[tokenId];
    if (bytes === undefined) {
      throw new TransomError("invalid-bundle", `The tokenizer has no token with id ${tokenId}.`);
    }
    return bytes;
  }
}

/** One answer's text. */
export class Detokenizer {
  readonly #table: TokenBytes;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #isFirst = true;

  constructor(table: TokenBytes) {
    this.#table = table;
  }

  /** The text that became complete with this token; often empty for emoji and CJK. */
  push(tokenId: number): string {
    let bytes = this.#table.bytesOf(tokenId);
    // Encoding put a space in front of the text; only the first token can hold it.
    if (this.#isFirst && this.#table.stripsFirstSpace && bytes[0] === SPACE) {
      bytes = bytes.subarray(1);
    }
    this.#isFirst = false;
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What is left at the end: U+FFFD when the answer stopped inside a character, else nothing. */
  finish(): string {
    return this.#decoder.decode();
  }
}

/** Token and id of each entry of a model's vocabulary. */
export function tokenIds(vocab: TokenizerJson["model"]["vocab"]): [string, number][] {
  return Array.isArray(vocab) ? vocab.map(([token], id) => [token, id]) : Object.entries(vocab);
}

function chooseDecoding(types: ReadonlySet<string>): TokenToBytes {
  if (types.size === 1 && types.has("ByteLevel")) {
    return byteLevelDecoding();
  }
  const known = new Set(["Replace", "ByteFallback", "Fuse", "Strip"]);
  if (types.has("ByteFallback") && [...types].every((type) => known.has(type))) {
    return sentencePieceDecoding();
  }
  const names = [...types].join(", ") || "none";
  throw new TransomError("invalid-bundle", `The tokenizer's decoder is not known here: ${names}.`);
}

/**
 * GPT-2's alphabet: each byte is written as one visible character. Bytes that are visible in
 * Latin-1 stand for themselves; the others take the code points from 256 on, in order.
 */
function byteLevelDecoding(): TokenToBytes {
  const byteOf = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isVisible =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    byteOf.set(String.fromCodePoint(isVisible ? byte : next++), byte);
  }
  return (token) => {
    const bytes: number[] = [];
    for (const character of token) {
      const byte = byteOf.get(character);
      if (byte === undefined) {
        throw new TransomError("invalid-bundle", `Token ${token} is not in the byte alphabet.`);
      }
      bytes.push(byte);
    }
    return Uint8Array.from(bytes);
  };
}

/** SentencePiece: `▁` is a space, `<0x0A>` is a byte that the vocabulary has no token for. */
function sentencePieceDecoding(): TokenToBytes {
  const encoder = new TextEncoder();
  return (token) => {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    return byte === undefined
      ? encoder.encode(token.replaceAll("▁", " "))
      : Uint8Array.of(Number.parseInt(byte, 16));
  };
}
