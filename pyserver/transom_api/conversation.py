"""The messages and tools that a chat template is given, in the words that templates know. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from transom_api.chat import Image, Message, Text, Tool, ToolCall

Row = dict[str, Any]

# Mistral's templates refuse ids of any other form.
_SHORT_ID: Final = re.compile(r"[A-Za-z0-9]{9}")


def with_defaults(
    messages: Sequence[Message], system: str | None, seeds: Sequence[tuple[str, str]]
) -> list[Message]:
    """The model's system text and seed messages first; the request's own system message takes the
    place of the model's, as in Ollama."""
    seeded = [Message(_role(role), (Text(content),)) for role, content in seeds]
    if messages and messages[0].role == "system":
        return [messages[0], *seeded, *messages[1:]]
    opening = [Message("system", (Text(system),))] if system else []
    return [*opening, *seeded, *messages]


def with_instructions(messages: Sequence[Message], text: str) -> list[Message]:
    """More to the system text, which is made where there is none."""
    if messages and messages[0].role == "system":
        first = messages[0]
        said = Text("\n\n" + text if first.text else text)
        return [Message("system", (*first.parts, said), name=first.name), *messages[1:]]
    return [Message("system", (Text(text),)), *messages]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """System text as the beginning of the first question, for templates that refuse it."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return list(messages)
    system, first = messages[0], messages[1]
    parts = (Text(f"{system.text}\n\n"), *first.parts)
    return [Message("user", parts, name=first.name), *messages[2:]]


def rows_of(
    messages: Sequence[Message],
    image_marker: str | None,
    sound_marker: str | None = None,
    *,
    short_ids: bool = False,
    arguments_as_text: bool = False,
) -> list[Row]:
    """Messages as templates know them. A marker is where an image or a sound is. Templates of
    Hugging Face want the arguments of a call as a mapping; older ones as text."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found = []
    for message in messages:
        content = "".join(
            part.text
            if isinstance(part, Text)
            else (image_marker if isinstance(part, Image) else sound_marker) or ""
            for part in message.parts
        )
        row: Row = {"role": message.role, "content": content}
        if message.reasoning:
            # Qwen's and DeepSeek's name, and the one of gpt-oss and Ollama.
            row |= {"reasoning_content": message.reasoning, "thinking": message.reasoning}
        if message.tool_calls:
            row["tool_calls"] = [
                _call(call, short_ids, arguments_as_text) for call in message.tool_calls
            ]
        name = message.name
        if message.role == "tool":
            identity = message.tool_call_id or ""
            name = name or names.get(identity)
            row["tool_call_id"] = _short(identity) if short_ids else identity
            if name:
                row["tool_name"] = name
        if name:
            row["name"] = name
        found.append(row)
    return found


def tools_of(tools: Sequence[Tool]) -> list[Row]:
    """Tools as templates know them."""
    return [{"type": "function", "function": function_of(tool)} for tool in tools]


def function_of(tool: Tool) -> Row:
    """A tool's name, what it does, and the schema of its arguments."""
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": {"type": "object", "properties": {}, **tool.parameters},
    }


def _call(call: ToolCall, short_ids: bool, arguments_as_text: bool) -> Mapping[str, Any]:
    arguments: Any = call.arguments or "{}"
    if not arguments_as_text:
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            value = None
        # What is no object goes on as the model wrote it.
        arguments = value if isinstance(value, dict) else arguments
    return {
        "id": _short(call.id) if short_ids else call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _short(identity: str) -> str:
    if _SHORT_ID.fullmatch(identity):
        return identity
    return hashlib.sha256(identity.encode()).hexdigest()[:9]


def _role(role: str) -> Any:
    return role
