// npm's `openai`: chat completions, responses, embeddings, models.

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";

import * as findings from "./findings.mjs";
import { ADDRESS, PICTURES, QUESTION, SENTENCES, TOWN_QUESTION, Town } from "./findings.mjs";

const client = new OpenAI({
  baseURL: `${ADDRESS}/v1`,
  apiKey: "none",
  timeout: findings.MILLISECONDS,
  maxRetries: 0,
});
const messages = [{ role: "user", content: QUESTION }];

const whole = await client.chat.completions.create({ model: "smollm2", messages });
const pieces = [];
for await (const chunk of await client.chat.completions.create({
  model: "smollm2",
  messages,
  stream: true,
})) {
  pieces.push(chunk.choices[0].delta.content ?? "");
}
const response = await client.responses.create({ model: "smollm2", input: QUESTION });

// The client runs the loop of tools itself.
const calls = [];
const weather = {
  name: "weather",
  description: "The weather in a city.",
  parameters: findings.WEATHER_SCHEMA,
};
const conversation = [{ role: "user", content: findings.WEATHER_QUESTION }];
const runner = client.chat.completions.runTools({
  model: "caller",
  messages: conversation,
  tools: [
    {
      type: "function",
      function: {
        ...weather,
        parse: JSON.parse,
        function: (given) => {
          calls.push([weather.name, given]);
          return findings.WEATHER_ANSWER;
        },
      },
    },
  ],
});
const said = await runner.finalContent();
const streaming = client.chat.completions.stream({
  model: "caller",
  messages: conversation,
  tools: [{ type: "function", function: weather }],
});
const { choices } = await streaming.finalChatCompletion();
const [streamedCall] = choices[0].message.tool_calls;

const asksForTown = [{ role: "user", content: TOWN_QUESTION }];
const parsed = await client.chat.completions.parse({
  model: "smollm2",
  messages: asksForTown,
  response_format: zodResponseFormat(Town, "town"),
});
const parsedResponse = await client.responses.parse({
  model: "smollm2",
  input: TOWN_QUESTION,
  text: { format: zodTextFormat(Town, "town") },
});

const embedded = await client.embeddings.create({ model: "minilm", input: SENTENCES });
const seen = await findings.each(PICTURES, async (data) => {
  const content = [
    { type: "text", text: "What is in this picture?" },
    { type: "image_url", image_url: { url: `data:image/png;base64,${data}` } },
  ];
  const answer = await client.chat.completions.create({
    model: "seeing",
    messages: [{ role: "user", content }],
    max_tokens: 20,
  });
  return answer.choices[0].message.content;
});

// One slot: the second request is answered in time only if the first has let go of it.
const counting = { model: "counting", messages: [{ role: "user", content: findings.COUNT }] };
const stream = await client.chat.completions.create({ ...counting, stream: true });
let read = 0;
for await (const chunk of stream) {
  if (chunk.choices.length > 0 && ++read === 3) break;
}
const after = await client.chat.completions.create({ ...counting, max_tokens: 1 });

const listed = [];
for await (const model of client.models.list()) listed.push(model.id);
findings.report("openai", {
  whole: whole.choices[0].message.content,
  pieces,
  response: response.output_text,
  prompt_tokens: whole.usage.prompt_tokens,
  finish: whole.choices[0].finish_reason,
  call: calls[0],
  streamed_call: [streamedCall.function.name, JSON.parse(streamedCall.function.arguments)],
  said,
  town: parsed.choices[0].message.parsed,
  response_town: parsedResponse.output_parsed,
  vectors: findings.vectorsSeen(embedded.data.map((row) => row.embedding)),
  seen,
  listed: listed.sort(),
  shown: (await client.models.retrieve("smollm2")).id,
  missing: await findings.refused(() =>
    client.chat.completions.create({ model: "nobody", messages }),
  ),
  after_cancelling: after.usage.completion_tokens,
});
