"""What requests ask for, as plain data: whoever hosts the core does it, and hands back results.

`reading` makes one of these out of an HTTP request; each has what its doing needs and `body`, which
makes the JSON of the answer out of the result. Knows no engine, no store and no HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom_api.chat import Chat
from transom_api.engine import Embeddings, Input, Ranking
from transom_api.ollama.listing import LoadedModel, TaggedModel
from transom_api.session import Writer
from transom_models.modelfile import ParameterValue
from transom_models.name import ModelName

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as OpenAI's and Anthropic's lists tell it. `name` in its shortest form; `created`
    in Unix seconds."""

    name: str
    created: float
    owner: str


@dataclass(frozen=True, slots=True)
class Say:
    """Nothing is to be done: `json` is the answer."""

    json: Json = field(hash=False)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Converse:
    """Conversations one after the other, by `answering`; the last one's answer is the request's.
    There are several only without streaming."""

    turns: tuple[tuple[Chat, Writer], ...]


@dataclass(frozen=True, slots=True)
class CountTokens:
    """Of the prompt that the conversation becomes."""

    chat: Chat
    body: Callable[[int], Json]


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model, and keep it as the chat says."""

    chat: Chat
    body: Callable[[], Json]


@dataclass(frozen=True, slots=True)
class Unload:
    model: str
    body: Callable[[], Json]


@dataclass(frozen=True, slots=True)
class AskedModel:
    """Which model, and how it is to be loaded and kept."""

    model: str
    options: Mapping[str, ParameterValue] = field(hash=False)
    keep_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Embed:
    """Vectors. `cuts`: what is too long loses its end. Without inputs the model is only loaded.
    `body` gets them and the seconds that the loading took."""

    asked: AskedModel
    inputs: tuple[Input, ...]
    cuts: bool
    body: Callable[[Embeddings, float], Json]


@dataclass(frozen=True, slots=True)
class Rerank:
    asked: AskedModel
    query: str
    documents: tuple[str, ...]
    body: Callable[[Ranking], Json]


@dataclass(frozen=True, slots=True)
class Tokenize:
    """`body` gets the tokens and how many the context holds."""

    model: str
    text: str
    special: bool
    around: bool
    body: Callable[[Sequence[int], int], Json]


@dataclass(frozen=True, slots=True)
class Detokenize:
    model: str
    tokens: tuple[int, ...]
    body: Callable[[str], Json]


@dataclass(frozen=True, slots=True)
class ListModels:
    body: Callable[[Sequence[ListedModel]], Json]


@dataclass(frozen=True, slots=True)
class FindModel:
    """One of the list."""

    name: ModelName
    body: Callable[[ListedModel], Json]


@dataclass(frozen=True, slots=True)
class TagModels:
    """All models in Ollama's shape."""

    body: Callable[[Sequence[TaggedModel]], Json]


@dataclass(frozen=True, slots=True)
class ShowModel:
    """All there is to tell of one, in Ollama's shape, which is the host's to fill: what it knows
    of a model depends on where that lies."""

    name: ModelName
    verbose: bool


@dataclass(frozen=True, slots=True)
class ListLoaded:
    """Those that are in memory now."""

    body: Callable[[Sequence[LoadedModel]], Json]


Operation = (
    Say
    | Converse
    | CountTokens
    | Load
    | Unload
    | Embed
    | Rerank
    | Tokenize
    | Detokenize
    | ListModels
    | FindModel
    | TagModels
    | ShowModel
    | ListLoaded
)
