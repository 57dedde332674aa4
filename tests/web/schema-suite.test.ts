/**
 * The JSON Schema Test Suite, which `.ci/setup schemas` unpacks: which of its schemas are held
 * without a word, and that to each of those a model that knows nothing gives valid answers only.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { describe, expect, it, vi } from "vitest";

import { schemaGrammar } from "../../web/src/worker/grammar/json-schema.ts";
import HELD from "./held-schemas.json" with { type: "json" };
import { Walker, byteLevelVocabulary, numbers } from "./walk.ts";

const VENV = process.env["TRANSOM_VENV"] ?? ".venv";
const FOLDER = join(VENV, "json-schema-test-suite", "tests", "draft2020-12");
/** In CI its absence is a failure. */
const IS_HERE = existsSync(FOLDER) || process.env["CI"] !== undefined;
const WALKS = 20;
vi.setConfig({ testTimeout: 60_000 });

interface Group {
  description: string;
  schema: unknown;
}

function suite() {
  const files = IS_HERE ? readdirSync(FOLDER).filter((name) => name.endsWith(".json")) : [];
  return files.toSorted().flatMap((file) => {
    const groups = JSON.parse(readFileSync(join(FOLDER, file), "utf8")) as Group[];
    return groups.map((group, index) => ({ ...group, file, index }));
  });
}

/** Whether an answer can break nothing of it; false, too, for what is refused. */
function isHeld({ schema }: Group): boolean {
  try {
    return typeof schema === "object" && schemaGrammar(schema).unheld.length === 0;
  } catch {
    return false;
  }
}

const held = suite().filter(isHeld);
const walker = new Walker(byteLevelVocabulary());

describe.runIf(IS_HERE)("JSON Schema Test Suite", () => {
  it("is held as far as held-schemas.json says", () => {
    const found: Record<string, number[]> = {};
    for (const { file, index } of held) {
      (found[file] ??= []).push(index);
    }
    expect(found).toEqual(HELD);
  });

  it.each(held)("$file, $index: $description", async ({ schema }) => {
    // Some name a meta-schema that nobody has.
    const ajv = new Ajv2020({ strict: false, ownProperties: true, validateSchema: false });
    formats(ajv);
    const validate = ajv.compile(schema as object);
    const random = numbers(1);
    let ended = 0;
    for (let count = 0; count < WALKS; count++) {
      const constraint = await walker.maker.make({ kind: "json-schema", schema });
      const answer = walker.walkSome(constraint, random);
      constraint.dispose();
      if (answer !== null) {
        ended += 1;
        const isValid = validate(JSON.parse(answer));
        expect(isValid, `${answer}: ${ajv.errorsText(validate.errors)}`).toBe(true);
      }
    }
    expect(ended).toBeGreaterThan(0);
  });
});
