"""A `Chat` as a request to another server that speaks OpenAI's dialect.

What such a server has no word for is refused by its name: an answer must not differ silently from
what was asked. `Kind` says which words it knows beside OpenAI's own. Pure.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from transom_api.chat import Audio, Chat, Constraint, Image, Message, Part, Text, Tool, goes_on_with
from transom_api.conversation import function_of
from transom_api.engine import Input
from transom_api.fields import InvalidField
from transom_models.modelfile import ParameterValue, check_parameters, jinja_template
from transom_models.modelfile.parameters import PARAMETERS

Kind = Literal["openai", "vllm", "transom"]
KINDS: Final[tuple[Kind, ...]] = ("openai", "vllm", "transom")

# Option -> field that every server knows.
_COMMON: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
    "num_predict": "max_tokens",
}
# And what vLLM and its like know, as other Transoms do.
_OPEN: Final[Mapping[str, str]] = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
}
# Options whose value asks for nothing, whatever the server does by itself.
_NEUTRAL: Final[Mapping[str, object]] = {"typical_p": 1.0, "repeat_penalty": 1.0, "min_p": 0.0}
_PICTURES: Final = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request: where below the server's `/v1`, and its body."""

    path: str
    body: dict[str, Any]


def outgoing(chat: Chat, model: str, kind: Kind) -> Outgoing:
    """The request, always for a stream. `model` is the server's name for it. Raises
    `InvalidField`."""
    is_text = chat.raw_prompt is not None
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_options(chat.options, kind),
    }
    if chat.choices > 1:
        body["n"] = chat.choices
    if chat.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in chat.logit_bias.items()}
    body |= _extras(chat, kind)
    if is_text:
        return Outgoing("completions", {**body, **_text(chat, kind)})
    if chat.suffix is not None:
        raise InvalidField("suffix", f"{chat.model} fills gaps of raw text only; leave it out")
    body |= {"messages": _messages(chat, kind), **_format(chat.constraint, kind, is_text=False)}
    if chat.logprobs:
        body |= {"logprobs": True, "top_logprobs": chat.top_logprobs}
    body |= _tools(chat)
    return Outgoing("chat/completions", {**body, **_thinking(chat, kind)})


def counting(chat: Chat, model: str, kind: Kind) -> Outgoing:
    """The question how many tokens a conversation becomes. Raises `InvalidField`."""
    if kind == "openai":
        raise InvalidField("model", f"the server of {chat.model} counts no tokens beforehand")
    whole = outgoing(chat, model, kind).body
    if kind == "transom":
        kept = {key: whole[key] for key in whole if key not in ("stream", "stream_options")}
        return Outgoing("chat/completions/input_tokens", kept)
    names = ("model", "messages", "tools", "chat_template", "chat_template_kwargs")
    # vLLM has it beside its `/v1`, not below.
    return Outgoing("../tokenize", {name: whole[name] for name in names if name in whole})


def embedding(model: str, inputs: Sequence[Input], *, cuts: bool, kind: Kind) -> Outgoing:
    """Texts to vectors."""
    rows = [each if isinstance(each, str) else list(each) for each in inputs]
    body: dict[str, Any] = {"model": model, "input": rows, "encoding_format": "float"}
    # The others refuse what is too long, in words of their own.
    if cuts and kind == "vllm":
        body["truncate_prompt_tokens"] = -1
    return Outgoing("embeddings", body)


def load_options(options: Mapping[str, ParameterValue], kind: Kind) -> dict[str, Any]:
    """How a model is to be loaded, for requests without sampling. Raises `InvalidField`."""
    return _options(options, kind)


