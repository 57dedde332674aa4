import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";

import { type CallForm, type Tool, forcedCall } from "../../web/src/worker/tool-constraint.ts";
import { Walker, byteLevelVocabulary, numbers } from "./walk.ts";

const walker = new Walker(byteLevelVocabulary());

const TOOLS: Tool[] = [
  {
    name: "weather",
    parameters: {
      properties: { place: { $ref: "#/$defs/place" } },
      required: ["place"],
      $defs: { place: { type: "object", properties: { city: { type: "string" } } } },
    },
  },
  {
    name: "tree",
    parameters: {
      properties: { left: { $ref: "#" }, size: { type: "integer", maximum: 9, minimum: 0 } },
    },
  },
  { name: "now" },
];

interface Call {
  name: string;
  arguments: unknown;
}

/** The calls of an answer, each form written back. */
const READ: Partial<Record<CallForm, (value: never) => Call[]>> = {
  hermes: (value: Call) => [value],
  llama: (value: { name: string; parameters: unknown }) => [
    { name: value.name, arguments: value.parameters },
  ],
  generic: (value: { tool_calls: Call[] }) => value.tool_calls,
};

function callsOf(form: CallForm, answer: string): Call[] {
  const value = JSON.parse(answer) as never;
  return READ[form]?.(value) ?? value;
}

describe("forcedCall", () => {
  it.each(["generic", "hermes", "llama", "phi", "granite", "mistral"] as const)(
    "%s: every answer calls a tool as it wants to be called",
    async (form) => {
      const { format } = forcedCall(form, TOOLS, null, true);
      const random = numbers(7);
      const names = new Set<string>();
      for (let index = 0; index < 40; index++) {
        const constraint = await walker.maker.make(format);
        const answer = walker.walk(constraint, random);
        constraint.dispose();
        for (const call of callsOf(form, answer)) {
          const tool = TOOLS.find(({ name }) => name === call.name);
          const validate = new Ajv2020({ strict: false }).compile(tool?.parameters ?? {});
          expect(validate(call.arguments), answer).toBe(true);
          names.add(call.name);
        }
      }
      expect([...names].toSorted()).toEqual(["now", "tree", "weather"]);
    },
    60_000,
  );

  it.each<[CallForm, string]>([
    ["hermes", "<tool_call>\n"],
    ["mistral", "[TOOL_CALLS]"],
    ["mistral-named", "[TOOL_CALLS]now[ARGS]"],
    ["phi", "<|tool_call|>"],
    ["gpt-oss", "<|channel|>commentary to=functions.now <|constrain|>json<|message|>"],
    ["deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>"],
  ])("%s: what the model need not choose is written for it", (form, prefill) => {
    expect(forcedCall(form, TOOLS, "now", false)).toMatchObject({ prefill, isOwnForm: true });
  });

  it("one tool and one call where only one is wanted", async () => {
    const { format } = forcedCall("mistral", TOOLS, "now", false);
    const random = numbers(3);
    for (let index = 0; index < 20; index++) {
      const constraint = await walker.maker.make(format);
      const calls = callsOf("mistral", walker.walk(constraint, random));
      expect(calls.map(({ name }) => name)).toEqual(["now"]);
      constraint.dispose();
    }
  });

  it("the generic form where a form writes the name before it is known", () => {
    const forced = forcedCall("gpt-oss", TOOLS, null, true);
    expect(forced).toMatchObject({ prefill: "", isOwnForm: false });
  });

  it("a tool that is not there", () => {
    expect(() => forcedCall("hermes", TOOLS, "later", false)).toThrow(/no tool "later"/);
    expect(() => forcedCall("hermes", [], null, false)).toThrow(/0 tools/);
  });
});
