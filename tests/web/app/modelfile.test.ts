/** The page's reader of Modelfiles, held to the table that the server's is held to. */
import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import {
  withBase,
  withMessages,
  withParameter,
  withSystem,
} from "../../../web/src/chat/modelfile-edit.ts";
import {
  MAX_MODELFILE_CHARACTERS,
  ModelfileError,
} from "../../../web/src/chat/modelfile-grammar.ts";
import {
  MAX_STOPS,
  MAX_STOP_CHARACTERS,
  PARAMETERS,
} from "../../../web/src/chat/modelfile-parameters.ts";
import {
  createRequest,
  modelfileOf,
  settingsOf,
} from "../../../web/src/chat/modelfile-settings.ts";
import {
  MAX_ADAPTERS,
  MAX_LICENSES,
  MAX_MESSAGES,
  type Modelfile,
  parseModelfile,
  writeModelfile,
} from "../../../web/src/chat/modelfile.ts";

interface Table {
  texts: ({ text: string } & (
    | { gives: object; line?: never; says?: never }
    | { gives?: never; line: number | null; says: string }
  ))[];
  spellings: { value: string; written: string | null }[];
  parameters: Record<string, object>;
}

const table = JSON.parse(
  readFileSync(new URL("../../models/modelfile_cases.json", import.meta.url), "utf8"),
) as Table;

/** As the table has it: without what no line gives. */
function said(modelfile: Modelfile): object {
  const messages = modelfile.messages.map(({ role, content }) => [role, content]);
  const fields = { ...modelfile, messages, retired: null };
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([, value]) => value !== null && (typeof value === "string" || Object.keys(value).length > 0),
    ),
  );
}

function errorOf(text: string): ModelfileError {
  try {
    parseModelfile(text);
  } catch (error) {
    if (error instanceof ModelfileError) {
      return error;
    }
    throw error;
  }
  throw new Error("It was read.");
}

describe("the table of both readers", () => {
  it.each(table.texts)("$text", ({ text, gives, line, says }) => {
    if (gives !== undefined) {
      const modelfile = parseModelfile(text);
      expect(said(modelfile)).toEqual(gives);
      expect(said(parseModelfile(writeModelfile(modelfile)))).toEqual(gives);
      return;
    }
    const error = errorOf(text);
    expect(error.message).toContain(says);
    expect(error.line).toBe(line);
    expect(error.message.split("\n")).toHaveLength(1);
  });

  it.each(table.spellings)("spells $value", ({ value, written }) => {
    const modelfile = { ...parseModelfile("FROM m"), system: value };
    if (written === null) {
      expect(() => writeModelfile(modelfile)).toThrow("cannot spell");
    } else {
      expect(writeModelfile(modelfile)).toBe(`FROM m\nSYSTEM ${written}\n`);
    }
  });

  it("has the server's parameters", () => {
    const rows = Object.entries(PARAMETERS).map(([name, { kind, usual, least, most }]) => [
      name,
      { kind, usual, ...(kind === "integer" || kind === "number" ? { least, most } : {}) },
    ]);
    expect(Object.fromEntries(rows)).toEqual(table.parameters);
  });
});

describe("caps, and the largest that passes", () => {
  it.each([
    ["LICENSE MIT\n", MAX_LICENSES, "more than 64 LICENSE"],
    ["MESSAGE user x\n", MAX_MESSAGES, "more than 1024 MESSAGE"],
    ["ADAPTER a\n", MAX_ADAPTERS, "more than 16 ADAPTER"],
  ])("%s", (line, cap, says) => {
    parseModelfile(`FROM a\n${line.repeat(cap)}`);
    expect(errorOf(`FROM a\n${line.repeat(cap + 1)}`).message).toContain(says);
  });

  it("stop texts", () => {
    const stops = (count: number) =>
      Array.from({ length: count }, (_, at) => `PARAMETER stop ${at}\n`).join("");
    parseModelfile(`FROM a\n${stops(MAX_STOPS)}`);
    expect(errorOf(`FROM a\n${stops(MAX_STOPS + 1)}`).message).toContain("over the cap of 64");
    // Characters, not halves of them.
    parseModelfile(`FROM a\nPARAMETER stop ${"🚀".repeat(MAX_STOP_CHARACTERS)}`);
    expect(
      errorOf(`FROM a\nPARAMETER stop ${"🚀".repeat(MAX_STOP_CHARACTERS + 1)}`).message,
    ).toContain("1 to 256");
  });

  it("the whole text", () => {
    const comment = (length: number) => `FROM a\n${"#".repeat(length - 7)}`;
    parseModelfile(comment(MAX_MODELFILE_CHARACTERS));
    expect(errorOf(comment(MAX_MODELFILE_CHARACTERS + 1)).message).toContain("over the cap");
  });

  it("refuses a huge open block, and a line of spaces, in linear time", () => {
    const lines = "x\n".repeat(MAX_MODELFILE_CHARACTERS / 2 - 20);
    expect(errorOf(`FROM a\nSYSTEM """${lines}`).message).toContain("never closed");
    const spaces = " ".repeat(MAX_MODELFILE_CHARACTERS - 20);
    expect(parseModelfile(`FROM a\nSYSTEM x${spaces}y`).system).toHaveLength(spaces.length + 2);
  });
});

