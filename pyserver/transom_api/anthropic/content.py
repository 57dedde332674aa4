"""Anthropic's messages and content blocks in the core's words. Pure.

A turn is a list of blocks: text, pictures, what the model thought, the tools it called, what they
answered. Here a tool's answer is a message of its own, and neighbouring turns of one role are one
turn, as Anthropic has it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from transom_api.chat import MAX_MESSAGES, MAX_PARTS, Image, Message, Part, Text, ToolCall
from transom_api.fields import Fields, InvalidField
from transom_api.image_files import read_base64, refuse_elsewhere

# More pictures would not fit into any context.
MAX_IMAGES: Final = 100
ROLES: Final = ("user", "assistant", "system")
_ELSEWHERE: Final[Mapping[str, str]] = {
    "url": "documents are not fetched from addresses; send the text itself",
    "file": "there are no stored files; send the text itself",
    "base64": "PDF files are not read; send the text itself",
}
_BETWEEN_TURNS: Final = Text("\n\n")


@dataclass(slots=True)
class _Turn:
    """What the blocks of one turn are, as they are read."""

    parts: list[Part] = field(default_factory=list)
    thought: str = ""
    calls: list[ToolCall] = field(default_factory=list)


def read_system(fields: Fields) -> tuple[Message, ...]:
    """`system`, a string or blocks of text, as at most one message."""
    if isinstance(fields.raw("system"), str):
        text = fields.raw("system")
    else:
        blocks = fields.objects("system", most=MAX_PARTS)
        text = "\n".join(_text_of(block) for block in blocks)
    return (Message("system", (Text(text),)),) if text else ()


def read_turns(fields: Fields) -> tuple[Message, ...]:
    """`messages`, at least one."""
    found: list[Message] = []
    names: dict[str, str] = {}
    """Of the tools called so far, by the ids of the calls."""
    for turn in fields.objects("messages", most=MAX_MESSAGES):
        for message in _read_turn(turn, names):
            _append(found, message)
    if not found:
        fields.refuse("messages", "is empty")
    if found[-1].role == "assistant" and found[-1].tool_calls:
        fields.refuse("messages", "end with a tool_use that has no tool_result")
    pictures = sum(isinstance(part, Image) for message in found for part in message.parts)
    if pictures > MAX_IMAGES:
        fields.refuse("messages", f"have {pictures} images, over {MAX_IMAGES}")
    return tuple(found)


def _append(found: list[Message], message: Message) -> None:
    last = found[-1] if found else None
    if last is None or last.role != message.role or message.role == "tool":
        found.append(message)
        return
    between = (_BETWEEN_TURNS,) if last.parts and message.parts else ()
    thought = "\n\n".join(text for text in (last.reasoning, message.reasoning) if text)
    found[-1] = replace(
        last,
        parts=(*last.parts, *between, *message.parts),
        reasoning=thought or None,
        tool_calls=(*last.tool_calls, *message.tool_calls),
    )


def _read_turn(fields: Fields, names: dict[str, str]) -> Iterator[Message]:
    role = fields.text("role", None, choices=ROLES)
    if role is None:
        fields.refuse("role", "is missing")
    content = fields.raw("content")
    if content is None:
        fields.refuse("content", "is missing")
    if role == "assistant":
        yield _assistant(fields, names)
        return
    parts: list[Part] = []
    for block in _blocks(fields, "content"):
        if block.raw("type") == "tool_result" and role == "user":
            if parts:
                yield Message("user", tuple(parts))
                parts = []
            yield _tool_result(block, names)
        else:
            parts += _given(block, only_text=role == "system")
    if parts:
        yield Message("user" if role == "user" else "system", tuple(parts))


def _assistant(fields: Fields, names: dict[str, str]) -> Message:
    turn = _Turn()
    for block in _blocks(fields, "content"):
        kind = block.raw("type")
        if kind == "thinking":
            turn.thought += block.text("thinking", "")
            block.text("signature", "")
        elif kind == "redacted_thinking":
            block.text("data", "")  # only Anthropic could read it
        elif kind == "tool_use":
            call = _tool_use(block)
            turn.calls.append(call)
            names[call.id] = call.name
        else:
            turn.parts += _given(block, only_text=True)
    return Message("assistant", tuple(turn.parts), turn.thought or None, tuple(turn.calls))


def _tool_use(block: Fields) -> ToolCall:
    given = block.mapping("input")
    if given is None:
        block.refuse("input", "is missing")
    try:
        arguments = json.dumps(given, ensure_ascii=False)
    except RecursionError:
        block.refuse("input", "is nested too deeply")
    return ToolCall(block.required_text("id"), block.required_text("name"), arguments)


def _tool_result(block: Fields, names: Mapping[str, str]) -> Message:
    call = block.required_text("tool_use_id")
    if call not in names:
        block.refuse("tool_use_id", "no tool_use before it has this id")
    parts = [part for inner in _blocks(block, "content") for part in _given(inner)]
    if block.flag("is_error", False):
        # Templates have no other place to say so.
        parts.insert(0, Text("Error: "))
    return Message("tool", tuple(parts), tool_call_id=call, name=names[call])


def _blocks(fields: Fields, name: str) -> Iterator[Fields]:
    """Blocks of a content; a string is one of text, and empty text is none."""
    content = fields.raw(name)
    if isinstance(content, str):
        if content:
            yield Fields({"type": "text", "text": content}, fields.path(name))
    elif content is not None and not isinstance(content, list):
        fields.refuse(name, "must be a string or a list of blocks")
    else:
        yield from fields.objects(name, most=MAX_PARTS)


def _given(block: Fields, *, only_text: bool = False) -> list[Part]:
    """What a block that anybody may write says."""
    kind = block.required_text("type")
    if kind == "text":
        text = _text_of(block)
        return [Text(text)] if text else []
    if kind == "image" and not only_text:
        return [_image(block)]
    if kind == "document" and not only_text:
        return _document(block)
    if kind == "search_result" and not only_text:
        _refuse_citations(block)
        head = f"{block.required_text('title')}\n{block.required_text('source')}\n"
        found = [_text_of(inner) for inner in _blocks(block, "content")]
        return [Text(head + "\n".join(found) + "\n")]
    block.refuse("type", f"{kind:.60} blocks have no place here")


def _text_of(block: Fields) -> str:
    if block.required_text("type") != "text":
        block.refuse("type", "only text has a place here")
    text = block.text("text", None)
    if text is None:
        block.refuse("text", "is missing")
    return text


def _image(block: Fields) -> Image:
    source = _source(block)
    if source.required_text("type") != "base64":
        refuse_elsewhere(source, "type")
    source.text("media_type", None)  # the file says better what it is
    return read_base64(source, "data")


def _document(block: Fields) -> list[Part]:
    _refuse_citations(block)
    source = _source(block)
    kind = source.required_text("type")
    head = [text for name in ("title", "context") if (text := block.text(name, ""))]
    heading: list[Part] = [Text("\n".join(head) + "\n")] if head else []
    if kind == "text":
        return [*heading, Text(source.required_text("data") + "\n")]
    if kind == "content":
        return [*heading, *(part for inner in _blocks(source, "content") for part in _given(inner))]
    source.refuse("type", _ELSEWHERE.get(kind, "must be text or content"))


def _source(block: Fields) -> Fields:
    source = block.object("source")
    if source is None:
        raise InvalidField(block.path("source"), "is missing")
    return source


def _refuse_citations(block: Fields) -> None:
    citations = block.object("citations")
    if citations is not None and citations.flag("enabled", False):
        citations.refuse("enabled", "answers cite nothing; leave citations out")
