"""How much memory a model will take once it is loaded: said from its header, before any load.

The sum is what the process of a model holds (its resident set) after a prompt as long as its
context. The formulas follow llama.cpp's allocations; what no header says (the program itself, its
tables of a vocabulary) was measured. Memory on graphics cards is counted as if it were the
machine's. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from transom_api.engine import LoadOptions
from transom_models.errors import TransomError
from transom_models.ggml_types import GGML_TYPES
from transom_server.engines.llama_cpp_child import CONTEXT_CHECKPOINTS, LAST_PIECE_TOKENS
from transom_server.model.gguf_facts import ArrayValue, GgufFacts

# Per-layer notes in the metadata; no model has more layers.
LAYER_ITEMS: Final = 1024
# llama.cpp's micro batch, and what it rounds the cells of a cache up to.
MICRO_BATCH_TOKENS: Final = 512
CELL_STEP: Final = 256

# Measured with xllamacpp 2026.10: Python, the libraries and their threads; tables of a vocabulary.
_PROCESS_BYTES: Final = 33 * 2**20
_TOKEN_BYTES: Final = 220
_MERGE_BYTES: Final = 183
# What llama.cpp notes of each cell of a cache (50 bytes), and of the token within once it is there.
_CELL_BYTES: Final = 160
# A graph's buffer holds this many rows of each width for every token of a micro batch.
_WIDE_ROWS: Final = 3
_NARROW_ROWS: Final = 5
_FLOAT_BYTES: Final = 4
_MASK_BYTES: Final = 2

# Every nth layer sees everything, the others a window; where the file does not say it itself.
_WINDOW_PERIODS: Final = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "gpt-oss": 2}
_TYPES: Final = {kind.name: kind for kind in GGML_TYPES.values()}


class Unestimated(TransomError):
    """The header does not say enough to tell what the model would take."""


@dataclass(frozen=True, slots=True)
class CacheShape:
    """How keys and values are kept: for each of `slots` requests, so many of `tokens`."""

    tokens: int
    slots: int = 1
    key_type: str = "F16"
    value_type: str = "F16"


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes, by what they are for."""

    weights: int
    repacked: int
    """Weights once more, in another order."""
    kv_cache: int
    cells: int
    """What lies where in the cache."""
    checkpoints: int
    compute: int
    vocabulary: int
    beside: int
    """Projectors, adapters, and a draft model with all that it needs."""
    process: int

    @property
    def total(self) -> int:
        return sum(getattr(self, row.name) for row in fields(self))


def estimate(
    facts: GgufFacts,
    shape: CacheShape,
    options: LoadOptions,
    *,
    beside_bytes: int = 0,
    repacked_types: frozenset[str],
) -> MemoryEstimate:
    """What a model will take. `facts` with its arrays' first `LAYER_ITEMS`; of `options`, how it
    reads and computes; `repacked_types`: see `repacking`. Raises `Unestimated`."""
    sizes = _Sizes(facts)
    cells = _rounded(shape.tokens)
    batch = min(MICRO_BATCH_TOKENS, options.batch_tokens or MICRO_BATCH_TOKENS, cells)
    outputs = shape.slots
    if options.task != "generate":
        whole = shape.tokens
        batch = min(LAST_PIECE_TOKENS, whole) if options.pooling == "last" else whole
        # The chances of each token: where they go, and of a model that has them, their making.
        outputs = batch * (2 if sizes.is_causal else 1)
    window_cells = min(cells, _rounded(sizes.window + batch))
    full, windowed = sizes.cell_bytes(shape)
    mapped = (cells if full else 0) + (window_cells if windowed else 0)
    rows = _WIDE_ROWS * sizes.wide + _NARROW_ROWS * sizes.narrow
    tensors = sum(tensor.size_bytes for tensor in facts.tensors)
    repacked = _repacked_bytes(facts, repacked_types)
    return MemoryEstimate(
        # A mapped file stays where it is; of one that is read, each tensor is kept once.
        weights=tensors if options.mmap is not False else tensors - repacked,
        repacked=repacked,
        kv_cache=shape.slots * (cells * full + window_cells * windowed),
        cells=shape.slots * mapped * _CELL_BYTES,
        checkpoints=shape.slots
        * CONTEXT_CHECKPOINTS
        * min(cells, sizes.window)
        * (windowed if window_cells < cells else 0),
        compute=batch * (_FLOAT_BYTES * rows + _MASK_BYTES * mapped)
        + outputs * sizes.vocabulary * _FLOAT_BYTES,
        vocabulary=sizes.vocabulary * _TOKEN_BYTES + sizes.merges * _MERGE_BYTES,
        beside=beside_bytes,
        process=_PROCESS_BYTES,
    )


