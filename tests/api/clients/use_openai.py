"""The `openai` client: chat completions, responses, embeddings, models."""

import base64
import json

import findings
from findings import ADDRESS, PICTURES, QUESTION, SECONDS, SENTENCES, Town
from openai import OpenAI

client = OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", timeout=SECONDS, max_retries=0)
messages = [{"role": "user", "content": QUESTION}]

completion = client.chat.completions.create(model="smollm2", messages=messages)
chunks = list(client.chat.completions.create(model="smollm2", messages=messages, stream=True))
pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]

# The same through Responses, whole and as events.
response = client.responses.create(model="smollm2", input=QUESTION)
with client.responses.stream(model="smollm2", input=QUESTION) as stream:
    deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]

# A loop of tools.
weather = {
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": findings.WEATHER_SCHEMA,
}
tools = [{"type": "function", "function": weather}]
conversation = [{"role": "user", "content": findings.WEATHER_QUESTION}]
asked = client.chat.completions.create(model="caller", messages=conversation, tools=tools)
(call,) = asked.choices[0].message.tool_calls
with client.chat.completions.stream(
    model="caller", messages=conversation, tools=tools, tool_choice="auto"
) as stream:
    stream.until_done()
    (streamed_call,) = stream.get_final_completion().choices[0].message.tool_calls
conversation.append(asked.choices[0].message)
conversation.append({"role": "tool", "tool_call_id": call.id, "content": findings.WEATHER_ANSWER})
said = client.chat.completions.create(model="caller", messages=conversation, tools=tools)
# A model without a form of its own, made to call.
forced = client.chat.completions.create(
    model="smollm2", messages=conversation[:1], tools=tools, tool_choice="required"
)

# The same loop in Responses, whose second turn names the first.
response_tools = [{"type": "function", "strict": True, **weather}]
first = client.responses.create(
    model="caller", input=findings.WEATHER_QUESTION, tools=response_tools
)
(item,) = first.output
second = client.responses.create(
    model="caller",
    previous_response_id=first.id,
    tools=response_tools,
    input=[
        {
            "type": "function_call_output",
            "call_id": item.call_id,
            "output": findings.WEATHER_ANSWER,
        }
    ],
)

# JSON schema to pydantic.
about_town = [{"role": "user", "content": findings.TOWN_QUESTION}]
parsed = client.chat.completions.parse(model="smollm2", messages=about_town, response_format=Town)
parsed_response = client.responses.parse(
    model="smollm2", input=findings.TOWN_QUESTION, text_format=Town
)

# The client asks for base64 unless told otherwise.
embedded = client.embeddings.create(model="minilm", input=SENTENCES)
as_floats = client.embeddings.create(model="minilm", input=SENTENCES, encoding_format="float")


def see(data: bytes) -> str:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    content = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    answer = client.chat.completions.create(
        model="seeing", messages=[{"role": "user", "content": content}], max_tokens=20
    )
    return answer.choices[0].message.content


# One slot: the second request is answered in time only if the first has let go of it.
counting = {"model": "counting", "messages": [{"role": "user", "content": findings.COUNT}]}
with client.chat.completions.create(**counting, stream=True) as stream:
    for _ in range(3):
        next(stream)
after = client.chat.completions.create(**counting, max_tokens=1)

findings.report(
    "openai",
    whole=completion.choices[0].message.content,
    pieces=pieces,
    response=response.output_text,
    response_pieces=deltas,
    prompt_tokens=completion.usage.prompt_tokens,
    finish=completion.choices[0].finish_reason,
    call=[call.function.name, json.loads(call.function.arguments)],
    streamed_call=[streamed_call.function.name, json.loads(streamed_call.function.arguments)],
    said=said.choices[0].message.content,
    forced=forced.choices[0].message.tool_calls[0].function.name,
    response_call=[item.name, json.loads(item.arguments)],
    response_said=second.output_text,
    town=parsed.choices[0].message.parsed.model_dump(),
    response_town=parsed_response.output_parsed.model_dump(),
    vectors=findings.vectors_seen([row.embedding for row in embedded.data]),
    float_vectors=findings.vectors_seen([row.embedding for row in as_floats.data]),
    seen=[see(picture.read_bytes()) for picture in PICTURES],
    listed=sorted(model.id for model in client.models.list()),
    shown=client.models.retrieve("smollm2").id,
    missing=findings.refused(
        lambda: client.chat.completions.create(model="nobody", messages=messages)
    ),
    bad_field=findings.refused(
        lambda: client.chat.completions.create(model="smollm2", messages=messages, top_p=7)
    ),
    after_cancelling=after.usage.completion_tokens,
)
