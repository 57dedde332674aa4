"""The `litellm` client: one call, over OpenAI's, Ollama's and Anthropic's dialect."""

import base64
import json
import os

import findings
from findings import ADDRESS, PICTURES, QUESTION, SECONDS, SENTENCES, Town

# Else it fetches a list of prices when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm import completion, embedding

OPENAI = {"api_base": f"{ADDRESS}/v1", "api_key": "none", "timeout": SECONDS}
OLLAMA = {"api_base": ADDRESS, "timeout": SECONDS}
ANTHROPIC = {"api_base": ADDRESS, "api_key": "none", "timeout": SECONDS}
# litellm's name of a route -> where it finds the server.
ROUTES = {"openai": OPENAI, "ollama_chat": OLLAMA, "anthropic": ANTHROPIC}
messages = [{"role": "user", "content": QUESTION}]
litellm.num_retries = 0
litellm.suppress_debug_info = True

wholes, streams, calls, answers, towns, seen, missing = {}, {}, {}, {}, {}, {}, {}
tools = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": findings.WEATHER_SCHEMA,
        },
    }
]
for route, here in ROUTES.items():
    whole = completion(model=f"{route}/smollm2", messages=messages, **here)
    wholes[route] = whole.choices[0].message.content
    stream = completion(model=f"{route}/smollm2", messages=messages, stream=True, **here)
    streams[route] = [chunk.choices[0].delta.content or "" for chunk in stream]

    conversation = [{"role": "user", "content": findings.WEATHER_QUESTION}]
    with_tools = {"model": f"{route}/caller", "tools": tools, **here}
    asked = completion(messages=conversation, **with_tools).choices[0].message
    (call,) = asked.tool_calls
    calls[route] = [call.function.name, json.loads(call.function.arguments)]
    conversation.append(asked.model_dump())
    conversation.append(
        {"role": "tool", "tool_call_id": call.id, "content": findings.WEATHER_ANSWER}
    )
    said = completion(messages=conversation, **with_tools)
    answers[route] = said.choices[0].message.content

    about_town = [{"role": "user", "content": findings.TOWN_QUESTION}]
    answer = completion(model=f"{route}/smollm2", messages=about_town, response_format=Town, **here)
    towns[route] = Town.model_validate_json(answer.choices[0].message.content).model_dump()

    seen[route] = []
    for picture in PICTURES:
        data = base64.b64encode(picture.read_bytes()).decode()
        content = [
            {"type": "text", "text": "What is in this picture?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        ]
        look = completion(
            model=f"{route}/seeing",
            messages=[{"role": "user", "content": content}],
            max_tokens=20,
            **here,
        )
        seen[route].append(look.choices[0].message.content)

    missing[route] = findings.refused(
        lambda route=route, here=here: completion(
            model=f"{route}/nobody", messages=messages, **here
        )
    )

vectors = {}
for route, here in {"openai": OPENAI, "ollama": OLLAMA}.items():
    rows = embedding(model=f"{route}/minilm", input=SENTENCES, **here).data
    vectors[route] = findings.vectors_seen([row["embedding"] for row in rows])

findings.report(
    "litellm",
    wholes=wholes,
    streams=streams,
    calls=calls,
    answers=answers,
    towns=towns,
    all_seen=seen,
    all_vectors=vectors,
    all_missing=missing,
)
