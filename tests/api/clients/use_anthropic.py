"""The `anthropic` client: messages, streams, counted tokens, models."""

import base64

import findings
from anthropic import Anthropic
from findings import ADDRESS, PICTURES, QUESTION, SECONDS, Town

client = Anthropic(base_url=ADDRESS, api_key="none", timeout=SECONDS, max_retries=0)
messages = [{"role": "user", "content": QUESTION}]

message = client.messages.create(model="smollm2", max_tokens=64, messages=messages)
with client.messages.stream(model="smollm2", max_tokens=64, messages=messages) as stream:
    pieces = list(stream.text_stream)
counted = client.messages.count_tokens(model="smollm2", messages=messages)

tools = [
    {
        "name": "weather",
        "description": "The weather in a city.",
        "input_schema": findings.WEATHER_SCHEMA,
    }
]
asking = {"model": "caller", "max_tokens": 64, "tools": tools}
conversation = [{"role": "user", "content": findings.WEATHER_QUESTION}]
asked = client.messages.create(messages=conversation, **asking)
(call,) = [block for block in asked.content if block.type == "tool_use"]
with client.messages.stream(messages=conversation, **asking) as stream:
    last = stream.get_final_message()
(streamed_call,) = [block for block in last.content if block.type == "tool_use"]
conversation.append({"role": "assistant", "content": asked.content})
result = {"type": "tool_result", "tool_use_id": call.id, "content": findings.WEATHER_ANSWER}
conversation.append({"role": "user", "content": [result]})
said = client.messages.create(messages=conversation, **asking)
# A model without a form of its own, made to call.
forced = client.messages.create(
    model="smollm2",
    max_tokens=64,
    messages=conversation[:1],
    tools=tools,
    tool_choice={"type": "tool", "name": "weather"},
)

parsed = client.messages.parse(
    model="smollm2",
    max_tokens=64,
    messages=[{"role": "user", "content": findings.TOWN_QUESTION}],
    output_format=Town,
)


def see(data: bytes) -> str:
    source = {
        "type": "base64",
        "media_type": "image/png",
        "data": base64.b64encode(data).decode(),
    }
    content = [
        {"type": "image", "source": source},
        {"type": "text", "text": "What is in this picture?"},
    ]
    answer = client.messages.create(
        model="seeing", max_tokens=20, messages=[{"role": "user", "content": content}]
    )
    return answer.content[0].text


# One slot: the second request is answered in time only if the first has let go of it.
counting = {"model": "counting", "messages": [{"role": "user", "content": findings.COUNT}]}
with client.messages.stream(max_tokens=7000, **counting) as stream:
    for _, _ in zip(range(3), stream.text_stream, strict=False):
        pass
after = client.messages.create(max_tokens=1, **counting)

findings.report(
    "anthropic",
    whole=message.content[0].text,
    pieces=pieces,
    prompt_tokens=counted.input_tokens,
    finish=message.stop_reason,
    call=[call.name, call.input],
    streamed_call=[streamed_call.name, streamed_call.input],
    said=said.content[0].text,
    forced=forced.content[0].name,
    town=parsed.parsed_output.model_dump(),
    seen=[see(picture.read_bytes()) for picture in PICTURES],
    listed=sorted(model.id for model in client.models.list()),
    shown=client.models.retrieve("smollm2").id,
    missing=findings.refused(
        lambda: client.messages.create(model="nobody", max_tokens=5, messages=messages)
    ),
    after_cancelling=after.usage.output_tokens,
)
