/**
 * wllama's messages to its wasm ("glue"): fields in a fixed order, each behind a number for its type.
 *
 * Only the messages that we use; `tests/web/glue.test.ts` holds this table to the package's own. A
 * field with `?` may be left out.
 */
const MESSAGES = {
  load_req: {
    model_paths: "arr_str",
    n_ctx_auto: "bool",
    use_mmap: "bool",
    use_mlock: "bool",
    n_gpu_layers: "int",
    seed: "int",
    n_ctx: "int",
    n_threads: "int",
    embeddings: "bool?",
    offload_kqv: "bool?",
    n_batch: "int?",
    n_seq_max: "int?",
    pooling_type: "str?",
    rope_scaling_type: "str?",
    rope_freq_base: "float?",
    rope_freq_scale: "float?",
    yarn_ext_factor: "float?",
    yarn_attn_factor: "float?",
    yarn_beta_fast: "float?",
    yarn_beta_slow: "float?",
    yarn_orig_ctx: "int?",
    cache_type_k: "str?",
    cache_type_v: "str?",
    flash_attn: "bool?",
    swa_full: "bool?",
  },
  load_res: {
    success: "bool",
    n_ctx: "int",
    n_batch: "int",
    n_ubatch: "int",
    n_vocab: "int",
    n_ctx_train: "int",
    n_embd: "int",
    n_layer: "int",
    metadata_key: "arr_str",
    metadata_val: "arr_str",
    token_bos: "int",
    token_eos: "int",
    token_eot: "int",
    list_tokens_eog: "arr_int",
    add_bos_token: "bool",
    add_eos_token: "bool",
    has_encoder: "bool",
    token_decoder_start: "int",
  },
  gvoc_req: {},
  gvoc_res: { success: "bool", vocab: "arr_raw" },
  tokn_req: { text: "str", special: "bool" },
  tokn_res: { success: "bool", tokens: "arr_int" },
  deco_req: { tokens: "arr_int", skip_logits: "bool" },
  deco_res: { success: "bool", message: "str", n_past: "int" },
  glog_req: { top_k: "int" },
  glog_res: { success: "bool", tokens: "arr_int", probs: "arr_float" },
  gemb_req: { tokens: "arr_int" },
  gemb_res: { success: "bool", message: "str", embeddings: "arr_float" },
  kvcr_req: { n_keep: "int", n_discard: "int" },
  kvcr_res: { n_past: "int", success: "bool" },
  kvcc_req: {},
  kvcc_res: { n_past: "int", success: "bool" },
} as const satisfies Record<string, Record<string, FieldType | `${FieldType}?`>>;

interface Values {
  bool: boolean;
  int: number;
  float: number;
  str: string;
  raw: Uint8Array;
  arr_int: ArrayLike<number>;
  arr_float: ArrayLike<number>;
  arr_str: readonly string[];
  arr_raw: readonly Uint8Array[];
}

type FieldType = keyof Values;
type Messages = typeof MESSAGES;
export type MessageName = keyof Messages;

type Required<Fields> = {
  [K in keyof Fields as Fields[K] extends FieldType ? K : never]: Fields[K] extends FieldType
    ? Values[Fields[K]]
    : never;
};
type Optional<Fields> = {
  [
    K in keyof Fields as Fields[K] extends FieldType ? never : K
  ]?: Fields[K] extends `${infer T extends FieldType}?` ? Values[T] : never;
};
export type Message<N extends MessageName> = Required<Messages[N]> & Optional<Messages[N]>;

/** The table, for the test that compares it. */
export const FIELDS: Record<string, Record<string, string>> = MESSAGES;

const MAGIC = "GLUE";
const VERSION = 1;
const NAME_LENGTH = 8;
const NULL = 0;
const TYPE_NUMBERS: Record<FieldType, number> = {
  bool: 1,
  int: 2,
  float: 3,
  str: 4,
  raw: 5,
  arr_int: 7,
  arr_float: 8,
  arr_str: 9,
  arr_raw: 10,
};

