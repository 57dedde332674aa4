"""What both of LlamaIndex's clients are asked, in LlamaIndex's words: the same for any of them.

Runs in those clients' environments: llama-index-core and the standard library.
"""

from typing import Any

import findings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool, ToolSelection


def _weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}, 21 degrees."


WEATHER = FunctionTool.from_defaults(_weather, name="weather")


def conversation(text: str = findings.QUESTION) -> list[ChatMessage]:
    """One question."""
    return [ChatMessage(role="user", content=text)]


def pieces_of(llm: FunctionCallingLLM) -> list[str]:
    """The answer as it is streamed."""
    return [part.delta or "" for part in llm.stream_chat(conversation())]


def loop_of_tools(llm: FunctionCallingLLM) -> dict[str, Any]:
    """Ask, call, tell what came of it; the call also as a stream."""

    def asked_for(answer: Any) -> ToolSelection:
        (call,) = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=True)
        return call

    history = conversation(findings.WEATHER_QUESTION)
    asked = llm.chat_with_tools([WEATHER], chat_history=history)
    call = asked_for(asked)
    *_, last = llm.stream_chat_with_tools([WEATHER], chat_history=history)
    streamed_call = asked_for(last)
    result = WEATHER.call(**call.tool_kwargs)
    told = ChatMessage(
        role="tool", content=str(result), additional_kwargs={"tool_call_id": call.tool_id}
    )
    said = llm.chat_with_tools([WEATHER], chat_history=[*history, asked.message, told])
    return {
        "call": [call.tool_name, call.tool_kwargs],
        "streamed_call": [streamed_call.tool_name, streamed_call.tool_kwargs],
        "said": said.message.content,
    }


def town_of(llm: FunctionCallingLLM) -> dict[str, Any]:
    """The answer as a pydantic model."""
    prompt = PromptTemplate(findings.TOWN_QUESTION)
    return llm.structured_predict(findings.Town, prompt).model_dump()


def seen_by(llm: FunctionCallingLLM) -> list[Any]:
    """What it says to each picture."""
    answers = []
    for picture in findings.PICTURES:
        blocks = [TextBlock(text="What is in this picture?"), ImageBlock(path=picture)]
        answers.append(llm.chat([ChatMessage(role="user", blocks=blocks)]).message.content or "")
    return answers


def vectors_of(model: BaseEmbedding) -> dict[str, float]:
    """Texts and a query, which have to agree."""
    vectors = model.get_text_embedding_batch(findings.SENTENCES)
    assert findings.cosine(vectors[0], model.get_query_embedding(findings.SENTENCES[0])) > 0.9999
    return findings.vectors_seen(vectors)


def after_cancelling(counting: FunctionCallingLLM, brief: FunctionCallingLLM) -> str:
    """One slot: the second request is answered in time only if the first has let go of it."""
    stream = counting.stream_chat(conversation(findings.COUNT))
    for _ in range(3):
        next(stream)
    stream.close()
    return str(brief.chat(conversation(findings.COUNT)).message.content or "")
