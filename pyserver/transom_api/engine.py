"""The words between the API core and whatever generates: a request, token events, one end.

The same words as in TypeScript. An engine is given a finished prompt; it knows tokens and sampling,
nothing of messages, templates or dialects. Pure.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from transom_api.deltas import Logprobs
from transom_models.errors import TransomError

FinishReason = Literal["stop", "length"]
Cancelled = Callable[[], bool]
"""Whether nobody waits for the answer any more. Asked a few times a second, from any thread."""


class EngineError(TransomError):
    """The engine could not do it; the text says why and what helps."""


class EngineFailed(EngineError):
    """The engine broke down; the same request may succeed when it is made again."""


class LoadFailed(EngineError):
    """The model's files cannot be loaded."""


class ContextOverflow(EngineError):
    """The prompt has more tokens than the context window holds. Nothing was cut."""


class SchemaRefused(EngineError):
    """The answer cannot be held to this JSON schema."""


class UnknownToken(EngineError):
    """The model's vocabulary has no such token."""


class RequestCancelled(EngineError):
    """Whoever asked has gone."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults are Ollama's; -1 as a count means no limit."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = -1
    """-1: another one each time."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt to continue.

    `prompt` is text in which the model's special tokens are read as such; the engine adds those
    that its tokenizer puts around any text. In it a marker of `ModelFacts` stands once for each of
    `images` (files of images or sounds, as bytes, in their order).
    """

    prompt: str
    sampling: Sampling = Sampling()
    max_tokens: int = -1
    stop: tuple[str, ...] = ()
    """Texts at which the answer ends; they are no part of it."""
    json_schema: dict[str, Any] | None = None
    """What the answer has to be, as JSON Schema."""
    images: tuple[bytes, ...] = ()
    grammar: str | None = None
    """What the answer has to be, in llama.cpp's GBNF; not beside `json_schema`."""
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Token id -> what is added to its logit; minus infinity forbids it."""
    choices: int = 1
    """How many answers to the one prompt, side by side."""
    logprobs: int | None = None
    """Give each token's log-probability, and so many of the likeliest in its place."""
    cache_prompt: bool = True
    lora: tuple[float, ...] | None = None
    """How much each of the model's adapters counts; None: all of them fully."""
    preserved: tuple[str, ...] = ()
    """Special tokens whose text belongs to the answer, as those that mark calls and reasoning."""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One step of the answer. `text` is whole characters in UTF-8 and may be empty."""

    token_ids: tuple[int, ...]
    text: bytes
    choice: int = 0
    logprobs: tuple[Logprobs, ...] = ()
    prompt_tokens: int = 0
    """Those of the whole prompt; 0 from an engine that tells only in the end."""


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer, each choice its own. Seconds are the engine's own figures."""

    finish_reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    """Those of the prompt that the engine still had."""
    completion_tokens: int
    prompt_seconds: float
    completion_seconds: float
    choice: int = 0
    stop: str | None = None
    """The stop text that ended it, where one did."""
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    """Those that a draft model guessed, and guessed right."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What only a loaded model can tell about itself."""

    context_tokens: int
    bos: str = ""
    eos: str = ""
    adds_bos: bool = False
    """Whether the tokenizer puts `bos` before any text by itself."""
    image_marker: str | None = None
    """Stands for an image in a prompt; None when the model sees none."""
    sound_marker: str | None = None
    """Stands for a sound; None when the model hears none."""
    parallel: int = 1
    """How many requests it answers at once."""
    vocabulary: int | None = None
    """How many tokens it knows; None when nobody told."""
    adapters: int = 0
    """How many a request may scale."""
    gpu_bytes: int = 0
    """Memory of graphics cards that it took when it was loaded; 0 on the processor."""


Task = Literal["generate", "embed", "rerank"]
Pooling = Literal["mean", "cls", "last"]
Input = str | tuple[int, ...]
"""A text, or its token ids."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector of length 1 for each input, and the tokens of all."""

    vectors: tuple[tuple[float, ...], ...]
    tokens: int
    cut: tuple[int, ...] = ()
    """Numbers of the inputs that lost their end."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well each document answers a query, in their order, and the tokens of all."""

    scores: tuple[float, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded; another value means to load it again. None: the engine chooses."""

    context_tokens: int | None = None
    batch_tokens: int | None = None
    gpu_layers: int | None = None
    main_gpu: int | None = None
    threads: int | None = None
    mmap: bool | None = None
    parallel: int | None = None
    """Requests answered at once, each with `context_tokens` for itself."""
    kv_type: str | None = None
    """How keys and values are kept, as "f16" or "q8_0"."""
    draft_tokens: int | None = None
    """Tokens that a draft model guesses a step; 0: it is not loaded."""
    task: Task = "generate"
    pooling: Pooling | None = None
    """How an embedding is made of its tokens' vectors, where the file does not say."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model, as paths of this machine."""

    weights: str
    projector: str | None = None
    adapters: tuple[str, ...] = ()
    draft: str | None = None
    """A small model of the same vocabulary, which guesses what the large one then checks."""


class Engine(Protocol):
    """A loaded model. Threads may share it; `facts.parallel` of them are answered at once."""

    facts: ModelFacts

    def generate(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        """Token events, then one `Done`. Ends with `RequestCancelled` soon after `cancelled` says
        so, and stops when it is closed. Raises `EngineError`."""
        ...

    def embed(self, inputs: Sequence[Input], cancelled: Cancelled) -> Embeddings:
        """Vectors of texts, of a model loaded to embed. Raises `EngineError`."""
        ...

    def rerank(self, query: str, documents: Sequence[str], cancelled: Cancelled) -> Ranking:
        """How well documents answer a query, by a model loaded to rerank. Raises `EngineError`."""
        ...

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> tuple[int, ...]:
        """Token ids. `special`: names of special tokens are read as such; `around`: with those
        that the tokenizer puts around any text."""
        ...

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text that these tokens stand for, special ones too."""
        ...

    def alive(self) -> bool:
        """Whether it can still answer."""
        ...

    def resident_bytes(self) -> int:
        """Memory that it holds now."""
        ...

    def close(self) -> None:
        """Let go of everything, whatever it is doing."""
        ...


LoadEngine = Callable[[ModelFiles, LoadOptions, Cancelled], Engine]
"""Loads a model. Raises `EngineError`."""
