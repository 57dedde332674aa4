"""A conversation to go on with, in no dialect: what every dialect's request is read into.

Readers (`openai.chat`, `anthropic.messages`, `ollama.chat`, …) make one of these; `prompting` turns
it into what an engine is given; writers turn what comes back into the dialect's frames. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Role = Literal["system", "user", "assistant", "tool"]

# A conversation of a million tokens has fewer turns.
MAX_MESSAGES: Final = 10_000
MAX_PARTS: Final = 1_000
# The largest published agents offer about a hundred.
MAX_TOOLS: Final = 512
MAX_STOPS: Final = 64
# OpenAI's caps.
MAX_TOP_LOGPROBS: Final = 20
MAX_CHOICES: Final = 128


@dataclass(frozen=True, slots=True)
class Text:
    """Words of a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: the bytes of an image file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound: the bytes of a file, `format` as "wav" or "mp3"."""

    data: bytes
    format: str
    seconds: float = 0.0


Part = Text | Image | Audio


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model made; `arguments` is a JSON text, as it wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `tool_call_id` on a tool's answer; `reasoning` and `tool_calls` on the model's."""

    role: Role
    parts: tuple[Part, ...] = ()
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """All its words."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def goes_on_with(messages: Sequence[Message]) -> bool:
    """Whether the last message is words or thoughts of the model, which it can go on with. A call
    is over, and waits for its answer."""
    return bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model may ("auto"), must ("required") or must not ("none") call; `name`: which
    one it must."""

    mode: Literal["auto", "required", "none"] = "auto"
    name: str | None = None
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer has to be: any JSON object, a JSON schema, llama.cpp's GBNF, a regular
    expression, or one of some texts."""

    kind: Literal["json_object", "json_schema", "grammar", "regex", "choice"]
    schema: Mapping[str, Any] | None = field(default=None, hash=False)
    text: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chat:
    """A whole request. What is None was not said: the model's own default counts, then the
    dialect's."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    constraint: Constraint | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Sampling and loading, by the names and ranges of `transom_models.modelfile.PARAMETERS`."""
    fallback_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The dialect's defaults, where neither the request nor the model says."""
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    thinks: bool | None = None
    effort: str | None = None
    template: str | None = None
    """A chat template instead of the model's."""
    template_variables: Mapping[str, Any] = field(default_factory=dict, hash=False)
    documents: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    continues_last: bool = False
    """Go on with the last message, which is the model's, instead of beginning one."""
    must_continue: bool = False
    """The request says so itself: where nobody can, it is refused."""
    keep_seconds: float | None = None
    cache_prompt: bool = True
    raw_prompt: str | None = None
    """Text to go on with as it is, instead of messages: completions, Ollama's `raw`."""
    suffix: str | None = None
    """What comes after the gap that is to be filled."""
    lora: tuple[tuple[int, float], ...] | None = None
    """Number and scale of adapters; those that are not named count nothing. None: all, fully."""
    is_prompt: bool = False
    """The last message is a prompt, which a model without a template goes on with as it is."""
