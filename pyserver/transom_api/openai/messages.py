"""The messages of a chat, of every role and kind of content."""

import json
from typing import Final

from transom_api.chat import (
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_TOOLS,
    Audio,
    Image,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
)
from transom_api.fields import Fields, shown
from transom_api.image_files import read_data_url
from transom_api.sound_files import FORMATS, read_sound

ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# Who may say what.
PARTS: Final[dict[Role, tuple[str, ...]]] = {
    "system": ("text",),
    "user": ("text", "image_url", "input_audio"),
    "assistant": ("text", "refusal"),
    # A tool may answer with a picture, as a screenshot.
    "tool": ("text", "image_url"),
}
DETAILS: Final = ("auto", "low", "high", "original")
NO_AUDIO: Final = "answers are not kept; send the words as content"


def read_messages(body: Fields) -> tuple[Message, ...]:
    """Raises `InvalidField`."""
    rows = list(body.objects("messages", most=MAX_MESSAGES))
    if not rows:
        body.refuse("messages", "is empty" if "messages" in body else "is missing")
    messages: list[Message] = []
    for number, row in enumerate(rows):
        messages.append(_message(row, number, messages))
    return tuple(messages)


def _message(row: Fields, number: int, before: list[Message]) -> Message:
    said = row.required_text("role")
    row.text("role", "", choices=tuple(ROLES))
    role = ROLES[said]
    row.refuse_if_set({"audio": NO_AUDIO})
    if role == "assistant":
        return _assistant(row, number)
    if "content" not in row:
        row.refuse("content", "is missing")
    parts = _parts(row, role)
    if said == "tool":
        call = row.required_text("tool_call_id")
        return Message("tool", parts, tool_call_id=call, name=row.text("name", None))
    if said == "function":
        name = row.required_text("name")
        return Message("tool", parts, tool_call_id=_last_call(before, name), name=name)
    return Message(role, parts, name=row.text("name", None))


def _assistant(row: Fields, number: int) -> Message:
    calls = tuple(_call(call, number) for call in row.objects("tool_calls", most=MAX_TOOLS))
    function = row.object("function_call")
    if function is not None:
        # It had no id of its own.
        calls += (_function_call(function, f"call_{number}"),)
    parts = _parts(row, "assistant")
    refusal = row.text("refusal", None)
    if refusal:
        parts += (Text(refusal),)
    reasoning = row.text("reasoning_content", None) or row.text("reasoning", None)
    if not parts and not calls and reasoning is None and "content" not in row:
        row.refuse("content", "is missing, and there are no tool_calls either")
    return Message("assistant", parts, reasoning, calls, name=row.text("name", None))


def _call(row: Fields, number: int) -> ToolCall:
    kind = row.text("type", "function")
    if kind != "function":
        row.refuse("type", f"{shown(kind)} is not function")
    function = row.object("function")
    if function is None:
        row.refuse("function", "is missing")
    return _function_call(function, row.required_text("id"))


def _function_call(row: Fields, call_id: str) -> ToolCall:
    arguments = row.raw("arguments")
    if isinstance(arguments, dict):
        # Ollama's and MLC's clients send the object itself.
        text = json.dumps(arguments, ensure_ascii=False)
    else:
        text = row.text("arguments", "{}")
    return ToolCall(call_id, row.required_text("name"), text)


def _last_call(before: list[Message], name: str) -> str | None:
    """The call that an answer of a function belongs to."""
    calls = [call for message in before for call in message.tool_calls if call.name == name]
    return calls[-1].id if calls else None


def _parts(row: Fields, role: Role) -> tuple[Part, ...]:
    value = row.raw("content")
    if value is None:
        return ()
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if not isinstance(value, list):
        row.refuse("content", "must be a string or a list of parts")
    parts: list[Part] = []
    for part in row.objects("content", most=MAX_PARTS):
        kind = part.required_text("type")
        part.text("type", "", choices=PARTS[role])
        if kind == "text":
            if "text" not in part:
                part.refuse("text", "is missing")
            parts.append(Text(part.text("text", "")))
        elif kind == "refusal":
            parts.append(Text(part.required_text("refusal")))
        elif kind == "image_url":
            parts.append(_image(part))
        else:
            parts.append(_audio(part))
    return tuple(parts)


def _image(part: Fields) -> Image:
    if isinstance(part.raw("image_url"), str):
        return read_data_url(part, "image_url")
    inner = part.object("image_url")
    if inner is None:
        part.refuse("image_url", "is missing")
    inner.text("detail", "auto", choices=DETAILS)
    return read_data_url(inner, "url")


def _audio(part: Fields) -> Audio:
    inner = part.object("input_audio")
    if inner is None:
        part.refuse("input_audio", "is missing")
    inner.required_text("format")
    kind = inner.text("format", "", choices=FORMATS)
    return read_sound(inner, "data", kind)
