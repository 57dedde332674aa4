/**
 * The tool `python`: a program that the model writes runs in a sandbox of this browser.
 *
 * It needs no approval: the sandbox reaches no network, no storage and nothing of the page
 * (docs/security.md). What it can do is use the processor, for half a minute.
 */
import type { Tool, ToolContext, ToolOutput } from "../types.ts";
import { AFRESH, Hearing } from "./hearing.ts";
import { MAX_CODE_CHARACTERS, RUN_SECONDS } from "./limits.ts";
import type { OpenSandbox, Sandbox } from "./sandbox.ts";

const DESCRIPTION =
  "Run a Python 3.14 program and read what it prints, the value of its last expression, or its " +
  "traceback. Variables, functions and imports stay for later calls in this conversation. " +
  "Python's standard library is there, and no other package: no numpy, pandas, matplotlib, no " +
  "installing, no network, no input(). Show a plot with the module plot: import plot; " +
  "plot.plot(x, y, label='a'), plot.scatter(x, y), plot.bar(names, heights), plot.hist(values, " +
  "bins=10), plot.title('…'), plot.xlabel('…'), plot.ylabel('…'), plot.show(). Show an image " +
  "with display(value), where value is PNG, JPEG, GIF or WebP bytes, or has _repr_svg_ or _repr_png_. " +
  `A program that takes longer than ${RUN_SECONDS} seconds is ended, and its variables with it.`;

export interface PythonOptions {
  runSeconds?: number;
}

/** Programs run one after another; of conversations, too. */
export class PythonTool implements Tool {
  readonly name = "python";
  readonly title = "";
  readonly description = DESCRIPTION;
  readonly parameters = {
    type: "object",
    properties: { code: { type: "string", description: "The program." } },
    required: ["code"],
    additionalProperties: false,
  };
  readonly approval = "never";
  readonly origin = "builtin";
  /** Its own: the start of Python does not count. */
  readonly limitSeconds = null;
  readonly #open: OpenSandbox;
  readonly #runSeconds: number;
  #sandbox: Sandbox | null = null;
  #last: Promise<unknown> = Promise.resolve();
  /** Of the conversation: aborts when it is left. */
  #here = new AbortController();
  #conversation: string | undefined;

  constructor(open: OpenSandbox, { runSeconds = RUN_SECONDS }: PythonOptions = {}) {
    this.#open = open;
    this.#runSeconds = runSeconds;
  }

  async run(input: unknown, context: ToolContext): Promise<ToolOutput> {
    const code = codeOf(input);
    if (context.conversation !== this.#conversation) {
      this.reset();
      this.#conversation = context.conversation;
    }
    const signal = AbortSignal.any([context.signal, this.#here.signal]);
    const result = this.#last.then(() => this.#run(code, { ...context, signal }));
    this.#last = result.catch(() => undefined);
    return await result;
  }

  /** Another conversation: variables go, and a program that runs ends. */
  reset(): void {
    this.#here.abort(new DOMException("The conversation was left.", "AbortError"));
    this.#here = new AbortController();
    this.#sandbox?.end();
    this.#sandbox = null;
  }

  async #run(code: string, { signal, onView }: ToolContext): Promise<ToolOutput> {
    signal.throwIfAborted();
    const sandbox = this.#sandbox ?? (await this.#open(signal));
    this.#sandbox = sandbox;
    const hearing = new Hearing(onView);
    let isOver = true;
    try {
      await this.#hear(sandbox, code, hearing, signal);
      isOver = hearing.isSpent;
    } finally {
      if (isOver) {
        sandbox.end();
        this.#sandbox = this.#sandbox === sandbox ? null : this.#sandbox;
      }
    }
    return { text: hearing.report(), views: hearing.views, isError: hearing.isError };
  }

  /** Resolves when the program has ended by itself. */
  async #hear(
    sandbox: Sandbox,
    code: string,
    hearing: Hearing,
    signal: AbortSignal,
  ): Promise<void> {
    const over = new AbortController();
    try {
      await new Promise<void>((resolve, reject) => {
        signal.throwIfAborted();
        const timer = setTimeout(() => {
          reject(new Error(tooLong(this.#runSeconds, hearing.output)));
        }, this.#runSeconds * 1000);
        over.signal.addEventListener("abort", () => {
          clearTimeout(timer);
        });
        const stop = () => {
          reject(new DOMException("The program was stopped.", "AbortError"));
        };
        signal.addEventListener("abort", stop, { signal: over.signal });
        sandbox.onMessage = (message) => {
          try {
            if (hearing.hear(message) === "done") {
              resolve();
            }
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        };
        sandbox.run(code);
      });
    } finally {
      over.abort();
      sandbox.onMessage = () => undefined;
    }
  }
}

function codeOf(input: unknown): string {
  const { code } = (typeof input === "object" && input !== null ? input : {}) as { code?: unknown };
  if (typeof code !== "string" || code.trim() === "") {
    throw new Error('python takes {"code": "…"}, a program as text.');
  }
  if (code.length > MAX_CODE_CHARACTERS) {
    throw new Error(
      `The program has ${code.length} characters; ${MAX_CODE_CHARACTERS} is the most.`,
    );
  }
  return code;
}

function tooLong(seconds: number, output: string): string {
  const so = output === "" ? "It printed nothing." : `It printed:\n${output}`;
  return `The program took longer than ${seconds} seconds and was ended. ${AFRESH} ${so}`;
}
