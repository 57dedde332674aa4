/**
 * Colours code when nothing else is to be done: one block each time the browser is idle, and large
 * blocks only when no answer streams.
 */
import type { highlight } from "./highlight.ts";
import { MOST_COLOURED_CHARACTERS, MOST_COLOURED_WHILE_STREAMING } from "./limits.ts";
import { sanitizeColours } from "./sanitize.ts";

interface Work {
  code: HTMLElement;
  language: string;
}

const waiting: Work[] = [];
const streaming = new Set<object>();
let isDue = false;
let library: Promise<{ highlight: typeof highlight }> | null = null;

/** From now on `who` streams an answer, or no longer does. */
export function noteStreaming(who: object, isStreaming: boolean): void {
  if (isStreaming) {
    streaming.add(who);
  } else if (streaming.delete(who)) {
    plan();
  }
}

/** Give the code its colours when there is time. What is too long stays as it is. */
export function colourLater(code: HTMLElement, language: string): void {
  const length = code.textContent.length;
  if (language !== "" && length > 0 && length <= MOST_COLOURED_CHARACTERS) {
    waiting.push({ code, language });
    plan();
  }
}

function plan(): void {
  if (isDue || !waiting.some(mayRun)) {
    return;
  }
  isDue = true;
  whenIdle(() => {
    void run();
  });
}

async function run(): Promise<void> {
  library ??= import("./highlight.ts");
  const loaded = await library.catch(() => null);
  isDue = false;
  const at = waiting.findIndex(mayRun);
  const [work] = at < 0 ? [] : waiting.splice(at, 1);
  if (work?.code.isConnected === true) {
    colour(work, loaded?.highlight ?? (() => null));
  }
  plan();
}

function colour({ code, language }: Work, colours: typeof highlight): void {
  const html = colours(code.textContent, language);
  if (html !== null) {
    const coloured = sanitizeColours(html);
    // Whatever a highlighter does wrong: the code is what the model wrote.
    if (coloured.textContent === code.textContent) {
      code.replaceChildren(coloured);
    }
  }
}

function mayRun({ code }: Work): boolean {
  return streaming.size === 0 || code.textContent.length <= MOST_COLOURED_WHILE_STREAMING;
}

function whenIdle(work: () => void): void {
  if ("requestIdleCallback" in globalThis) {
    requestIdleCallback(work, { timeout: 2000 });
  } else {
    setTimeout(work, 50);
  }
}
