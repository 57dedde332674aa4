"""What `input` of a response holds, as messages. Pure.

Here an answer of the model is a list of items: what it thought, what it said, what it called. In
the core they are one message, until somebody else speaks.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from transom_api.chat import (
    MAX_MESSAGES,
    MAX_PARTS,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
)
from transom_api.fields import Fields
from transom_api.image_files import read_data_url, refuse_elsewhere

ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
TEXTS: Final = ("input_text", "output_text", "text")
STATES: Final = ("in_progress", "completed", "incomplete")


def read_input(fields: Fields, before: tuple[Message, ...]) -> tuple[Message, ...]:
    """`before` and what `input` adds to it."""
    found = list(before)
    value = fields.raw("input")
    if isinstance(value, str):
        return (*before, Message("user", (Text(value),)))
    for item in fields.objects("input", most=MAX_MESSAGES):
        _read_item(item, found, own=len(found) > len(before))
    if len(found) == len(before):
        fields.refuse("input", "is missing" if value is None else "is empty")
    return tuple(found)


def _read_item(item: Fields, found: list[Message], own: bool) -> None:
    """`own`: the last message is of this very input, so that more of it may follow."""
    kind = item.text("type", "message")
    item.text("status", None, choices=STATES)
    last = found[-1] if own else None
    model_speaks = last is not None and last.role == "assistant"
    if kind == "message":
        message = _message(item)
        if (
            message.role == "assistant"
            and last is not None
            and model_speaks
            and _only_thought(last)
        ):
            found[-1] = replace(last, parts=message.parts)
        else:
            found.append(message)
    elif kind == "reasoning":
        thought = _thought(item)
        if last is not None and model_speaks and _only_thought(last):
            found[-1] = replace(last, reasoning=f"{last.reasoning}\n\n{thought}")
        else:
            found.append(Message("assistant", reasoning=thought))
    elif kind == "function_call":
        arguments = item.text("arguments", "{}")
        call = ToolCall(item.required_text("call_id"), item.required_text("name"), arguments)
        if last is not None and model_speaks:
            found[-1] = replace(last, tool_calls=(*last.tool_calls, call))
        else:
            found.append(Message("assistant", tool_calls=(call,)))
    elif kind == "function_call_output":
        found.append(_output(item, found))
    elif kind == "item_reference":
        item.refuse("type", "items have no addresses; send the item itself")
    else:
        item.refuse("type", f"{kind:.60} items have no place here")


def _only_thought(message: Message) -> bool:
    return bool(message.reasoning) and not message.parts and not message.tool_calls


def _message(item: Fields) -> Message:
    role = item.text("role", None, choices=tuple(ROLES))
    if role is None:
        item.refuse("role", "is missing")
    if "content" not in item:
        item.refuse("content", "is missing")
    return Message(ROLES[role], _parts(item, "content"))


def _thought(item: Fields) -> str:
    """What was thought, or what was said of it."""
    for name in ("content", "summary"):
        texts = [row.text("text", "") for row in item.objects(name, most=MAX_PARTS)]
        if any(texts):
            return "\n\n".join(texts)
    return ""


def _output(item: Fields, found: list[Message]) -> Message:
    call_id = item.required_text("call_id")
    calls = [call for message in found for call in message.tool_calls if call.id == call_id]
    if not calls:
        item.refuse("call_id", "no function_call before it has this id")
    if "output" not in item:
        item.refuse("output", "is missing")
    return Message("tool", _parts(item, "output"), tool_call_id=call_id, name=calls[-1].name)


def _parts(item: Fields, name: str) -> tuple[Part, ...]:
    value = item.raw(name)
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if not isinstance(value, list):
        item.refuse(name, "must be a string or a list of parts")
    return tuple(_part(part) for part in item.objects(name, most=MAX_PARTS))


def _part(part: Fields) -> Part:
    kind = part.required_text("type")
    if kind in TEXTS:
        text = part.text("text", None)
        if text is None:
            part.refuse("text", "is missing")
        return Text(text)
    if kind == "refusal":
        return Text(part.text("refusal", ""))
    if kind == "input_image":
        part.text("detail", None)
        if "image_url" not in part and "file_id" in part:
            refuse_elsewhere(part, "file_id")
        return read_data_url(part, "image_url")
    if kind == "input_file":
        part.refuse("type", "files are not read; send their text as input_text")
    part.refuse("type", f"{kind:.60} parts have no place here")
