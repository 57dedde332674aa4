import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { FIELDS, decode, encode } from "../../web/src/worker/llama/glue.ts";

/** The package's own table: a JSON object within its TypeScript. */
function packageFields(): Map<string, Record<string, string>> {
  const path = "node_modules/@wllama/wllama/src/glue/messages.ts";
  const [, json = ""] =
    /GLUE_MESSAGE_PROTOTYPES[^=]*= (\{.*?\n\})\s*;/s.exec(readFileSync(path, "utf8")) ?? [];
  const table = JSON.parse(json) as Record<
    string,
    { fields: { type: string; name: string; isNullable: boolean }[] }
  >;
  return new Map(
    Object.entries(table).map(([name, { fields }]) => [
      name,
      Object.fromEntries(
        fields.map((field) => [field.name, field.type + (field.isNullable ? "?" : "")]),
      ),
    ]),
  );
}

describe("glue", () => {
  it.each(Object.keys(FIELDS))("knows %s as the package has it, in its order", (name) => {
    const theirs = packageFields().get(name) ?? {};
    expect(Object.entries(FIELDS[name] ?? {})).toEqual(Object.entries(theirs));
  });

  it("writes the bytes that llama.cpp expects", () => {
    const bytes = encode("kvcr_req", { n_keep: 3, n_discard: -1 });
    expect(new TextDecoder("latin1").decode(bytes)).toBe(
      "GLUE\x01\0\0\0kvcr_req\x02\0\0\0\x03\0\0\0\x02\0\0\0\xff\xff\xff\xff",
    );
  });

  it("reads what it wrote, wherever in a buffer it lies", () => {
    const answer = {
      success: true,
      message: "naïve",
      embeddings: Float32Array.of(0.5, -1.25),
    };
    const bytes = encode("gemb_res", answer);
    const shifted = new Uint8Array(bytes.byteLength + 3);
    shifted.set(bytes, 3);
    expect(decode("gemb_res", shifted.subarray(3))).toEqual(answer);
  });

  it("leaves out what may be left out", () => {
    const request = {
      model_paths: ["models/é.gguf"],
      n_ctx_auto: false,
      use_mmap: true,
      use_mlock: false,
      n_gpu_layers: 0,
      seed: 0,
      n_ctx: 4096,
      n_threads: 1,
      swa_full: true,
    };
    expect(decode("load_req", encode("load_req", request))).toEqual(request);
  });

  it.each([
    ["another message", encode("kvcc_req", {})],
    ["half a message", encode("kvcc_res", { n_past: 1, success: true }).subarray(0, 20)],
    ["no message", new TextEncoder().encode("no message at all")],
    ["a null where there may be none", withNull(encode("kvcc_res", { n_past: 1, success: true }))],
  ])("refuses %s", (_, bytes) => {
    expect(() => decode("kvcc_res", bytes)).toThrow(/wllama/);
  });
});

/** The first field's type becomes the null. */
function withNull(bytes: Uint8Array): Uint8Array {
  const changed = bytes.slice();
  changed[16] = 0;
  return changed;
}
