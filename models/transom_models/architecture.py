"""The contract every architecture file keeps, and loading one by its name.

`architectures/<name>.py`, where the name is GGUF's `general.architecture`, holds one architecture:
`read_config` (typed sizes from the metadata), `parameters` (which stored parameter comes from which
checkpoint tensors), `embed`, `hidden`, `logits` (the computation, in the words of `Graph`),
`cache_spec`, and what a Hugging Face config of it means. There is no list of them: the folder is
the list. All of it is plain Python: no TVM, no block layouts, no formats.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from transom_models import architectures
from transom_models.errors import TransomError
from transom_models.rope import Rope

ARCHITECTURE_KEY = "general.architecture"
# What a name may be before it becomes part of a module path; published names are of this form.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Metadata = Mapping[str, Any]
Vectors = Mapping[str, Sequence[float]]
"""Small checkpoint tensors that belong to the config, such as rope factors."""
Value = Any
"""A value in the graph under construction; only the compiler looks inside."""


class UnknownArchitecture(TransomError):
    """No file in `architectures/` has this name."""


class UnsupportedModel(TransomError):
    """The architecture is known, but this checkpoint asks of it what Transom cannot do."""


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A checkpoint tensor that a parameter is made of.

    `rope_heads` > 0: llama.cpp's converter has interleaved the rows of each of that many heads for
    its own rope; the walk puts whole rows back into half-split ("neox") order.
    """

    name: str
    shape: tuple[int, ...]
    rope_heads: int = 0


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """A parameter as it is stored: the rows of its sources, one after the other.

    `block_type` is the type all sources share; `shape` is in NumPy order, (rows, cols) or (n,).
    A piece of a parameter too large for one GPU buffer names the `whole` one and the `first_row`
    of it that it holds.
    """

    name: str
    sources: tuple[SourceTensor, ...]
    block_type: str
    shape: tuple[int, ...]
    whole: str = ""
    first_row: int = 0


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """What a paged KV cache holds and how its attention looks at it.

    `rope` None: the graph rotates queries and keys itself (`Graph.rope`), because layers differ.
    `window`: keys that a windowed layer sees, the query's own included; 0 where no layer is.
    `softcap` c > 0: scores become c tanh(score / c).
    """

    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    rope: Rope | None
    window: int = 0
    softcap: float = 0.0


@dataclass(frozen=True, slots=True)
class HubModel:
    """What a Hugging Face `config.json` says, in the words of GGUF.

    `metadata` as llama.cpp's converter writes it. `rope_heads`: tensor kind ("attn_q") -> heads
    whose rows it interleaves. `plus_one`: norms are stored with 1 added. `vectors`: F32 tensors to
    write that no safetensors file holds. `tied_embeddings`: there is no output matrix to write,
    even if a file holds a copy of the embedding as one. `unused`: beginnings of the names of file
    tensors that the converter leaves out, such as heads for training tasks.
    """

    metadata: Metadata
    rope_heads: Mapping[str, int] = field(default_factory=dict)
    plus_one: bool = False
    vectors: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    tied_embeddings: bool = False


class Config(Protocol):
    """What the rest of the walk needs of any architecture's config."""

    @property
    def context_length(self) -> int: ...

    @property
    def embedding_length(self) -> int: ...

    @property
    def vocab_size(self) -> int: ...


