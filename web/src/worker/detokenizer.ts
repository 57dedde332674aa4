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
const NONE: ReadonlySet<number> = new Set();
const SPACE = 0x20;

/** What tokens stand for. */
export interface TokenBytes {
  /** One more than the largest id. */
  readonly size: number;
  /** Encoding puts a space in front of a text; decoding takes it away. */
  readonly stripsFirstSpace: boolean;
  /** Tokens that have no text but a name, and how that is spelled. */
  readonly specials: ReadonlyMap<number, Uint8Array>;
  /** The token's bytes; none for ids that no token has. */
  bytesOrNone(tokenId: number): Uint8Array;
  /** @throws TransomError for an id outside the vocabulary. */
  bytesOf(tokenId: number): Uint8Array;
}

/** The bytes of each token of one vocabulary. */
export class TokenTable implements TokenBytes {
  readonly #bytes: (Uint8Array | undefined)[] = [];
  readonly stripsFirstSpace: boolean;
  readonly specials: ReadonlyMap<number, Uint8Array>;

  /** @throws TransomError `invalid-bundle` for a decoder that we would have to guess about. */
  constructor(tokenizer: TokenizerJson) {
    const decoders = tokenizer.decoder?.decoders ?? (tokenizer.decoder ? [tokenizer.decoder] : []);
    const types = new Set(decoders.map(({ type }) => type));
    const toBytes = chooseDecoding(types);
    this.stripsFirstSpace = types.has("Strip");
    const encoder = new TextEncoder();
    const specials = new Map<number, Uint8Array>();
    for (const { id, content, special } of tokenizer.added_tokens) {
      const bytes = encoder.encode(content);
      this.#bytes[id] = special ? NO_BYTES : bytes;
      if (special) {
        specials.set(id, bytes);
      }
    }
    this.specials = specials;
    eachToken(tokenizer.model.vocab, (token, id) => {
      // Added tokens are written as they are, in no alphabet.
      this.#bytes[id] ??= toBytes(token);
    });
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

export interface DecodingOptions {
  /** Special tokens that are written out as they are spelled; none if left out. */
  shown?: ReadonlySet<number>;
  /** The text goes on behind another one, so its first space is its own; false if left out. */
  isContinuation?: boolean;
}

/** One answer's text. */
export class Detokenizer {
  readonly #table: TokenBytes;
  readonly #shown: ReadonlySet<number>;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #stripsSpace: boolean;

  constructor(table: TokenBytes, { shown = NONE, isContinuation = false }: DecodingOptions = {}) {
    this.#table = table;
    this.#shown = shown;
    this.#stripsSpace = table.stripsFirstSpace && !isContinuation;
  }

  /** What a token brings to the text, by itself; none for ids that no token has. */
  bytesOf(tokenId: number): Uint8Array {
    return this.#spelled(tokenId) ?? this.#table.bytesOrNone(tokenId);
  }

  #spelled(tokenId: number): Uint8Array | undefined {
    return this.#shown.has(tokenId) ? this.#table.specials.get(tokenId) : undefined;
  }

  /** The text that became complete with this token; often empty for emoji and CJK. */
  push(tokenId: number): string {
    let bytes = this.#spelled(tokenId) ?? this.#table.bytesOf(tokenId);
    // Encoding put a space in front of the text; only the first token can hold it.
    if (this.#stripsSpace && bytes[0] === SPACE) {
      bytes = bytes.subarray(1);
    }
    this.#stripsSpace = false;
    return this.#decoder.decode(bytes, { stream: true });
  }

  /** What is left at the end: U+FFFD when the answer stopped inside a character, else nothing. */
  finish(): string {
    return this.#decoder.decode();
  }
}

/** Each entry of a model's vocabulary: there may be a quarter of a million, so no list is made. */
export function eachToken(
  vocab: TokenizerJson["model"]["vocab"],
  visit: (token: string, id: number) => void,
): void {
  if (Array.isArray(vocab)) {
    vocab.forEach(([token], id) => {
      visit(token, id);
    });
    return;
  }
  for (const token of Object.keys(vocab)) {
    visit(token, vocab[token] ?? 0);
  }
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
  const byteOf = new Array<number | undefined>(512).fill(undefined);
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isVisible =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    byteOf[isVisible ? byte : next++] = byte;
  }
  return (token) => {
    // Each of its characters is one UTF-16 unit; half of any other is in no alphabet either.
    const bytes = new Uint8Array(token.length);
    for (let at = 0; at < token.length; at++) {
      const byte = byteOf[token.charCodeAt(at)];
      if (byte === undefined) {
        throw new TransomError("invalid-bundle", `Token ${token} is not in the byte alphabet.`);
      }
      bytes[at] = byte;
    }
    return bytes;
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
