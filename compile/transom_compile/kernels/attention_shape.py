"""Heads of one attention layer: what its rotary, append, norm and attention kernels share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AttentionShape:
    """Heads, head size and dtype of one attention layer.

    A fused projection holds `query_heads`, then `kv_heads` keys, then as many values.
    """

    query_heads: int
    kv_heads: int
    head_dim: int
    dtype: str

    @property
    def rotated_heads(self) -> int:
        """Queries and keys."""
        return self.query_heads + self.kv_heads

    @property
    def all_heads(self) -> int:
        return self.query_heads + 2 * self.kv_heads

    @property
    def group(self) -> int:
        """Queries that share a key."""
        return self.query_heads // self.kv_heads
