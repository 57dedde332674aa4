/**
 * The tools that there are, and how a call runs: arguments checked, the person asked, time and text
 * limited. What a model wrote and what a tool gives is anybody's; whatever goes wrong becomes a result
 * that the model can read and mend.
 */
import type { ToolCall, ToolResult, ToolView } from "../chat/types.ts";
import { describe } from "../errors.ts";
import { faultsOf } from "./json-check.ts";
import type { CallPreview, Tool, ToolBox, ToolDefinition, ToolOutput } from "./types.ts";

/** As OpenAI's API takes names. */
const NAME = /^[a-zA-Z0-9_-]{1,64}$/;
const MAX_NAME_CHARACTERS = 64;
/** A file in the arguments; larger ones no model writes. */
export const MAX_ARGUMENT_CHARACTERS = 1_000_000;
/** Some five thousand tokens, which is what small models hold beside a conversation. */
export const MAX_TEXT_CHARACTERS = 20_000;
/** What people see beside it; more would be no view, but a document. */
export const MAX_VIEWS = 16;
const MAX_VIEW_CHARACTERS = 100_000;
/** 6 MB as a file. */
export const MAX_IMAGE_CHARACTERS = 8_000_000;
/** What an `<img>` shows and runs nothing of: an SVG has no script there, and loads nothing. */
const IMAGE_TYPES: ReadonlySet<string> = new Set([
  "image/svg+xml",
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
]);
/** People wait for an answer; what takes longer belongs elsewhere. */
const LIMIT_SECONDS = 60;

export interface ToolBoxOptions {
  builtins: readonly Tool[];
  /** Those of MCP servers, as they are now. */
  others?: () => readonly Tool[];
}

export class Tools implements ToolBox {
  readonly #builtins: readonly Tool[];
  readonly #others: () => readonly Tool[];
  /** What was allowed in each conversation, until the page goes: a reload asks again. */
  readonly #allowed = new Map<string, Set<string>>();

  constructor({ builtins, others = () => [] }: ToolBoxOptions) {
    this.#builtins = builtins;
    this.#others = others;
  }

  get tools(): readonly Tool[] {
    return withUniqueNames(this.#builtins, this.#others());
  }

  definitions(names: readonly string[]): readonly ToolDefinition[] {
    const wanted = new Set(names);
    return this.tools
      .filter(({ name }) => wanted.has(name))
      .map(({ name, description, parameters }) => ({
        type: "function",
        function: { name, description, parameters },
      }));
  }

  /** Forget what was allowed in a conversation. */
  forget(conversation: string): void {
    this.#allowed.delete(conversation);
  }

  async run(call: ToolCall, options: Parameters<ToolBox["run"]>[1]): Promise<ToolResult> {
    try {
      return await this.#run(call, options);
    } catch (error) {
      return failed(call, options.signal.aborted ? STOPPED : describe(error));
    }
  }

  async #run(
    call: ToolCall,
    { conversation, approve, signal, onView }: Parameters<ToolBox["run"]>[1],
  ): Promise<ToolResult> {
    const tool = this.tools.find(({ name }) => name === call.name);
    if (tool === undefined) {
      const known = this.tools.map(({ name }) => name).join(", ");
      return failed(call, `There is no tool "${call.name.slice(0, 100)}". There are: ${known}.`);
    }
    const read = readArguments(call.arguments);
    if (read.fault !== null) {
      return failed(call, read.fault);
    }
    const faults = faultsOf(tool.parameters, read.input);
    if (faults.length > 0) {
      return failed(call, `The arguments do not fit: ${faults.join("; ")}. Call it again.`);
    }
    if (tool.approval === "ask") {
      // What it says of the call may refuse it: nobody is asked about what cannot be.
      const preview = tool.preview?.(read.input) ?? {};
      if (!this.#isAllowed(conversation, tool, preview)) {
        const answer = signal.aborted ? "no" : await approve({ call, tool, preview }, signal);
        if (answer === "no") {
          return failed(call, signal.aborted ? STOPPED : REFUSED);
        }
        if (answer === "conversation") {
          this.#allow(conversation, tool, preview);
        }
      }
    }
    signal.throwIfAborted();
    let views = 0;
    const output = await inTime(tool, read.input, { signal, conversation }, (view) => {
      const shown = limitedView(view);
      views += 1;
      if (shown !== null && views <= MAX_VIEWS) {
        onView(shown);
      }
    });
    return {
      callId: call.id,
      name: call.name,
      isError: output.isError ?? false,
      text: limitedText(output.text),
      views: limitedViews(output.views ?? []),
    };
  }

  #isAllowed(conversation: string, tool: Tool, { scope }: CallPreview): boolean {
    return scope !== null && (this.#allowed.get(conversation)?.has(keyOf(tool, scope)) ?? false);
  }

  #allow(conversation: string, tool: Tool, { scope }: CallPreview): void {
    if (scope === null) {
      return;
    }
    const keys = this.#allowed.get(conversation) ?? new Set<string>();
    keys.add(keyOf(tool, scope));
    this.#allowed.set(conversation, keys);
  }
}

