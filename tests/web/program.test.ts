import { describe, expect, it } from "vitest";

import { TransomError } from "../../web/src/errors.ts";
import { poolTokens } from "../../web/src/worker/program/pool-size.ts";
import { forSubgroups, parseProgram, valueOf } from "../../web/src/worker/program/program.ts";

/** The smallest program that is whole. */
function smallest(): Record<string, unknown> {
  return {
    format: "transom.program.v1",
    compute_dtype: "float32",
    schedule: "gpu",
    context_window: 32,
    prefill_chunk: 8,
    page_size: 16,
    pages_per_slot: 2,
    slots: 2,
    rows: 2,
    vocabulary: 10,
    layers: 1,
    memory: { weights: 8, kv_bytes_per_token: 16, scratch: 4 },
    params: [{ name: "w", shape: [2], dtype: "float32" }],
    storages: [4],
    kernels: {
      copy: { entry: "copy_kernel", wgsl: "…", writes: [0, 1], scalars: ["n", "packGridDimX"] },
    },
    functions: {
      decode: {
        most: 1,
        steps: [
          {
            kernel: "copy",
            buffers: [
              ["param", 0],
              ["shared", "logits"],
            ],
            scalars: ["n"],
            grid: [["//", ["+", "n", 3], 4], 1],
          },
        ],
      },
    },
  };
}

function parsed(document: unknown) {
  return parseProgram(new TextEncoder().encode(JSON.stringify(document)));
}

/** The step of `decode`, with something changed. */
function withStep(change: Record<string, unknown>): Record<string, unknown> {
  const document = smallest();
  const functions = document["functions"] as { decode: { steps: Record<string, unknown>[] } };
  Object.assign(functions.decode.steps[0] ?? {}, change);
  return document;
}

const SHARED_COPY = {
  entry: "shared_copy_kernel",
  wgsl: "…",
  writes: [0, 1],
  scalars: ["n", "packGridDimX"],
  subgroup_size: 8,
};
const INSTEAD = { kernel: "shared_copy", grid: [["//", ["+", "n", 7], 8], 1] };

/** The program with another kernel for its step, something of which is changed. */
function withAlternative(
  kernel: Record<string, unknown> = {},
  instead: Record<string, unknown> = {},
): Record<string, unknown> {
  const document = withStep({ instead: { ...INSTEAD, ...instead } });
  Object.assign(document["kernels"] as object, { shared_copy: { ...SHARED_COPY, ...kernel } });
  return document;
}

function onlyWithSubgroups(): Record<string, unknown> {
  const buffers = [
    ["param", 0],
    ["storage", 0],
  ];
  return { ...INSTEAD, buffers, scalars: ["n"] };
}

