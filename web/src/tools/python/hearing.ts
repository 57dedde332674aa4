/**
 * What comes out of the sandbox, read as what a hostile program may have written.
 *
 * Knows no DOM. Pictures are shown as images only (`data:` in an `<img>`), where an SVG runs no script
 * and loads nothing.
 */
import type { ToolView } from "../../chat/types.ts";
import { MAX_IMAGES, MAX_IMAGE_CHARACTERS, MAX_TEXT_CHARACTERS } from "./limits.ts";

/** What becomes of the variables when a sandbox ends. */
export const AFRESH = "Its variables are gone; the next program starts afresh.";

const IMAGE_TYPES = ["image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp"];
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export type Heard = "more" | "done";

/** One program's words, from its first to `done`. */
export class Hearing {
  readonly #onView: (view: ToolView) => void;
  readonly #views: ToolView[] = [];
  #output = "";
  #ending = "";
  #isSpent = false;
  #isError = false;
  #room = MAX_TEXT_CHARACTERS;

  constructor(onView: (view: ToolView) => void) {
    this.#onView = onView;
  }

  get views(): readonly ToolView[] {
    return this.#views;
  }

  /** Whether the program ended by an error of its own. */
  get isError(): boolean {
    return this.#isError;
  }

  /** Whether no other program can run there. */
  get isSpent(): boolean {
    return this.#isSpent;
  }

  /** What the program printed so far, without a line's end behind it. */
  get output(): string {
    return this.#output.trimEnd();
  }

  /** @throws Error where this is nothing that programs.py says. */
  hear(message: unknown): Heard {
    if (typeof message !== "object" || message === null) {
      throw strange();
    }
    const { kind, text, mediaType, base64 } = message as Record<string, unknown>;
    switch (kind) {
      case "output":
        this.#output += this.#text(text);
        return "more";
      case "value":
      case "error":
        this.#isError ||= kind === "error";
        this.#ending += `${this.#ending && "\n"}${this.#text(text)}`;
        return "more";
      case "image":
        this.#image(mediaType, base64);
        return "more";
      case "spent":
        this.#isSpent = true;
        return "more";
      case "done":
        return "done";
      default:
        throw strange();
    }
  }

  /** What the model reads of a program that has come to its end. */
  report(): string {
    const count = this.#views.length;
    const shown = count === 0 ? "" : `(${count === 1 ? "1 image" : `${count} images`} shown)`;
    const spent = this.#isSpent ? `(Python has no memory left and was ended. ${AFRESH})` : "";
    const parts = [this.output, this.#ending, shown, spent].filter((part) => part !== "");
    return parts.length === 0
      ? "(The program ended and printed nothing. Print what you want to know, or end with an expression.)"
      : parts.join("\n");
  }

  #text(text: unknown): string {
    if (typeof text !== "string") {
      throw strange();
    }
    this.#room -= text.length;
    if (this.#room < 0) {
      throw new Error(`A program says ${MAX_TEXT_CHARACTERS} characters at most.`);
    }
    return text;
  }

  #image(mediaType: unknown, base64: unknown): void {
    if (
      typeof mediaType !== "string" ||
      !IMAGE_TYPES.includes(mediaType) ||
      typeof base64 !== "string" ||
      base64.length > MAX_IMAGE_CHARACTERS ||
      this.#views.length === MAX_IMAGES ||
      !BASE64.test(base64)
    ) {
      throw strange();
    }
    const view: ToolView = { kind: "image", mediaType, base64 };
    this.#views.push(view);
    this.#onView(view);
  }
}

function strange(): Error {
  return new Error("The sandbox said what no program says, and was ended.");
}