const STOPPED = "The call was stopped by the user.";
/** What the model reads of a call that the person did not allow. */
export const REFUSED =
  "The user did not allow this call. Do not try it again; answer without it, or ask what they want.";

/** The result of a call that did not run, or failed. */
function failed(call: ToolCall, text: string): ToolResult {
  return {
    callId: call.id,
    name: call.name,
    isError: true,
    text: limitedText(`Error: ${text}`),
    views: [],
  };
}

/** Where it comes from counts: a server could give a tool another one's name later. */
function keyOf(tool: Tool, scope: string | undefined): string {
  return JSON.stringify([tool.origin, tool.name, scope ?? null]);
}

function readArguments(text: string): { input: unknown; fault: string | null } {
  if (text.length > MAX_ARGUMENT_CHARACTERS) {
    const fault = `The arguments have more than ${MAX_ARGUMENT_CHARACTERS} characters.`;
    return { input: null, fault };
  }
  if (text.trim() === "") {
    return { input: {}, fault: null };
  }
  try {
    return { input: JSON.parse(text) as unknown, fault: null };
  } catch (error) {
    const fault = `The arguments are no JSON (${describe(error)}). Write one JSON object and call it again.`;
    return { input: null, fault };
  }
}

/** Runs it until it is done, its time is up, or it is stopped, whether it listens to that or not. */
async function inTime(
  tool: Tool,
  input: unknown,
  { signal: stopped, conversation }: { signal: AbortSignal; conversation: string },
  onView: (view: ToolView) => void,
): Promise<ToolOutput> {
  const seconds = tool.limitSeconds === undefined ? LIMIT_SECONDS : tool.limitSeconds;
  const over = new AbortController();
  const signal = AbortSignal.any([stopped, over.signal]);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isDone = false;
  const ended = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => {
      reject(
        over.signal.aborted
          ? new Error(`It took longer than ${seconds ?? 0} seconds and was stopped.`)
          : new Error(STOPPED),
      );
    });
    if (seconds !== null) {
      timer = setTimeout(() => {
        over.abort();
      }, seconds * 1000);
    }
  });
  try {
    const running = tool.run(input, {
      signal,
      conversation,
      onView: (view) => {
        if (!isDone) {
          onView(view);
        }
      },
    });
    return await Promise.race([running, ended]);
  } finally {
    isDone = true;
    clearTimeout(timer);
    // Nobody waits for it any more.
    ended.catch(() => undefined);
  }
}

function limitedText(text: string): string {
  if (text.length <= MAX_TEXT_CHARACTERS) {
    return text;
  }
  const kept = wholeCharacters(text, MAX_TEXT_CHARACTERS);
  return `${kept}\n[The first ${kept.length} of ${text.length} characters; the rest was cut off.]`;
}

function limitedViews(views: readonly ToolView[]): readonly ToolView[] {
  return views
    .slice(0, MAX_VIEWS)
    .map(limitedView)
    .filter((view) => view !== null);
}

/** Null: not to be shown. */
function limitedView(view: ToolView): ToolView | null {
  if (view.kind === "text") {
    return { kind: "text", text: wholeCharacters(view.text, MAX_VIEW_CHARACTERS) };
  }
  return IMAGE_TYPES.has(view.mediaType) &&
    view.base64.length <= MAX_IMAGE_CHARACTERS &&
    /^[A-Za-z0-9+/]*={0,2}$/.test(view.base64)
    ? view
    : null;
}

/** The beginning of a text, without half a character at its end. */
function wholeCharacters(text: string, most: number): string {
  const cut = text.slice(0, most);
  return /[\uD800-\uDBFF]$/.test(cut) ? cut.slice(0, -1) : cut;
}

/**
 * Built-in tools keep their names. A server's tool whose name is taken, or is none, is called after
 * its server: `weather_search`, `weather_search_2`.
 */
function withUniqueNames(builtins: readonly Tool[], others: readonly Tool[]): readonly Tool[] {
  const counts = new Map<string, number>();
  for (const { name } of [...builtins, ...others]) {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const taken = new Set(builtins.map(({ name }) => name));
  const named = others.map((tool) => {
    const isFree = counts.get(tool.name) === 1 && NAME.test(tool.name);
    const wanted = isFree ? tool.name : cleaned(`${tool.origin}_${tool.name}`);
    let name = wanted;
    for (let i = 2; taken.has(name); i += 1) {
      name = `${wanted.slice(0, MAX_NAME_CHARACTERS - 1 - String(i).length)}_${i}`;
    }
    taken.add(name);
    return name === tool.name ? tool : { ...tool, name };
  });
  return [...builtins, ...named];
}

function cleaned(name: string): string {
  const clean = name.replaceAll(/[^a-zA-Z0-9_-]+/g, "_").slice(0, MAX_NAME_CHARACTERS);
  return clean === "" ? "tool" : clean;
}
