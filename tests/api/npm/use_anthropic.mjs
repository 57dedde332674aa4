// npm's `@anthropic-ai/sdk`: messages, streams, counted tokens, models.

import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";

import * as findings from "./findings.mjs";
import { ADDRESS, PICTURES, QUESTION, TOWN_QUESTION, Town } from "./findings.mjs";

const client = new Anthropic({
  baseURL: ADDRESS,
  apiKey: "none",
  timeout: findings.MILLISECONDS,
  maxRetries: 0,
});
const asking = { model: "smollm2", max_tokens: 64 };
const messages = [{ role: "user", content: QUESTION }];

const whole = await client.messages.create({ ...asking, messages });
const pieces = [];
const streamed = client.messages.stream({ ...asking, messages }).on("text", (text) => {
  pieces.push(text);
});
await streamed.finalMessage();
const counted = await client.messages.countTokens({ model: "smollm2", messages });

const tools = [
  {
    name: "weather",
    description: "The weather in a city.",
    input_schema: findings.WEATHER_SCHEMA,
  },
];
const conversation = [{ role: "user", content: findings.WEATHER_QUESTION }];
const calling = { model: "caller", max_tokens: 64, tools };
const asked = await client.messages.create({ ...calling, messages: conversation });
const call = asked.content.find((block) => block.type === "tool_use");
const streaming = client.messages.stream({ ...calling, messages: conversation });
const streamedCall = (await streaming.finalMessage()).content.find(
  (block) => block.type === "tool_use",
);
conversation.push({ role: "assistant", content: asked.content });
conversation.push({
  role: "user",
  content: [{ type: "tool_result", tool_use_id: call.id, content: findings.WEATHER_ANSWER }],
});
const said = await client.messages.create({ ...calling, messages: conversation });

const parsed = await client.messages.parse({
  ...asking,
  messages: [{ role: "user", content: TOWN_QUESTION }],
  output_config: { format: zodOutputFormat(Town) },
});
const seen = await findings.each(PICTURES, async (data) => {
  const content = [
    { type: "image", source: { type: "base64", media_type: "image/png", data } },
    { type: "text", text: "What is in this picture?" },
  ];
  const answer = await client.messages.create({
    model: "seeing",
    max_tokens: 20,
    messages: [{ role: "user", content }],
  });
  return answer.content[0]?.text ?? "";
});

// One slot: the second request is answered in time only if the first has let go of it.
const counting = { model: "counting", messages: [{ role: "user", content: findings.COUNT }] };
const stream = await client.messages.create({ ...counting, max_tokens: 7000, stream: true });
let read = 0;
for await (const event of stream) {
  if (event.type === "content_block_delta" && ++read === 3) break;
}
const after = await client.messages.create({ ...counting, max_tokens: 1 });

const listed = [];
for await (const model of client.models.list()) listed.push(model.id);
findings.report("@anthropic-ai/sdk", {
  whole: whole.content[0].text,
  pieces,
  prompt_tokens: counted.input_tokens,
  finish: whole.stop_reason,
  call: [call.name, call.input],
  streamed_call: [streamedCall.name, streamedCall.input],
  said: said.content[0].text,
  town: parsed.parsed_output,
  seen,
  listed: listed.sort(),
  shown: (await client.models.retrieve("smollm2")).id,
  missing: await findings.refused(() =>
    client.messages.create({ ...asking, model: "nobody", messages }),
  ),
  after_cancelling: after.usage.output_tokens,
});