def _options(options: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    checked = check_parameters(options)
    if kind == "transom":
        # It reads them all, by the names that they have here.
        inner = {name: value for name, value in checked.items() if name != "stop"}
        found: dict[str, Any] = {"options": inner} if inner else {}
        return found | ({"stop": list(_texts(checked["stop"]))} if "stop" in checked else {})
    known = _COMMON if kind == "openai" else {**_COMMON, **_OPEN}
    found = {}
    for name, value in checked.items():
        unlimited = name in ("num_predict", "seed") and isinstance(value, int) and value < 0
        if unlimited or (name in _NEUTRAL and value == _NEUTRAL[name] and name not in known):
            continue
        if name not in known:
            raise InvalidField(name, f"{_why(name)}; leave it out")
        found[known[name]] = list(_texts(value)) if name == "stop" else value
    return found


def _why(name: str) -> str:
    if name in ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"):
        return "the model runs on another server, which has loaded it its own way"
    assert name in PARAMETERS
    return "the server that runs this model has no word for it"


def _texts(value: ParameterValue) -> tuple[str, ...]:
    assert isinstance(value, tuple)
    return value


def _extras(chat: Chat, kind: Kind) -> dict[str, Any]:
    """Fields that are not OpenAI's. Raises `InvalidField` where the server knows no more."""
    template = None if chat.template is None else jinja_template(chat.template)
    variables = dict(chat.template_variables)
    found: dict[str, Any] = {
        "stop_token_ids": list(chat.stop_token_ids),
        "ignore_eos": chat.ignore_eos,
        "chat_template": template,
        "documents": [dict(document) for document in chat.documents],
        "chat_template_kwargs": variables,
    }
    found = {name: value for name, value in found.items() if value}
    if chat.must_continue or (chat.continues_last and kind != "openai"):
        found |= {"continue_final_message": True, "add_generation_prompt": False}
    if chat.lora is not None:
        if kind != "transom":
            raise InvalidField("lora", f"{_why('stop')}; leave it out")
        found["lora"] = [{"id": number, "scale": scale} for number, scale in chat.lora]
    if kind == "openai" and found:
        raise InvalidField(next(iter(found)), f"{_why('stop')}; leave it out")
    if kind == "transom":
        if goes_on_with(chat.messages) and not chat.continues_last:
            found["add_generation_prompt"] = True
        if not chat.cache_prompt:
            found["cache_prompt"] = False
        if chat.keep_seconds is not None:
            found["keep_alive"] = chat.keep_seconds
    return found


def _thinking(chat: Chat, kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {} if chat.effort is None else {"reasoning_effort": chat.effort}
    if chat.thinks is None:
        return found
    if kind == "openai":
        # Its only word for it is how hard; "medium" is what it does unasked.
        return found or {"reasoning_effort": "medium" if chat.thinks else "none"}
    variables = {**chat.template_variables}
    # Qwen's name, and DeepSeek's and Granite's.
    switches = {"enable_thinking": chat.thinks, "thinking": chat.thinks}
    return {**found, "chat_template_kwargs": {**switches, **variables}}


def _text(chat: Chat, kind: Kind) -> dict[str, Any]:
    """What a text to go on with is asked by."""
    if any(isinstance(part, Image | Audio) for each in chat.messages for part in each.parts):
        raise InvalidField("images", "raw text on another server has no pictures; send messages")
    found: dict[str, Any] = {"prompt": chat.raw_prompt}
    if chat.suffix is not None:
        found["suffix"] = chat.suffix
    if chat.logprobs:
        found["logprobs"] = chat.top_logprobs
    return {**found, **_format(chat.constraint, kind, is_text=True)}


def _format(constraint: Constraint | None, kind: Kind, *, is_text: bool) -> dict[str, Any]:
    if constraint is None:
        return {}
    # OpenAI's own route for texts knows no formats.
    if constraint.kind in ("json_object", "json_schema") and not (is_text and kind == "openai"):
        if constraint.kind == "json_object":
            return {"response_format": {"type": "json_object"}}
        schema = {"name": "answer", "schema": dict(constraint.schema or {}), "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if kind == "openai":
        raise InvalidField(
            None, f"the answer cannot be held to a {constraint.kind}; {_why('stop')}"
        )
    value: Any = list(constraint.choices) if constraint.kind == "choice" else constraint.text
    return {"structured_outputs": {constraint.kind: value}}


def _tools(chat: Chat) -> dict[str, Any]:
    if not chat.tools:
        return {}
    found: dict[str, Any] = {"tools": [_tool(tool) for tool in chat.tools]}
    choice = chat.tool_choice
    if choice.name is not None:
        found["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice.mode != "auto":
        found["tool_choice"] = choice.mode
    if not choice.parallel:
        found["parallel_tool_calls"] = False
    return found


def _tool(tool: Tool) -> dict[str, Any]:
    strict = {"strict": True} if tool.strict else {}
    return {"type": "function", "function": {**function_of(tool), **strict}}


def _messages(chat: Chat, kind: Kind) -> list[dict[str, Any]]:
    rows = []
    waiting: list[tuple[str, str]] = []  # ids and names of calls that have no answer yet
    for message in chat.messages:
        if message.role == "tool":
            identity = _answered(message, waiting)
            waiting = [call for call in waiting if call[0] != identity]
            rows.append({**_row(message, kind), "tool_call_id": identity})
            continue
        waiting += [(call.id, call.name) for call in message.tool_calls]
        rows.append(_row(message, kind))
    return rows


def _answered(message: Message, waiting: Sequence[tuple[str, str]]) -> str:
    """The id of the call that a tool answers; Ollama's clients tell its name, or its place."""
    if message.tool_call_id is not None:
        return message.tool_call_id
    named = [identity for identity, name in waiting if name == message.name]
    return next(iter([*named, *(identity for identity, _ in waiting)]), "call_0")


def _row(message: Message, kind: Kind) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": _content(message.parts)}
    if message.name and message.role != "tool":
        row["name"] = message.name
    if message.reasoning and kind != "openai":
        row["reasoning_content"] = message.reasoning
    if message.tool_calls:
        row["content"] = row["content"] or None
        row["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.tool_calls
        ]
    return row


def _content(parts: Sequence[Part]) -> Any:
    if all(isinstance(part, Text) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode()
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": data, "format": part.format}}
    kinds = (name for start, name in _PICTURES if part.data.startswith(start))
    url = f"data:image/{next(kinds, 'png')};base64,{data}"
    return {"type": "image_url", "image_url": {"url": url}}


def encoded(body: Mapping[str, Any]) -> bytes:
    """A body as it is sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
