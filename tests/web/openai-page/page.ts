/** An app of the page's origin: npm's `openai`, unmodified, with the page's `v1` folder for a server. */
import OpenAI, { APIError } from "openai";

const TOWN = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, isCapital: { type: "boolean" } },
  required: ["city", "isCapital"],
  additionalProperties: false,
} as const;

const client = new OpenAI({
  baseURL: new URL("../v1", location.href).href,
  apiKey: "none",
  dangerouslyAllowBrowser: true,
  maxRetries: 0,
});

function asked(content: string) {
  return [{ role: "user", content }] as const;
}

/** What the test asks for; each gives plain data. */
const app = {
  whole: async (model: string, question: string) => {
    const { data, response } = await client.chat.completions
      .create({ model, messages: [...asked(question)], temperature: 0, max_completion_tokens: 12 })
      .withResponse();
    const [choice] = data.choices;
    return {
      text: choice?.message.content,
      finish: choice?.finish_reason,
      usage: data.usage,
      servedBy: response.headers.get("Transom-Served-By"),
    };
  },

  streamed: async (model: string, question: string) => {
    const stream = await client.chat.completions.create({
      model,
      messages: [...asked(question)],
      temperature: 0,
      max_completion_tokens: 12,
      stream: true,
      stream_options: { include_usage: true },
    });
    const pieces: string[] = [];
    let tokens: number | undefined;
    for await (const chunk of stream) {
      pieces.push(chunk.choices[0]?.delta.content ?? "");
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    return { text: pieces.join(""), pieces: pieces.filter(Boolean).length, tokens };
  },

  called: async (model: string, question: string) => {
    const { choices } = await client.chat.completions.create({
      model,
      messages: [...asked(question)],
      temperature: 0,
      max_completion_tokens: 40,
      tools: [{ type: "function", function: { name: "look_up", parameters: TOWN } }],
      tool_choice: { type: "function", function: { name: "look_up" } },
    });
    const [choice] = choices;
    const call = choice?.message.tool_calls?.[0];
    return call?.type === "function"
      ? { name: call.function.name, arguments: JSON.parse(call.function.arguments) as unknown }
      : null;
  },

  shaped: async (model: string, question: string) => {
    const { choices } = await client.chat.completions.create({
      model,
      messages: [...asked(question)],
      temperature: 0,
      max_completion_tokens: 40,
      response_format: { type: "json_schema", json_schema: { name: "town", schema: TOWN } },
    });
    return JSON.parse(choices[0]?.message.content ?? "") as unknown;
  },

  refused: async (model: string) => {
    try {
      await client.chat.completions.create({ model, messages: [...asked("Hi")] });
      return null;
    } catch (error) {
      return error instanceof APIError
        ? { status: Number(error.status), code: error.code, param: error.param }
        : { status: null, code: String(error), param: null };
    }
  },

  models: async () => {
    const ids: string[] = [];
    for await (const { id } of client.models.list()) {
      ids.push(id);
    }
    return ids;
  },

  /** The same from a frame of this app. */
  framed: async () => {
    const frame = document.createElement("iframe");
    frame.src = "./frame.html";
    await new Promise((resolve) => {
      frame.addEventListener("load", resolve);
      document.body.append(frame);
    });
    const response = await frame.contentWindow?.fetch("/v1/models");
    return {
      servedBy: response?.headers.get("Transom-Served-By"),
      body: (await response?.json()) as unknown,
    };
  },
};

declare global {
  interface Window {
    app: typeof app;
  }
}

window.app = app;