class Architecture(Protocol):
    """The names every file in `architectures/` exports."""

    NAME: str
    TASK: str
    """"chat" or "embedding"."""
    CONFIG_TENSORS: tuple[str, ...]
    """Checkpoint tensors that are read into the config instead of being stored."""
    HUGGING_FACE: tuple[str, ...]
    """`architectures[0]` of the config.json files that become this architecture."""

    def read_config(self, metadata: Metadata, vectors: Vectors) -> Any:
        """Typed sizes, or `UnsupportedModel` naming the key.

        `vectors` has those of `CONFIG_TENSORS` that the checkpoint holds.
        """
        ...

    def parameters(self, config: Any, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
        """Every parameter in storage order.

        `block_types`: checkpoint tensor name -> block type. A tensor that is missing there still
        gets its parameter, so that the name match can report all missing ones at once.
        """
        ...

    def embed(self, graph: "Graph", config: Any, tokens: Value) -> Value:
        """Token ids int32 (n,) -> (n, width)."""
        ...

    def hidden(self, graph: "Graph", config: Any, x: Value) -> Value:
        """(1, n, width) -> the same, through all blocks."""
        ...

    def logits(self, graph: "Graph", config: Any, x: Value) -> Value:
        """(1, n, width) -> float32 (1, n, vocabulary)."""
        ...

    def cache_spec(self, config: Any, context_window: int) -> CacheSpec:
        """What its paged KV cache holds; `context_window` in tokens."""
        ...

    def pool(self, graph: "Graph", config: Any, x: Value) -> Value:
        """Only of an embedding model, which has it instead of `logits` and `cache_spec`:
        (1, n, width) -> float32 (1, width), the vector of the whole text."""
        ...

    def from_hugging_face(self, hub: Mapping[str, Any]) -> HubModel:
        """`config.json` in GGUF's words, or `UnsupportedModel` naming the field."""
        ...


class Graph(Protocol):
    """The words an architecture computes with; `transom_compile.graph` gives them meaning.

    Values are (1, n, width) unless said otherwise; a weight is named as its parameter.
    """

    def has(self, name: str) -> bool:
        """Whether the model has this parameter."""
        ...

    def embedding(self, name: str, tokens: Value, *, scale: float = 1.0) -> Value:
        """Rows of a matrix, times `scale`: int32 (n,) -> (n, cols)."""
        ...

    def linear(
        self,
        name: str,
        x: Value,
        *,
        bias: str | None = None,
        activation: str | None = None,
        gated: bool = False,
        scale: float = 1.0,
        softcap: float = 0.0,
        residual: Value | None = None,
        dtype: str | None = None,
    ) -> Value:
        """t = x W^T, then in this order:

        + `bias` vector; `activation` ("silu", "gelu" with erf, "gelu_tanh"), or with `gated`, where
        W holds gate rows over up rows, act(gate) * up (act is "silu" if not said); * `scale`;
        softcap * tanh(t / softcap) if `softcap`; + `residual`.
        """
        ...

    def rms_norm(
        self, name: str, x: Value, epsilon: float, *, residual: Value | None = None
    ) -> Value:
        """x / rms(x) * weight, + `residual`."""
        ...

    def head_norm(
        self,
        q_name: str,
        k_name: str,
        qkv: Value,
        epsilon: float,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
    ) -> Value:
        """RMS norm of every query head and every key head of (queries, keys, values)."""
        ...

    def rope(self, qkv: Value, rope: Rope, *, heads: int, kv_heads: int, head_dim: int) -> Value:
        """Queries and keys of (queries, keys, values) turned by their positions."""
        ...

    def attention(
        self,
        layer: int,
        qkv: Value,
        *,
        heads: int,
        head_dim: int,
        scale: float | None = None,
        windowed: bool = False,
    ) -> Value:
        """Causal attention over the cache: (queries, keys, values) -> (1, n, heads * head_dim).

        Scores are multiplied by `scale`, head_dim ** -0.5 if not said. `windowed`: only the last
        `CacheSpec.window` keys are seen.
        """
        ...

    def add_positions(self, name: str, x: Value) -> Value:
        """x + row t of a matrix at each position t."""
        ...

    def add_row(self, name: str, row: int, x: Value) -> Value:
        """x + one row of a matrix at every position."""
        ...

    def layer_norm(self, name: str, bias: str, x: Value, epsilon: float) -> Value:
        """(x - mean) / sqrt(variance + epsilon) * weight + bias."""
        ...

    def self_attention(self, qkv: Value, *, heads: int) -> Value:
        """Every position sees every position, no cache: (queries, keys, values), as many heads of
        each -> (1, n, heads * head_dim)."""
        ...

    def pool(self, x: Value, kind: str) -> Value:
        """The "mean", first ("cls") or "last" position: (1, n, width) -> float32 (1, width)."""
        ...

    def concat(self, values: Sequence[Value]) -> Value:
        """Side by side along the last axis."""
        ...

    def multiply(self, gate: Value, up: Value, activation: str = "silu") -> Value:
        """activation(gate) * up, for weights that could not be fused."""
        ...


def load_architecture(name: str) -> Architecture:
    """The module of that name. Raises `UnknownArchitecture` listing what exists.

    A file that exists and fails to import raises its own error: a bug is not an unknown name.
    """
    known = known_architectures()
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or module not in known:
        raise UnknownArchitecture(
            f"architecture {name!r} is not supported yet; this version runs {', '.join(known)}"
        )
    return cast(Architecture, importlib.import_module(f"{architectures.__name__}.{module}"))


def known_architectures() -> tuple[str, ...]:
    """Sorted names of the files in `architectures/`; a leading underscore hides a shared part."""
    files = (file for folder in architectures.__path__ for file in Path(folder).glob("*.py"))
    return tuple(sorted(file.stem for file in files if not file.stem.startswith("_")))