describe("changing one thing of a text", () => {
  const text =
    '# Mine.\nFROM smollm2\n\n# Who\nSYSTEM """\nA pirate.\n"""\n# warm\nPARAMETER seed 1\n';

  it("keeps comments and all else", () => {
    expect(withSystem(text, "A cook.")).toBe(
      "# Mine.\nFROM smollm2\n\n# Who\nSYSTEM A cook.\n# warm\nPARAMETER seed 1\n",
    );
    expect(withBase(text, "qwen3:4b")).toBe(text.replace("smollm2", "qwen3:4b"));
    expect(withParameter(text, "seed", 7)).toBe(text.replace("seed 1", "seed 7"));
    expect(withParameter(text, "seed", undefined)).toBe(text.replace("PARAMETER seed 1\n", ""));
    expect(withSystem(text, "")).toBe("# Mine.\nFROM smollm2\n\n# Who\n# warm\nPARAMETER seed 1\n");
  });

  it("puts what is new where it belongs", () => {
    expect(withParameter(text, "stop", ["a", " b"])).toBe(
      `${text}PARAMETER stop a\nPARAMETER stop " b"\n`,
    );
    expect(withSystem("FROM m\nPARAMETER seed 1", "x\ny")).toBe(
      'FROM m\nSYSTEM "x\ny"\nPARAMETER seed 1',
    );
    expect(withBase("", "m")).toBe("FROM m\n");
    expect(withMessages("FROM m\nLICENSE MIT\n", [{ role: "user", content: "hi" }])).toBe(
      "FROM m\nMESSAGE user hi\nLICENSE MIT\n",
    );
  });

  it("leaves one of several lines that say the same", () => {
    expect(withSystem("FROM m\nSYSTEM a\nPARAMETER seed 1\nSYSTEM b", "c")).toBe(
      "FROM m\nSYSTEM c\nPARAMETER seed 1",
    );
  });

  it("refuses what has no spelling", () => {
    expect(() => withSystem(text, 'a"""\nb')).toThrow("cannot spell");
    expect(() => withSystem("NONSENSE", "x")).toThrow(ModelfileError);
  });
});

describe("a preset as settings, and back", () => {
  it("takes what a conversation can have, and names what it leaves out", () => {
    const settings = settingsOf(
      parseModelfile(
        "FROM m\nSYSTEM s\nPARAMETER temperature 0.5\nPARAMETER num_ctx 4096\nPARAMETER stop a\n" +
          "TEMPLATE {{ .Prompt }}\nMESSAGE user hi",
      ),
    );
    expect(settings).toEqual({
      model: "m",
      system: "s",
      parameters: { temperature: 0.5, stop: ["a"] },
      messages: [{ role: "user", content: "hi" }],
      leftOut: ["TEMPLATE", "num_ctx"],
    });
    expect(settingsOf(parseModelfile(modelfileOf(settings)))).toEqual({ ...settings, leftOut: [] });
  });

  it("asks a server to make a model of it", () => {
    const whole = parseModelfile(
      "FROM m\nSYSTEM s\nPARAMETER stop a\nMESSAGE user hi\nLICENSE MIT\nREQUIRES 0.14.0\nTEMPLATE {{ .Prompt }}",
    );
    expect(createRequest("me/pirate", whole)).toEqual({
      model: "me/pirate",
      from: "m",
      system: "s",
      template: "{{ .Prompt }}",
      requires: "0.14.0",
      parameters: { stop: ["a"] },
      messages: [{ role: "user", content: "hi" }],
      license: ["MIT"],
      stream: true,
    });
    expect(createRequest("x", parseModelfile("FROM m"))).toEqual({
      model: "x",
      from: "m",
      stream: true,
    });
    expect(createRequest("x", parseModelfile("FROM m\nADAPTER a.gguf"))).toBeNull();
  });
});
