/** An HTTP API that answers as it is told, one answer for each request; for tests of its clients. */

type Answer = (init: RequestInit, api: FakeApi) => Response | Promise<Response>;

export class FakeApi {
  readonly requests: { url: string; body: Record<string, unknown> }[] = [];
  /** Answers that their reader let go of. */
  cancelled = 0;
  readonly #answers: Answer[];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  readonly fetch = (url: URL, init: RequestInit): Promise<Response> => {
    const body = JSON.parse(init.body as string) as Record<string, unknown>;
    this.requests.push({ url: url.href, body });
    const answer = this.#answers.shift();
    return new Promise((resolve, reject) => {
      init.signal?.addEventListener("abort", () => {
        reject(new DOMException("stopped", "AbortError"));
      });
      if (answer === undefined) {
        reject(new TypeError("a request too many"));
      } else {
        Promise.resolve(answer(init, this)).then(resolve, reject);
      }
    });
  };
}

export function json(status: number, body: object): Answer {
  return () => Response.json(body, { status });
}

/** A stream of events. @param end.error breaks it off; `staysOpen` leaves it without an end. */
export function stream(
  events: readonly (object | string)[],
  end: { headers?: Record<string, string>; error?: Error; staysOpen?: boolean } = {},
): Answer {
  const bytes = events
    .map((event) => (typeof event === "string" ? event : JSON.stringify(event)))
    .map((data) => new TextEncoder().encode(`data: ${data}\n\n`));
  return ({ signal }, api) => {
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start(controller) {
        signal?.addEventListener("abort", () => {
          api.cancelled++;
          controller.error(new DOMException("stopped", "AbortError"));
        });
      },
      pull(controller) {
        const next = bytes.shift();
        if (next !== undefined) {
          controller.enqueue(next);
        } else if (end.error !== undefined) {
          controller.error(end.error);
        } else if (end.staysOpen !== true) {
          controller.close();
        }
      },
    });
    return new Response(body, {
      headers: { "Content-Type": "text/event-stream; charset=utf-8", ...end.headers },
    });
  };
}

/** What a server sends for an answer in these pieces. */
export function chatEvents(texts: readonly string[], finishReason = "stop"): (object | string)[] {
  const chunk = (delta: object, finish: string | null = null) => ({
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    usage: null,
  });
  return [
    chunk({ role: "assistant", content: "" }),
    ...texts.map((content) => chunk({ content })),
    chunk({}, finishReason),
    {
      choices: [],
      usage: {
        prompt_tokens: 12,
        completion_tokens: 3,
        prompt_tokens_details: { cached_tokens: 2 },
      },
      timings: { load_ms: 0, prompt_ms: 500, predicted_ms: 250 },
    },
    "[DONE]",
  ];
}
