/**
 * Go templates that were translated to Jinja (models/transom_models/modelfile/go_template), under
 * the page's own renderer. The prompts are those that Go's text/template makes; the file is kept in
 * step by tests/models/test_go_template.py.
 */
import { readFileSync } from "node:fs";

import { Template } from "@huggingface/jinja";
import { describe, expect, it } from "vitest";

import type { Message } from "../../web/src/protocol.ts";
import { ChatTemplate } from "../../web/src/worker/chat-template.ts";

interface Translated {
  conversations: Record<string, Record<string, unknown>>;
  templates: { name: string; jinja: string; prompts: Record<string, string> }[];
}

const path = new URL("translated-templates.json", import.meta.url);
const { conversations, templates } = JSON.parse(readFileSync(path, "utf8")) as Translated;

describe.each(templates)("$name", ({ jinja, prompts }) => {
  it.each(Object.keys(prompts))("says what Go says: %s", (conversation) => {
    const given = conversations[conversation] ?? {};
    expect(new Template(jinja).render(given)).toBe(prompts[conversation]);
  });

  it("goes through the page's chat template", () => {
    const messages = conversations["three turns"]?.["messages"] as Message[];
    const plain = messages.map(({ role, content }) => ({ role, content }));
    const tokens = { bos: "<s>", eos: "</s>" };
    const expected = new Template(jinja).render({ messages: plain, add_generation_prompt: true });
    expect(new ChatTemplate(jinja, tokens).render(plain)).toBe(expected);
    expect(new ChatTemplate(jinja, { ...tokens, addsBos: true }).render(plain)).toBe(
      `<s>${expected}`,
    );
  });
});
