// npm's `ollama`: chat, generate, embed, list, show, ps.

import { Ollama } from "ollama";
import * as z from "zod";

import * as findings from "./findings.mjs";
import { ADDRESS, PICTURES, QUESTION, SENTENCES, TOWN_QUESTION, Town } from "./findings.mjs";

const client = new Ollama({ host: ADDRESS });
const messages = [{ role: "user", content: QUESTION }];

const whole = await client.chat({ model: "smollm2", messages });
const pieces = [];
for await (const part of await client.chat({ model: "smollm2", messages, stream: true })) {
  pieces.push(part.message.content);
}
const generated = await client.generate({ model: "smollm2", prompt: QUESTION });

const weather = {
  name: "weather",
  description: "The weather in a city.",
  parameters: findings.WEATHER_SCHEMA,
};
const tools = [{ type: "function", function: weather }];
const conversation = [{ role: "user", content: findings.WEATHER_QUESTION }];
const asked = await client.chat({ model: "caller", messages: conversation, tools });
const [call] = asked.message.tool_calls;
const streamedCalls = [];
for await (const part of await client.chat({
  model: "caller",
  messages: conversation,
  tools,
  stream: true,
})) {
  streamedCalls.push(...(part.message.tool_calls ?? []));
}
conversation.push(asked.message);
conversation.push({ role: "tool", tool_name: "weather", content: findings.WEATHER_ANSWER });
const said = await client.chat({ model: "caller", messages: conversation, tools });

const town = await client.chat({
  model: "smollm2",
  messages: [{ role: "user", content: TOWN_QUESTION }],
  format: z.toJSONSchema(Town),
});
const embedded = await client.embed({ model: "minilm", input: SENTENCES });
const seen = await findings.each(PICTURES, async (data) => {
  const question = { role: "user", content: "What is in this picture?", images: [data] };
  const options = { num_predict: 20 };
  return (await client.chat({ model: "seeing", messages: [question], options })).message.content;
});

// One slot: the second request is answered in time only if the first has let go of it.
const counting = { model: "counting", messages: [{ role: "user", content: findings.COUNT }] };
const stream = await client.chat({ ...counting, stream: true });
let read = 0;
try {
  for await (const part of stream) {
    if (part.message.content && ++read === 3) stream.abort();
  }
} catch (error) {
  if (error.name !== "AbortError") throw error;
}
const after = await client.chat({ ...counting, options: { num_predict: 1 } });

const { models } = await client.list();
const running = (await client.ps()).models;
findings.report("ollama", {
  whole: whole.message.content,
  pieces,
  response: generated.response,
  prompt_tokens: whole.prompt_eval_count,
  finish: whole.done_reason,
  call: [call.function.name, call.function.arguments],
  streamed_call: [streamedCalls[0].function.name, streamedCalls[0].function.arguments],
  said: said.message.content,
  town: Town.parse(JSON.parse(town.message.content)),
  vectors: findings.vectorsSeen(embedded.embeddings),
  seen,
  listed: models.map((model) => model.model.replace(/:latest$/, "")).sort(),
  shown: (await client.show({ model: "caller" })).capabilities,
  running: Object.fromEntries(running.map((model) => [model.model, model.context_length])),
  missing: await findings.refused(() => client.chat({ model: "nobody", messages })),
  after_cancelling: after.eval_count,
});
