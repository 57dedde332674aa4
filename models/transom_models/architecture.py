"""The contract every architecture file keeps, and loading one by its name.

`architectures/<name>.py`, where the name is GGUF's `general.architecture`, holds one architecture:
`read_config` (typed sizes from the metadata), `parameters` (which stored parameter comes from which
checkpoint tensors), `embed`, `hidden`, `logits` (the computation, in the words of `Graph`) and
`cache_spec`. There is no list of them: the folder is the list. All of it is plain Python: no TVM,
no block layouts, no formats.
"""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from transom_models import architectures
from transom_models.errors import TransomError

ARCHITECTURE_KEY = "general.architecture"
# What a name may be before it becomes part of a module path; published names are of this form.
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Metadata = Mapping[str, Any]
Value = Any
"""A value in the graph under construction; only the compiler looks inside."""
Number = TypeVar("Number", int, float)


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
    """

    name: str
    sources: tuple[SourceTensor, ...]
    block_type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """What a paged KV cache holds: `frequencies` are radians per position, one for each pair."""

    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    frequencies: tuple[float, ...]


class Config(Protocol):
    """What the rest of the walk needs of any architecture's config."""

    @property
    def context_length(self) -> int: ...

    @property
    def vocab_size(self) -> int: ...


class Architecture(Protocol):
    """The names every file in `architectures/` exports."""

    def read_config(self, metadata: Metadata) -> Any:
        """Typed sizes, or `UnsupportedModel` naming the key."""
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

    def cache_spec(self, config: Any) -> CacheSpec:
        """What its paged KV cache holds."""
        ...


class Graph(Protocol):
    """The words an architecture computes with; `transom_compile.graph` gives them meaning.

    Values are (1, n, width) unless said otherwise; a weight is named as its parameter.
    """

    def has(self, name: str) -> bool:
        """Whether the model has this parameter."""
        ...

    def embedding(self, name: str, tokens: Value) -> Value:
        """Rows of a matrix: int32 (n,) -> (n, cols)."""
        ...

    def linear(
        self,
        name: str,
        x: Value,
        *,
        residual: Value | None = None,
        gated: bool = False,
        dtype: str | None = None,
    ) -> Value:
        """x W^T; plus `residual`, or silu(gate) * up where W holds gate rows over up rows."""
        ...

    def rms_norm(self, name: str, x: Value, epsilon: float) -> Value:
        """x / rms(x) * weight."""
        ...

    def attention(self, layer: int, qkv: Value, *, heads: int, head_dim: int) -> Value:
        """Causal attention over the cache: (queries, keys, values) -> (1, n, heads * head_dim)."""
        ...

    def concat(self, values: Sequence[Value]) -> Value:
        """Side by side along the last axis."""
        ...

    def silu_mul(self, gate: Value, up: Value) -> Value:
        """silu(gate) * up, for weights that could not be fused."""
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


class MetadataReader:
    """Typed access to one architecture's `<prefix>.*` keys that notices what nobody read.

    A key that changes the numbers and is not understood must stop the walk (`finish`), never pass.
    """

    def __init__(self, metadata: Metadata, prefix: str) -> None:
        self._metadata = metadata
        self._prefix = prefix
        self._read: set[str] = set()

    def integer(self, key: str, cap: int, default: int | None = None) -> int:
        """An integer from 1 to `cap`."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnsupportedModel(f"{self._prefix}.{key} is {_show(value)}, not one integer")
        if not 1 <= value <= cap:
            raise UnsupportedModel(f"{self._prefix}.{key} is {value}, not from 1 to {cap}")
        return value

    def real(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number in [low, high]; NaN is in no range."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnsupportedModel(f"{self._prefix}.{key} is {_show(value)}, not one number")
        if not low <= value <= high:
            raise UnsupportedModel(f"{self._prefix}.{key} is {value}, not from {low} to {high}")
        return float(value)

    def neutral(self, key: str, allowed: Callable[[Any], bool], meaning: str) -> None:
        """Accept a key only at a value that changes nothing."""
        name = f"{self._prefix}.{key}"
        self._read.add(name)
        if name in self._metadata and not allowed(self._metadata[name]):
            raise UnsupportedModel(
                f"{name} is {_show(self._metadata[name])}: {meaning} is not supported yet"
            )

    def has(self, key: str) -> bool:
        return f"{self._prefix}.{key}" in self._metadata

    def finish(self) -> None:
        """Raises when the checkpoint holds a key of this architecture that was not asked for."""
        left = [
            key
            for key in self._metadata
            if key.startswith(f"{self._prefix}.") and key not in self._read
        ]
        if left:
            raise UnsupportedModel(
                f"metadata this version does not understand: {_listed(left)}; "
                "ignoring it could change the answers"
            )

    def _get(self, key: str, default: Number | None) -> Any:
        name = f"{self._prefix}.{key}"
        self._read.add(name)
        if name in self._metadata:
            return self._metadata[name]
        if default is None:
            raise UnsupportedModel(f"the checkpoint has no {name}")
        return default


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
