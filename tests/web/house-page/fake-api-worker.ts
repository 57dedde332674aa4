/**
 * A fake of the API worker: the ports of `api-protocol.ts` are real, Python is not there.
 *
 *   GET  /v1/models            what the engine says
 *   POST /v1/chat/completions  {"tokens": n} that many frames, each as soon as the engine says it
 *   GET  /v1/flood             chunks without end, each when it is pulled
 *   GET  /v1/flooded           how many there were
 *   POST /v1/silent            no answer, though the engine works
 *   GET  /v1/never             no answer
 *   POST /v1/echo              method, path, headers and length of the body
 *   GET  /v1/unknown           refused
 *   else                       refused, 501
 */
import type {
  ApiNews,
  CompleteEvent,
  EngineAnswer,
  EngineCall,
  HttpAnswer,
  HttpControl,
  HttpRequest,
  ServeApi,
  StartApi,
} from "../../../web/src/api-protocol.ts";
import { whenGone } from "../../../web/src/life.ts";

interface WorkerSelf {
  name: string;
  postMessage(message: ApiNews): void;
  addEventListener(
    type: "message",
    listener: (event: MessageEvent<StartApi | ServeApi>) => void,
  ): void;
}

const worker = self as unknown as WorkerSelf;
const FLOOD_BYTES = 1024 * 1024;
const JSON_HEADERS = [["content-type", "application/json"]] as const;
const text = new TextEncoder();

let flooded = 0;
let engine: MessagePort | null = null;
let calls = 0;
const waiting = new Map<number, (answer: EngineAnswer) => void>();

worker.addEventListener("message", ({ data }) => {
  if (data.kind === "start") {
    if (worker.name === "broken") {
      const error = { code: "internal", message: "Python does not start." } as const;
      worker.postMessage({ kind: "failed", error });
      return;
    }
    engine = data.engine;
    engine.onmessage = ({ data: answer }: MessageEvent<EngineAnswer>) => {
      waiting.get(answer.id)?.(answer);
    };
    worker.postMessage({ kind: "started", seconds: 0 });
  } else {
    data.port.onmessage = ({ data: request }: MessageEvent<HttpRequest>) => {
      void whenGone(request.from, navigator.locks).then(() => {
        request.port.dispatchEvent(new Event("close"));
      });
      answer(request);
    };
  }
});

function call(message: Omit<EngineCall, "id">, onAnswer: (answer: EngineAnswer) => void): number {
  const id = calls++;
  waiting.set(id, onAnswer);
  engine?.postMessage({ ...message, id });
  return id;
}

/** Frames that are ready, one chunk a pull. */
class Writer {
  #frames: Uint8Array<ArrayBuffer>[] = [];
  #isPulled = false;
  #hasEnded = false;
  readonly #port: MessagePort;
  onCancel: () => void = () => undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<HttpControl>) => {
      if (data.kind === "cancel") {
        this.onCancel();
      } else {
        this.#isPulled = true;
        this.#flush();
      }
    };
    port.addEventListener("close", () => {
      this.onCancel();
    });
  }

  head(status: number, headers: readonly (readonly [string, string])[] = JSON_HEADERS): void {
    this.#post({ kind: "head", status, headers });
  }

  write(piece: string): void {
    this.#frames.push(text.encode(piece));
    this.#flush();
  }

  end(): void {
    this.#hasEnded = true;
    this.#flush();
  }

  json(value: unknown): void {
    this.head(200);
    this.write(JSON.stringify(value));
    this.end();
  }

  refuse(status: number, code: "model-not-found" | "invalid-request", message: string): void {
    const body = JSON.stringify({ error: { message } });
    this.#post({
      kind: "refused",
      error: { code, message },
      status,
      headers: JSON_HEADERS,
      body,
    });
  }

  #flush(): void {
    if (!this.#isPulled) {
      return;
    }
    if (this.#frames.length > 0) {
      this.#isPulled = false;
      const bytes = joined(this.#frames);
      this.#frames = [];
      this.#post({ kind: "chunk", bytes });
    } else if (this.#hasEnded) {
      this.#post({ kind: "end" });
    }
  }

  #post(message: HttpAnswer): void {
    this.#port.postMessage(message);
  }
}

function joined(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(frames.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const frame of frames) {
    bytes.set(frame, at);
    at += frame.length;
  }
  return bytes;
}

function answer({ method, target, headers, body, port }: HttpRequest): void {
  const writer = new Writer(port);
  switch (target) {
    case "/v1/models":
      call({ kind: "models", payload: null }, (reply) => {
        if (reply.kind === "reply") {
          writer.json({ data: reply.value });
        }
      });
      return;
    case "/v1/chat/completions": {
      const { tokens } = JSON.parse(new TextDecoder().decode(body ?? new ArrayBuffer())) as {
        tokens: number;
      };
      converse(writer, tokens);
      return;
    }
    case "/v1/flood":
      flood(port);
      return;
    case "/v1/flooded":
      writer.json({ chunks: flooded });
      return;
    case "/v1/silent":
      converse(writer, 100_000, true);
      return;
    case "/v1/never":
      return;
    case "/v1/echo":
      writer.json({ method, target, headers, bytes: body?.byteLength ?? null });
      return;
    case "/v1/unknown":
      writer.refuse(404, "model-not-found", "No model is called unknown.");
      return;
    default:
      writer.refuse(501, "invalid-request", "A browser cannot do this.");
  }
}

function converse(writer: Writer, tokens: number, isSilent = false): void {
  const payload = { maxTokens: tokens };
  const id = call({ kind: "complete", payload } as EngineCall, (reply) => {
    if (isSilent) {
      return;
    }
    if (reply.kind === "events") {
      for (const event of reply.events as readonly (CompleteEvent & { text: string })[]) {
        writer.write(`data: ${event.text}\n\n`);
      }
    } else {
      writer.write("data: [DONE]\n\n");
      writer.end();
    }
  });
  writer.onCancel = () => {
    call({ kind: "abort", payload: { callId: id } }, () => undefined);
  };
  if (!isSilent) {
    writer.head(200, [["content-type", "text/event-stream"]]);
  }
}

function flood(port: MessagePort): void {
  port.onmessage = ({ data }: MessageEvent<HttpControl>) => {
    if (data.kind === "pull") {
      flooded++;
      port.postMessage({ kind: "chunk", bytes: new Uint8Array(FLOOD_BYTES) } satisfies HttpAnswer);
    }
  };
  port.postMessage({ kind: "head", status: 200, headers: [] } satisfies HttpAnswer);
}