describe("parseProgram", () => {
  it("reads what the compiler writes", () => {
    const program = parsed(smallest());
    expect(program.memory).toEqual({ weights: 8, kvBytesPerToken: 16, scratch: 4 });
    const [step] = program.functions.get("decode")?.steps ?? [];
    expect(step?.buffers).toEqual([
      { kind: "param", index: 0 },
      { kind: "shared", name: "logits" },
    ]);
    expect(step?.grid).toEqual([["//", ["+", "n", 3], 4], 1]);
    expect(program.kernels.get("copy")?.writes).toEqual([false, true]);
  });

  it("reads the kernel that a step may run instead", () => {
    const program = parsed(withAlternative());
    expect(program.functions.get("decode")?.steps[0]?.instead).toEqual(INSTEAD);
    expect(program.kernels.get("shared_copy")?.subgroupSize).toBe(8);
    expect(program.kernels.get("copy")?.subgroupSize).toBe(0);
    expect(parsed(smallest()).functions.get("decode")?.steps[0]).not.toHaveProperty("instead");
  });

  it.each([
    ["another format", { ...smallest(), format: "transom.program.v2" }, "older or newer"],
    ["no layers", { ...smallest(), layers: 0 }, "layers"],
    ["a kernel that is not there", withStep({ kernel: "none" }), "names no kernel"],
    [
      "a parameter that is not there",
      withStep({
        buffers: [
          ["param", 1],
          ["storage", 0],
        ],
      }),
      "buffers",
    ],
    [
      "a scratch buffer that is not there",
      withStep({
        buffers: [
          ["param", 0],
          ["storage", 1],
        ],
      }),
      "buffers",
    ],
    ["a place of no kind", withStep({ buffers: [["weights"], ["storage", 0]] }), "place"],
    ["a place without an index", withStep({ buffers: [["param"], ["storage", 0]] }), "incomplete"],
    ["one buffer too few", withStep({ buffers: [["param", 0]] }), "does not bind"],
    ["one scalar too many", withStep({ scalars: ["n", 1] }), "does not bind"],
    ["an unknown operator", withStep({ grid: [["%", "n", 4], 1] }), "operator"],
    ["half an expression", withStep({ grid: [["+", "n"], 1] }), "expression"],
    ["another kernel that is not there", withStep({ instead: INSTEAD }), "names no kernel"],
    ["another kernel without a grid", withAlternative({}, { grid: undefined }), "grid"],
    ["another kernel with one buffer more", withAlternative({ writes: [0, 0, 1] }), "take"],
    ["another kernel that writes elsewhere", withAlternative({ writes: [1, 0] }), "take"],
    ["another kernel with a scalar less", withAlternative({ scalars: ["packGridDimX"] }), "take"],
    ["a subgroup of no threads", withAlternative({ subgroup_size: 0 }), "subgroup_size"],
    ["a subgroup larger than any", withAlternative({ subgroup_size: 129 }), "subgroup_size"],
    ["a subgroup of a word", withAlternative({ subgroup_size: "8" }), "subgroup_size"],
    [
      "a step that only devices with subgroups can run",
      { ...withAlternative(), functions: { decode: { most: 1, steps: [onlyWithSubgroups()] } } },
      "not every device",
    ],
  ])("refuses %s", (_name, document, words) => {
    expect(() => parsed(document)).toThrow(words);
    expect(() => parsed(document)).toThrow(TransomError);
  });

  it("refuses an expression that is too deep", () => {
    let grid: unknown = "n";
    for (let depth = 0; depth < 8; depth++) {
      grid = ["+", grid, 1];
    }
    expect(() => parsed(withStep({ grid: [grid, 1] }))).not.toThrow();
    expect(() => parsed(withStep({ grid: [["+", grid, 1], 1] }))).toThrow("expression");
  });
});

describe("forSubgroups", () => {
  it.each([
    [0, "copy"],
    [4, "copy"],
    [8, "shared_copy"],
    [16, "shared_copy"],
  ])("takes for subgroups of %d threads the kernel %s", (threads, kernel) => {
    const program = parsed(withAlternative());
    const [plain] = program.functions.get("decode")?.steps ?? [];
    const chosen = forSubgroups(program, threads).functions.get("decode");
    expect(chosen?.most).toBe(1);
    expect(chosen?.steps).toEqual([
      {
        kernel,
        buffers: plain?.buffers,
        scalars: plain?.scalars,
        grid: kernel === "copy" ? plain?.grid : INSTEAD.grid,
      },
    ]);
  });

  it("leaves a program as it is that has no other kernels", () => {
    const program = parsed(smallest());
    expect(forSubgroups(program, 32)).toEqual(program);
  });
});

describe("valueOf", () => {
  it("counts in whole numbers", () => {
    expect(valueOf(["//", ["+", ["*", "n", 9], 3], 4], 7)).toBe(16);
    expect(valueOf(["-", 5, "n"], 2)).toBe(3);
  });
});

describe("poolTokens", () => {
  const MIB = 2 ** 20;

  it("holds one window at least, several where they are cheap", () => {
    expect(poolTokens(2048, MIB)).toBe(2048);
    expect(poolTokens(2048, 1024)).toBe(4 * 2048);
    expect(poolTokens(2048, MIB / 32)).toBe(4096);
  });

  it("keeps a layer's pages inside one buffer", () => {
    expect(poolTokens(1024, 1024, 2, 512 * 1500)).toBe(1500);
    expect(poolTokens(1024, 1024, 2, 512)).toBe(1024);
  });
});
