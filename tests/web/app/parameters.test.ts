/** Parameters as the panel has them, and how full a context is. */
import { describe, expect, it } from "vitest";

import { PARAMETERS } from "../../../web/src/chat/modelfile-parameters.ts";
import { fullnessOf } from "../../../web/src/page/settings/context-meter.tsx";
import {
  PARAMETER_GROUPS,
  ownValue,
  readNumber,
  readOwnDefaults,
  withNumber,
} from "../../../web/src/page/settings/parameter-facts.ts";

describe("what the model has by itself", () => {
  it("is read from what the server shows", () => {
    const shown = {
      system: "You are short.",
      parameters:
        'temperature     0.7\nnum_ctx         4096\nstop            "<|end|>"\nstop   "a\\nb"',
    };
    expect(readOwnDefaults(shown)).toEqual({
      system: "You are short.",
      parameters: { temperature: 0.7, stop: ["<|end|>", "a\nb"] },
    });
  });

  it.each([null, 7, "x", {}, { parameters: 7, system: "" }, { parameters: "temperature hot" }])(
    "is nothing in %j",
    (shown) => {
      expect(readOwnDefaults(shown)).toEqual({ system: null, parameters: {} });
    },
  );

  it("is the model's own before what is usual", () => {
    const own = readOwnDefaults({ parameters: "top_k 7" });
    expect(ownValue("top_k", own)).toEqual({ value: 7, isOwn: true });
    expect(ownValue("min_p", own)).toEqual({ value: 0, isOwn: false });
    // OpenAI's, as the page asks in its dialect.
    expect(ownValue("temperature", null)).toEqual({ value: 1, isOwn: false });
  });
});

describe("numbers as people type them", () => {
  it.each([
    ["temperature", "0,7", 0.7],
    ["temperature", " 1 ", 1],
    ["temperature", "100", 100],
    ["temperature", "100.1", null],
    ["temperature", "-0.1", null],
    ["temperature", "", null],
    ["temperature", "warm", null],
    ["top_k", "40", 40],
    ["top_k", "40.5", null],
    ["num_predict", "-2", -2],
    ["num_predict", "-3", null],
    ["seed", "9007199254740991", 9007199254740991],
    ["seed", "9007199254740993", null],
  ] as const)("%s %j is %j", (name, text, value) => {
    expect(readNumber(name, text)).toBe(value);
  });

  it("are set, and left to the model again", () => {
    expect(withNumber({ seed: 1 }, "temperature", 0)).toEqual({ seed: 1, temperature: 0 });
    expect(withNumber({ seed: 1, temperature: 0 }, "temperature", undefined)).toEqual({ seed: 1 });
  });
});

it("has sliders within what the engines take", () => {
  for (const { name, slider } of Object.values(PARAMETER_GROUPS).flat()) {
    const row = PARAMETERS[name];
    expect(row, name).toBeDefined();
    expect(slider?.least ?? 0, name).toBeGreaterThanOrEqual(row?.least ?? 0);
    expect(slider?.most ?? 0, name).toBeLessThanOrEqual(row?.most ?? 0);
  }
});

describe("how full the context is", () => {
  it.each([
    [0, 0, "fits"],
    [3400, 0, "fits"],
    [3482, 0, "nearly"],
    [3000, 500, "nearly"],
    [4095, 0, "nearly"],
    [4000, 96, "draft"],
    [4096, 0, "full"],
    [9000, 10, "full"],
  ] as const)("%i tokens and %i being written: %s", (used, draft, fullness) => {
    expect(fullnessOf(used, 4096, draft)).toBe(fullness);
  });
});