export function encode<N extends MessageName>(name: N, message: Message<N>): Uint8Array {
  const writer = new Writer();
  writer.bytes(ascii(MAGIC));
  writer.number(VERSION);
  writer.bytes(ascii(name));
  const values = message as Record<string, unknown>;
  for (const [field, written] of Object.entries(FIELDS[name] ?? {})) {
    const value = values[field];
    if (value === undefined) {
      writer.number(NULL);
      continue;
    }
    const type = typeOf(written);
    writer.number(TYPE_NUMBERS[type]);
    // The types of `message` follow from the same table.
    writer.value(type, value as never);
  }
  return writer.whole();
}

/** @throws Error when the bytes are another message, or none. */
export function decode<N extends MessageName>(name: N, bytes: Uint8Array): Message<N> {
  const reader = new Reader(bytes);
  if (reader.text(MAGIC.length) !== MAGIC || reader.number() !== VERSION) {
    throw new Error("wllama sent no message of the version that we know");
  }
  const found = reader.text(NAME_LENGTH);
  if (found !== name) {
    throw new Error(`wllama sent ${found} instead of ${name}`);
  }
  const message: Record<string, unknown> = {};
  for (const [field, written] of Object.entries(FIELDS[name] ?? {})) {
    const number = reader.number();
    const type = typeOf(written);
    if (number === TYPE_NUMBERS[type]) {
      message[field] = reader.value(type);
    } else if (number !== NULL || !written.endsWith("?")) {
      throw new Error(`wllama's ${name}.${field} is no ${type}`);
    }
  }
  return message as Message<N>;
}

function typeOf(written: string): FieldType {
  return written.replace("?", "") as FieldType;
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

class Writer {
  readonly #parts: Uint8Array[] = [];

  number(value: number): void {
    // Of a negative number the same bits.
    this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }

  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  value<T extends FieldType>(type: T, value: Values[T]): void {
    switch (type) {
      case "bool":
      case "int":
        this.number(Number(value));
        return;
      case "float":
        this.bytes(new Uint8Array(Float32Array.of(Number(value)).buffer));
        return;
      case "str":
        this.#sized(ascii(value as string));
        return;
      case "raw":
        this.#sized(value as Uint8Array);
        return;
      case "arr_int":
      case "arr_float": {
        const Numbers = type === "arr_int" ? Int32Array : Float32Array;
        const numbers = Numbers.from(value as ArrayLike<number>);
        this.number(numbers.length);
        this.bytes(new Uint8Array(numbers.buffer));
        return;
      }
      case "arr_str":
      case "arr_raw": {
        const rows = value as readonly (string | Uint8Array)[];
        this.number(rows.length);
        for (const row of rows) {
          this.#sized(typeof row === "string" ? ascii(row) : row);
        }
        return;
      }
    }
  }

  whole(): Uint8Array {
    const whole = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.byteLength, 0));
    let position = 0;
    for (const part of this.#parts) {
      whole.set(part, position);
      position += part.byteLength;
    }
    return whole;
  }

  #sized(bytes: Uint8Array): void {
    this.number(bytes.byteLength);
    this.bytes(bytes);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  number(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  text(length: number): string {
    return new TextDecoder().decode(this.#take(length));
  }

  value(type: FieldType): Values[FieldType] {
    switch (type) {
      case "bool":
        return this.number() !== 0;
      case "int":
        return this.number() | 0;
      case "float":
        return this.#view.getFloat32(this.#skip(4), true);
      case "str":
        return this.text(this.number());
      case "raw":
        return this.#take(this.number());
      case "arr_int":
        return new Int32Array(this.#take(4 * this.number()).buffer);
      case "arr_float":
        return new Float32Array(this.#take(4 * this.number()).buffer);
      case "arr_str":
        return Array.from({ length: this.number() }, () => this.text(this.number()));
      case "arr_raw":
        return Array.from({ length: this.number() }, () => this.#take(this.number()));
    }
  }

  /** A copy: numbers in a message need not lie where arrays of them may begin. */
  #take(length: number): Uint8Array<ArrayBuffer> {
    const start = this.#skip(length);
    return Uint8Array.from(this.#bytes.subarray(start, start + length));
  }

  #skip(length: number): number {
    const start = this.#position;
    this.#position += length;
    if (this.#position > this.#bytes.byteLength) {
      throw new Error("wllama's message ends too early");
    }
    return start;
  }
}
