/**
 * The model's own Jinja chat template: messages in, prompt text out.
 *
 * Templates come from outside. `@huggingface/jinja` interprets them without `eval`, with nothing in
 * scope but the names given here and its own `raise_exception` and `strftime_now`.
 */
import { Template } from "@huggingface/jinja";

import { TransomError, describe } from "../errors.ts";
import type { Message } from "../protocol.ts";

/** Templates are a few kilobytes; the largest published (tools, vision) stay under 64 KiB. */
const MAX_TEMPLATE_CHARACTERS = 256 * 1024;

export class ChatTemplate {
  readonly #template: Template;
  readonly #tokens: { bos_token: string; eos_token: string; add_bos_token: boolean };

  /**
   * @param tokens.addsBos the tokenizer puts `bos` before a text of its own accord. Templates that
   *   were translated from Go ask for it; those of Hugging Face write what they want themselves.
   */
  constructor(source: string, tokens: { bos: string; eos: string; addsBos?: boolean }) {
    if (source.length > MAX_TEMPLATE_CHARACTERS) {
      throw new TransomError(
        "invalid-bundle",
        `The chat template is longer than ${MAX_TEMPLATE_CHARACTERS} characters.`,
      );
    }
    this.#tokens = {
      bos_token: tokens.bos,
      eos_token: tokens.eos,
      add_bos_token: tokens.addsBos === true,
    };
    try {
      this.#template = new Template(source);
    } catch (error) {
      throw new TransomError("invalid-bundle", `The chat template is broken: ${describe(error)}`, {
        cause: error,
      });
    }
  }

  /** The prompt, ending where the assistant's answer begins. */
  render(messages: readonly Message[]): string {
    try {
      return this.#template.render({
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: true,
        ...this.#tokens,
      });
    } catch (error) {
      throw new TransomError(
        "invalid-request",
        `The model's chat template refused the conversation: ${describe(error)}`,
        { cause: error },
      );
    }
  }
}