def _rounded(tokens: int) -> int:
    return -(-tokens // CELL_STEP) * CELL_STEP


def _repacked_bytes(facts: GgufFacts, types: frozenset[str]) -> int:
    """Matrices that are multiplied with. The embedding is one where it is the output's too."""
    names = {tensor.name for tensor in facts.tensors}
    tied = "output.weight" not in names
    return sum(
        tensor.size_bytes
        for tensor in facts.tensors
        if tensor.type.name in types
        and len(tensor.shape) > 1
        and tensor.shape[1] % 8 == 0
        and (tied or tensor.name != "token_embd.weight")
    )


class _Sizes:
    """The numbers of a header that memory depends on."""

    def __init__(self, facts: GgufFacts) -> None:
        self._facts = facts
        self._name = facts.architecture or "unknown"
        self.layers = self._needed("block_count")
        self.narrow = self._needed("embedding_length")
        experts = self._number("expert_used_count")
        wide = max(self._per_layer("feed_forward_length"), default=0)
        if experts:
            each = self._number("expert_feed_forward_length") or wide
            wide = max(wide, experts * max(each, self.narrow))
        self.wide = wide or 4 * self.narrow
        self.vocabulary = self._length("tokenizer.ggml.tokens")
        self.merges = self._length("tokenizer.ggml.merges")
        self.window = self._number("attention.sliding_window") or 0
        self.is_causal = facts.metadata.get(f"{self._name}.attention.causal") is not False
        self._windowed = self._windowed_layers()

    def cell_bytes(self, shape: CacheShape) -> tuple[int, int]:
        """Of one token in the caches of all layers: those that see everything, and the others."""
        if not self.is_causal:
            return 0, 0
        heads = self._per_layer("attention.head_count")
        kv_heads = self._per_layer("attention.head_count_kv") or heads
        if not kv_heads:
            return 0, 0  # a recurrent model: its state is small
        default = self.narrow // max(1, *heads)
        key = self._number("attention.key_length") or default
        value = self._number("attention.value_length") or default
        # Values are then a view of the keys.
        compressed = self._number("attention.key_length_mla") is not None
        rows = [
            _bytes(shape.key_type, count * key)
            + (0 if compressed else _bytes(shape.value_type, count * value))
            for count in kv_heads
        ]
        marked = zip(rows, self._windowed, strict=True)
        windowed = sum(row for row, is_windowed in marked if is_windowed)
        return sum(rows) - windowed, windowed

    def _windowed_layers(self) -> Sequence[bool]:
        stated = self._facts.metadata.get(f"{self._name}.attention.sliding_window_pattern")
        if isinstance(stated, ArrayValue) and len(stated.items) >= self.layers and self.window:
            return [bool(item) for item in stated.items[: self.layers]]
        period = stated if type(stated) is int else _WINDOW_PERIODS.get(self._name, 1)
        if not self.window or not isinstance(period, int) or period < 1:
            period = 1
        return [layer % period < period - 1 for layer in range(self.layers)]

    def _per_layer(self, key: str) -> list[int]:
        """A number for each layer, however the file says it; none when it says nothing."""
        value = self._facts.metadata.get(f"{self._name}.{key}")
        if isinstance(value, ArrayValue):
            items = [int(item) for item in value.items[: self.layers] if not isinstance(item, str)]
            if len(items) == self.layers:
                return items
            raise Unestimated(f"{self._name}.{key} does not name a number for each layer")
        number = self._number(key)
        return [] if number is None else [number] * self.layers

    def _number(self, key: str) -> int | None:
        return self._facts.integer(f"{self._name}.{key}")

    def _needed(self, key: str) -> int:
        number = self._number(key)
        if not number or (key == "block_count" and number > LAYER_ITEMS):
            raise Unestimated(f"{self._name}.{key} is missing or impossible")
        return number

    def _length(self, key: str) -> int:
        value = self._facts.metadata.get(key)
        return value.length if isinstance(value, ArrayValue) else 0


def _bytes(type_name: str, elements: int) -> int:
    kind = _TYPES.get(type_name.upper())
    if kind is None:
        raise Unestimated(f"the cache type {type_name!r:.40} is unknown")
    return -(-elements // kind.elements) * kind.block_bytes
