"""What both of LangChain's clients are asked, in LangChain's words: it is the same for any of them.

Runs in those clients' environments: langchain-core and the standard library.
"""

import base64
from typing import Any

import findings
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}, 21 degrees."


def loop_of_tools(caller: BaseChatModel, **choice: str) -> dict[str, Any]:
    """Ask, call, tell what came of it; the call also as a stream."""
    with_tools = caller.bind_tools([weather], **choice)
    conversation: list[Any] = [HumanMessage(findings.WEATHER_QUESTION)]
    asked = with_tools.invoke(conversation)
    (call,) = asked.tool_calls
    streamed = AIMessageChunk("")
    for chunk in with_tools.stream(conversation):
        streamed += chunk
    (streamed_call,) = streamed.tool_calls
    conversation += [asked, weather.invoke(call)]
    said = caller.bind_tools([weather]).invoke(conversation)
    return {
        "call": [call["name"], call["args"]],
        "streamed_call": [streamed_call["name"], streamed_call["args"]],
        "said": said.content,
    }


def pieces_of(model: BaseChatModel) -> list[str]:
    """The answer as it is streamed."""
    return [str(chunk.content) for chunk in model.stream(findings.QUESTION)]


def seen_by(seeing: BaseChatModel) -> list[Any]:
    """What it says to each picture."""
    answers = []
    for picture in findings.PICTURES:
        data = base64.b64encode(picture.read_bytes()).decode()
        content: list[str | dict[str, Any]] = [
            {"type": "text", "text": "What is in this picture?"},
            {"type": "image", "base64": data, "mime_type": "image/png"},
        ]
        answers.append(seeing.invoke([HumanMessage(content)]).content)
    return answers


def vectors_of(embeddings: Embeddings) -> dict[str, float]:
    """Documents and a query, which have to agree."""
    vectors = embeddings.embed_documents(findings.SENTENCES)
    assert findings.cosine(vectors[0], embeddings.embed_query(findings.SENTENCES[0])) > 0.9999
    return findings.vectors_seen(vectors)


def after_cancelling(counting: BaseChatModel, brief: BaseChatModel) -> str:
    """One slot: the second request is answered in time only if the first has let go of it."""
    stream = counting.stream(findings.COUNT)
    for _ in range(3):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    return str(brief.invoke(findings.COUNT).content)
