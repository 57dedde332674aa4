"""What an answer is made of while it comes, in no dialect. Writers turn these into frames. Pure."""

from dataclasses import dataclass
from typing import Literal

Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, its natural log-probability, and the bytes it stands for."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    id: int | None = None
    """Its number in the vocabulary; None when nobody told."""


@dataclass(frozen=True, slots=True)
class Logprobs:
    """A chosen token, and the likeliest ones in its place."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """Words of the answer. `choice` counts answers to one request from 0."""

    choice: int
    text: str
    logprobs: tuple[Logprobs, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Words that the model thinks before it answers."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True)
class CallBegins:
    """The model calls a tool: call number `call` of its answer, from 0."""

    choice: int
    call: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the JSON text of a call's arguments."""

    choice: int
    call: int
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and seconds of a whole request, after the last answer ended."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    load_seconds: float = 0.0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0
    drafted_tokens: int = 0
    """Guessed by a draft model, and of those the ones that were right."""
    accepted_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """An answer is over. `stop`: the text that ended it, where one did."""

    choice: int
    reason: Finish
    stop: str | None = None
    usage: Usage | None = None
    """Of the request, where this was its last answer and the engine told."""


Delta = Content | Reasoning | CallBegins | CallArguments | Ended | Usage
