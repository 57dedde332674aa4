"""Ollama's `/api/chat` and `/api/generate`, read into a `Chat`. Pure.

A field is honoured, or refused by its name; unknown ones are passed over, as Ollama does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from transom_api.adapters import Scales, read_lora
from transom_api.chat import (
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_TOP_LOGPROBS,
    Chat,
    Constraint,
    Image,
    Message,
    Role,
    Text,
    ToolCall,
    goes_on_with,
)
from transom_api.fields import Fields, kind_of, shown
from transom_api.image_files import read_base64
from transom_api.ollama.fields import keep_seconds_of, model_of, options_of
from transom_api.openai.tools import read_tools

Kind = Literal["chat", "generate"]

MAX_IMAGES: Final = 64
MAX_CALLS: Final = 1000
ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant", "tool")
EFFORTS: Final = ("low", "medium", "high", "max")
REFUSED: Final[Mapping[str, str]] = {
    "context": "nothing is kept between requests; send the conversation to /api/chat",
    "truncate": "a conversation is never cut; ask with a larger num_ctx, or shorten it",
    "shift": "a context is never shifted; ask with a larger num_ctx",
    "_debug_render_only": "prompts are not shown; leave _debug_render_only out",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of either kind. `only_loads`: nothing is asked but that the model is loaded, or
    with `keep_seconds` 0 let go of."""

    kind: Kind
    chat: Chat
    only_loads: bool


def read_chat(body: object) -> Asked:
    """A body of `/api/chat`. Raises `InvalidField`."""
    fields = Fields(body)
    messages = tuple(_message(row) for row in fields.objects("messages", most=MAX_MESSAGES))
    images = sum(isinstance(part, Image) for message in messages for part in message.parts)
    if images > MAX_IMAGES:
        fields.refuse("messages", f"there are {images} images, over {MAX_IMAGES}")
    tools, choice, _ = read_tools(fields)
    chat = Chat(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        continues_last=goes_on_with(messages),
        **_common(fields),
    )
    return Asked("chat", chat, only_loads=not messages)


def read_generate(body: object) -> Asked:
    """A body of `/api/generate`. Raises `InvalidField`."""
    fields = Fields(body)
    prompt, system = fields.text("prompt", ""), fields.text("system", "")
    suffix = fields.text("suffix", "") or None
    images = _images(fields)
    asks = bool(prompt or images or suffix)
    messages = [Message("system", (Text(system),))] if system else []
    if asks:
        messages.append(Message("user", (*images, Text(prompt))))
    raw = fields.flag("raw", False)
    if raw and suffix:
        fields.refuse("suffix", "raw text has no gap to fill; leave one of them out")
    chat = Chat(
        messages=tuple(messages),
        raw_prompt=prompt if raw and asks else None,
        template=fields.text("template", "") or None,
        suffix=suffix,
        is_prompt=True,
        **_common(fields),
    )
    return Asked("generate", chat, only_loads=not asks)


def _common(fields: Fields) -> dict[str, Any]:
    """What both kinds have, as arguments of `Chat`."""
    # Empty, false and 0 ask for nothing.
    fields.refuse_if_set(REFUSED)
    thinks, effort = _thinks(fields)
    logprobs = fields.flag("logprobs", False)
    top = fields.whole("top_logprobs", 0, least=0, most=MAX_TOP_LOGPROBS)
    if top and not logprobs:
        fields.refuse("top_logprobs", "there are none without logprobs: true")
    return {
        "model": model_of(fields),
        "stream": fields.flag("stream", True),
        "options": options_of(fields),
        "keep_seconds": keep_seconds_of(fields),
        "lora": _lora(fields),
        "constraint": _constraint(fields),
        "thinks": thinks,
        "effort": effort,
        "logprobs": logprobs,
        "top_logprobs": top,
    }


def _lora(fields: Fields) -> Scales | None:
    """Beside the options, or among them, where Ollama's clients let it through."""
    inner = fields.object("options")
    found = None if inner is None else read_lora(inner)
    return read_lora(fields) if found is None else found


def _thinks(fields: Fields) -> tuple[bool | None, str | None]:
    value = fields.raw("think")
    if value is None or isinstance(value, bool):
        return value, None
    if not isinstance(value, str):
        fields.refuse("think", f"must be true, false or a level, not {kind_of(value)}")
    return True, fields.text("think", None, choices=EFFORTS)


def _constraint(fields: Fields) -> Constraint | None:
    form = fields.raw("format")
    if form is None or form == "":
        return None
    if form == "json":
        return Constraint("json_object")
    if not isinstance(form, dict):
        fields.refuse("format", 'must be "json" or a JSON schema')
    return Constraint("json_schema", form)


def _message(row: Fields) -> Message:
    # Images first, as models were trained; Ollama puts them there too.
    content = row.text("content", "")
    role = row.text("role", None, choices=ROLES)
    for known in ROLES:
        if role == known:
            return Message(
                role=known,
                parts=(*_images(row), *((Text(content),) if content else ())),
                reasoning=row.text("thinking", "") or None,
                tool_calls=tuple(
                    _call(call, number)
                    for number, call in enumerate(row.objects("tool_calls", most=MAX_CALLS))
                ),
                tool_call_id=row.text("tool_call_id", "") or None,
                name=row.text("tool_name", "") or None,
            )
    row.refuse("role", "is missing")


def _call(row: Fields, number: int) -> ToolCall:
    function = row.object("function")
    if function is None:
        row.refuse("function", "is missing")
    return ToolCall(
        id=row.text("id", "") or f"call_{number}",
        name=function.required_text("name"),
        arguments=json.dumps(function.mapping("arguments") or {}, ensure_ascii=False),
    )


def _images(fields: Fields) -> tuple[Image, ...]:
    rows = fields.items("images", most=min(MAX_IMAGES, MAX_PARTS))
    found = []
    for number, item in enumerate(rows):
        name = f"images[{number}]"
        if not isinstance(item, str):
            fields.refuse(name, f"must be a file in base64, not {shown(item)}")
        found.append(read_base64(Fields({name: item}, fields.where), name))
    return tuple(found)
