"""Ollama's `/api/chat` and `/api/generate`: a request's fields checked, an answer's lines made.

A field is honoured, or refused by its name; unknown ones are passed over, as Ollama does. Pure: the
time of day is given in.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn

from transom_api.engine import Done, TokenEvent
from transom_models.errors import TransomError
from transom_models.modelfile import ParameterValue, check_parameters
from transom_models.modelfile.parameters import PARAMETERS

Kind = Literal["chat", "generate"]
Message = dict[str, Any]

# A conversation of a million tokens has fewer turns; more are not read.
MAX_MESSAGES: Final = 100_000
MAX_IMAGES: Final = 64
DEFAULT_KEEP_SECONDS: Final = 300.0
# Go's longest duration, as Ollama keeps a model "for ever".
MAX_KEEP_SECONDS: Final = 2**63 / 1e9
# How the formats begin that llama.cpp reads; it tries to play anything else.
_IMAGE_STARTS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM")
_ROLES: Final = ("system", "user", "assistant", "tool")
_DURATION: Final = re.compile(r"([+-]?)((?:\d{1,18}(?:\.\d{0,18})?(?:ns|us|µs|ms|s|m|h))+)")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
# What this server cannot do yet: field -> the way out.
_REFUSED: Final[Mapping[str, str]] = {
    "tools": "tool calls are not read out of an answer yet; leave tools out",
    "logprobs": "log-probabilities are not given yet; leave logprobs out",
    "top_logprobs": "log-probabilities are not given yet; leave top_logprobs out",
    "suffix": "text is not filled in between yet; leave suffix out",
    "context": "nothing is kept between requests; send the conversation to /api/chat",
    "truncate": "a conversation is never cut; ask with a larger num_ctx, or shorten it",
    "shift": "a context is never shifted; ask with a larger num_ctx",
    "_debug_render_only": "prompts are not shown; leave _debug_render_only out",
}


class InvalidRequest(TransomError):
    """The request cannot be honoured; the text names the field."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request of either kind. `messages` hold role, content and other keys as sent; of
    their images only how many, in `image_counts`. `keep_seconds` None: not said."""

    kind: Kind
    model: str
    stream: bool
    options: Mapping[str, ParameterValue]
    keep_seconds: float | None
    json_schema: dict[str, Any] | None
    thinks: bool | None
    messages: tuple[Message, ...] = ()
    images: tuple[bytes, ...] = ()
    image_counts: tuple[int, ...] = ()
    """Of `images`, so many belong to each message."""
    system: str | None = None
    template: str | None = None
    raw: bool = False

    @property
    def only_loads(self) -> bool:
        """Nothing is asked: the model is to be loaded, or with `keep_seconds` 0 let go of."""
        return not self.messages


def read_chat(body: object) -> Asked:
    """A body of `/api/chat`. Raises `InvalidRequest`, `InvalidParameter`."""
    fields = _Fields(body)
    rows = fields.take("messages", list, [])
    if len(rows) > MAX_MESSAGES:
        raise InvalidRequest(f"messages: more than {MAX_MESSAGES}")
    messages, images, counts = [], [], []
    for number, row in enumerate(rows):
        message, found = _read_message(row, f"messages[{number}]")
        messages.append(message)
        images += found
        counts.append(len(found))
    return Asked(
        kind="chat",
        messages=tuple(messages),
        images=_images(images),
        image_counts=tuple(counts),
        **fields.common(),
    )


def read_generate(body: object) -> Asked:
    """A body of `/api/generate`. Raises `InvalidRequest`, `InvalidParameter`."""
    fields = _Fields(body)
    prompt = fields.take("prompt", str, "")
    images = _images(fields.take("images", list, []))
    asks = bool(prompt or images)
    return Asked(
        kind="generate",
        messages=({"role": "user", "content": prompt},) if asks else (),
        images=images,
        image_counts=(len(images),) if asks else (),
        system=fields.take("system", str, "") or None,
        template=fields.take("template", str, "") or None,
        raw=fields.take("raw", bool, False),
        **fields.common(),
    )


def conversation(
    asked: Asked,
    system: str | None,
    seeds: Sequence[tuple[str, str]],
    image_marker: str | None,
) -> list[Message]:
    """The messages that the template gets: the model's system text and seed messages first.

    `seeds` are role and content. The request's own system text or message takes the place of the
    model's, as in Ollama. An image is
    `image_marker` in front of its message. Raises `InvalidRequest` when there is none.
    """
    if asked.images and image_marker is None:
        raise InvalidRequest(f"images: {asked.model} sees no images; leave them out")
    marked = [
        {**message, "content": (image_marker or "") * count + message["content"]}
        for message, count in zip(asked.messages, asked.image_counts, strict=True)
    ]
    first = asked.system or system
    seeded = [{"role": role, "content": content} for role, content in seeds]
    has_own = bool(marked) and marked[0]["role"] == "system"
    opening = [{"role": "system", "content": first}] if first and not has_own else []
    if has_own:
        return [marked[0], *seeded, *marked[1:]]
    return [*opening, *seeded, *marked]


@dataclass(slots=True)
class Answer:
    """The lines of an answer. `created_at` is RFC 3339; durations are whole nanoseconds."""

    asked: Asked
    texts: list[str] = field(default_factory=list)

    def line(self, event: TokenEvent, created_at: str) -> dict[str, Any]:
        """A piece of the answer."""
        text = event.text.decode(errors="replace")
        self.texts.append(text)
        return {**self._start(created_at), **self._said(text), "done": False}

    def end(
        self, done: Done, created_at: str, total_nanoseconds: int, load_nanoseconds: int
    ) -> dict[str, Any]:
        """The last line: why it ended, and the figures. Without streaming, the whole answer."""
        text = "" if self.asked.stream else "".join(self.texts)
        return {
            **self._start(created_at),
            **self._said(text),
            "done": True,
            "done_reason": done.finish_reason,
            "total_duration": total_nanoseconds,
            "load_duration": load_nanoseconds,
            "prompt_eval_count": done.prompt_tokens,
            "prompt_eval_duration": round(done.prompt_seconds * 1e9),
            "eval_count": done.completion_tokens,
            "eval_duration": round(done.completion_seconds * 1e9),
        }

    def nothing(self, reason: Literal["load", "unload"], created_at: str) -> dict[str, Any]:
        """The only line when nothing was asked."""
        start = {**self._start(created_at), **self._said("")}
        return {**start, "done": True, "done_reason": reason}

    def _start(self, created_at: str) -> dict[str, Any]:
        return {"model": self.asked.model, "created_at": created_at}

    def _said(self, text: str) -> dict[str, Any]:
        if self.asked.kind == "generate":
            return {"response": text}
        return {"message": {"role": "assistant", "content": text}}


def read_keep_alive(value: object) -> float:
    """Seconds; a negative value is for ever. Raises `InvalidRequest`."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(max(value, -1), MAX_KEEP_SECONDS))
    elif isinstance(value, str):
        seconds = _duration(value)
    if seconds is None or seconds != seconds:
        raise InvalidRequest(
            f"keep_alive: {value!r:.40} is not a duration as 5m, nor seconds; -1 is for ever"
        )
    return min(seconds, MAX_KEEP_SECONDS) if seconds >= 0 else MAX_KEEP_SECONDS


