"""The `ollama` client: chat, generate, embed, list, show, ps."""

import findings
from findings import ADDRESS, PICTURES, QUESTION, SECONDS, SENTENCES, Town
from ollama import Client

client = Client(host=ADDRESS, timeout=SECONDS)
messages = [{"role": "user", "content": QUESTION}]

answer = client.chat(model="smollm2", messages=messages)
parts = list(client.chat(model="smollm2", messages=messages, stream=True))
continued = client.generate(model="smollm2", prompt=QUESTION)


def weather(city: str) -> str:
    """The weather in a city.

    Args:
      city: Name of the city.
    """
    return f"It is sunny in {city}, 21 degrees."


conversation = [{"role": "user", "content": findings.WEATHER_QUESTION}]
asked = client.chat(model="caller", messages=conversation, tools=[weather])
(call,) = asked.message.tool_calls
streamed = client.chat(model="caller", messages=conversation, tools=[weather], stream=True)
(streamed_call,) = [made for part in streamed for made in part.message.tool_calls or []]
conversation.append(asked.message)
conversation.append(
    {
        "role": "tool",
        "tool_name": call.function.name,
        "content": weather(**call.function.arguments),
    }
)
said = client.chat(model="caller", messages=conversation, tools=[weather])

about_town = [{"role": "user", "content": findings.TOWN_QUESTION}]
town = client.chat(model="smollm2", messages=about_town, format=Town.model_json_schema())

embedded = client.embed(model="minilm", input=SENTENCES)


def see(picture: str) -> str:
    question = {"role": "user", "content": "What is in this picture?", "images": [picture]}
    return client.chat(
        model="seeing", messages=[question], options={"num_predict": 20}
    ).message.content


# One slot: the second request is answered in time only if the first has let go of it.
counting = {"model": "counting", "messages": [{"role": "user", "content": findings.COUNT}]}
stream = client.chat(**counting, stream=True)
for _ in range(3):
    next(stream)
stream.close()
after = client.chat(**counting, options={"num_predict": 1})

shown = client.show("caller")
findings.report(
    "ollama",
    whole=answer.message.content,
    pieces=[part.message.content for part in parts],
    response=continued.response,
    prompt_tokens=answer.prompt_eval_count,
    finish=answer.done_reason,
    call=[call.function.name, call.function.arguments],
    streamed_call=[streamed_call.function.name, streamed_call.function.arguments],
    said=said.message.content,
    town=Town.model_validate_json(town.message.content).model_dump(),
    vectors=findings.vectors_seen(embedded.embeddings),
    seen=[see(str(picture)) for picture in PICTURES],
    listed=sorted(model.model.removesuffix(":latest") for model in client.list().models),
    shown=shown.capabilities,
    parameters=shown.parameters,
    running={model.model: model.context_length for model in client.ps().models},
    missing=findings.refused(lambda: client.chat(model="nobody", messages=messages)),
    after_cancelling=after.eval_count,
)
