"""GPU memory of a loaded model by context length: weights, KV cache, scratch. Pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

from transom_models.architecture import CacheSpec, ParameterSpec

# TVM's paged KV cache counts in pages of this many tokens and keeps one to spare.
PAGE_TOKENS = 16
FIRST_CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes."""

    weight_bytes: int
    kv_bytes: int
    scratch_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes + self.scratch_bytes


@dataclass(frozen=True, slots=True)
class Sizes:
    """What memory follows from. `cache` None: no KV cache (an encoder)."""

    weight_bytes: int
    width: int
    vocabulary: int
    rows: Sequence[ParameterSpec]
    cache: CacheSpec | None
    prefill_chunk: int


def estimate_memory(sizes: Sizes, context: int, dtype_bytes: int) -> Memory:
    """With a KV cache for `context` tokens; `dtype_bytes` of activations and cache (2 or 4)."""
    chunk = min(sizes.prefill_chunk, context)
    kv, heads = 0, 0
    if sizes.cache is not None:
        cache = sizes.cache
        tokens = (-(-context // PAGE_TOKENS) + 1) * PAGE_TOKENS
        kv = cache.layers * 2 * cache.kv_heads * cache.head_dim * tokens * dtype_bytes
        heads = (2 * cache.query_heads + 2 * cache.kv_heads) * cache.head_dim
    inner = (row for row in sizes.rows if len(row.shape) == 2 and row.shape[0] != sizes.vocabulary)
    widest = max((row.shape[0] for row in inner), default=0)
    # Per token of a prefill: the residual stream and its norm, the widest product, the cache's own
    # copies of queries, keys, values and outputs. Logits are of one position, always float32.
    per_token = 4 * sizes.width + widest + heads
    return Memory(
        sizes.weight_bytes, kv, chunk * per_token * dtype_bytes + 2 * sizes.vocabulary * 4
    )


def contexts(trained: int) -> list[int]:
    """From 1k tokens, doubling, to what the model was trained for."""
    lengths = []
    length = FIRST_CONTEXT
    while length < trained:
        lengths.append(length)
        length *= 2
    return [*lengths, trained]