def _duration(text: str) -> float | None:
    """Go's durations, and a bare number as seconds."""
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = sum(
        float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(match[2])
    )
    return -seconds if match[1] == "-" else seconds


class _Fields:
    """A body, one field after the other."""

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise InvalidRequest("the body must be a JSON object")
        self._body: dict[str, Any] = body

    def take(self, name: str, kind: type, default: Any) -> Any:
        """A field of one type; null is as good as none."""
        value = self._body.get(name)
        if value is None:
            return default
        if not isinstance(value, kind):
            _refuse(name, value, kind)
        return value

    def common(self) -> dict[str, Any]:
        """What both kinds have."""
        for name, way_out in _REFUSED.items():
            # Empty, false and 0 ask for nothing.
            if self._body.get(name):
                raise InvalidRequest(f"{name}: {way_out}")
        model = self.take("model", str, "") or self.take("name", str, "")
        if not model:
            raise InvalidRequest("model is missing")
        keep = self._body.get("keep_alive")
        options = self.take("options", dict, {})
        known = {name: value for name, value in options.items() if name in PARAMETERS}
        return {
            "model": model,
            "stream": self.take("stream", bool, True),
            # Null is none here too; names that nobody knows are passed over, as Ollama does.
            "options": check_parameters({k: v for k, v in known.items() if v is not None}),
            "keep_seconds": None if keep is None else read_keep_alive(keep),
            "json_schema": self._schema(),
            "thinks": self._thinks(),
        }

    def _schema(self) -> dict[str, Any] | None:
        form = self._body.get("format")
        if form is None or form == "":
            return None
        if form == "json":
            return {"type": "object"}
        if not isinstance(form, dict):
            raise InvalidRequest('format: must be "json" or a JSON schema')
        return form

    def _thinks(self) -> bool | None:
        think = self._body.get("think")
        if think is None or think is False:
            return think
        raise InvalidRequest(
            "think: reasoning is not told apart from the answer yet; leave it out, or send false"
        )


def _read_message(row: object, where: str) -> tuple[Message, list[Any]]:
    if not isinstance(row, dict):
        _refuse(where, row, dict)
    role, content = row.get("role"), row.get("content")
    if role not in _ROLES:
        raise InvalidRequest(f"{where}.role: {role!r:.40} is not one of {', '.join(_ROLES)}")
    if content is None:
        content = ""
    if not isinstance(content, str):
        _refuse(f"{where}.content", content, str)
    images = row.get("images") or []
    if not isinstance(images, list):
        _refuse(f"{where}.images", images, list)
    rest = {key: value for key, value in row.items() if key != "images" and value is not None}
    return {**rest, "role": role, "content": content}, images


def _images(texts: list[Any]) -> tuple[bytes, ...]:
    if len(texts) > MAX_IMAGES:
        raise InvalidRequest(f"images: more than {MAX_IMAGES}")
    try:
        images = tuple(base64.b64decode(text, validate=True) for text in texts)
    except (TypeError, ValueError, binascii.Error):
        raise InvalidRequest("images: each must be a file in base64") from None
    if not all(image.startswith(_IMAGE_STARTS) for image in images):
        raise InvalidRequest("images: each must be a PNG, JPEG, GIF or BMP file")
    return images


def _refuse(name: str, value: object, kind: type) -> NoReturn:
    words = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}
    raise InvalidRequest(f"{name}: must be {words[kind]}, not {type(value).__name__}")
