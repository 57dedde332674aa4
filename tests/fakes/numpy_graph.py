"""The words of `Graph` in NumPy: f64, a whole sequence at once, no cache, nothing fused.

What an architecture file means, computed plainly. Knows the contract in
`transom_models.architecture`, and neither TVM nor any architecture.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transom_models.architecture import Architecture, CacheSpec
from transom_models.rope import Rope

Array = npt.NDArray[np.float64]


def gelu(x: Array) -> Array:
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


ACTIVATIONS = {"silu": silu, "gelu": gelu, "gelu_tanh": gelu_tanh}


def run(
    architecture: Architecture,
    config: Any,
    weights: Mapping[str, Array],
    tokens: Sequence[int],
    context_window: int,
) -> Array:
    """Logits (n, vocabulary) of every position."""
    graph = NumpyGraph(weights, architecture.cache_spec(config, context_window))
    x = architecture.embed(graph, config, np.asarray(tokens))[None]
    logits: Array = architecture.logits(graph, config, architecture.hidden(graph, config, x))[0]
    return logits


class NumpyGraph:
    """`weights`: parameter -> (rows, cols) or (n,). Values are (1, n, width)."""

    def __init__(self, weights: Mapping[str, Array], cache: CacheSpec) -> None:
        self._weights = weights
        self._cache = cache

    def has(self, name: str) -> bool:
        return name in self._weights

    def embedding(self, name: str, tokens: Any, *, scale: float = 1.0) -> Array:
        return self._weights[name][tokens] * scale

    def linear(
        self,
        name: str,
        x: Array,
        *,
        bias: str | None = None,
        activation: str | None = None,
        gated: bool = False,
        scale: float = 1.0,
        softcap: float = 0.0,
        residual: Array | None = None,
        dtype: str | None = None,
    ) -> Array:
        t = x @ self._weights[name].T
        if bias is not None:
            t = t + self._weights[bias]
        if gated:
            gate, up = np.split(t, 2, axis=-1)
            t = ACTIVATIONS[activation or "silu"](gate) * up
        elif activation:
            t = ACTIVATIONS[activation](t)
        t = t * scale
        if softcap:
            t = softcap * np.tanh(t / softcap)
        return t if residual is None else t + residual

    def rms_norm(
        self, name: str, x: Array, epsilon: float, *, residual: Array | None = None
    ) -> Array:
        t = _normalized(x, epsilon) * self._weights[name]
        return t if residual is None else t + residual

    def head_norm(
        self,
        q_name: str,
        k_name: str,
        qkv: Array,
        epsilon: float,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
    ) -> Array:
        q, k, v = _split(qkv, heads, kv_heads, head_dim)
        q = _normalized(q, epsilon) * self._weights[q_name]
        k = _normalized(k, epsilon) * self._weights[k_name]
        return _joined(q, k, v)

    def rope(self, qkv: Array, rope: Rope, *, heads: int, kv_heads: int, head_dim: int) -> Array:
        q, k, v = _split(qkv, heads, kv_heads, head_dim)
        return _joined(_turned(q, rope), _turned(k, rope), v)

    def attention(
        self,
        layer: int,
        qkv: Array,
        *,
        heads: int,
        head_dim: int,
        scale: float | None = None,
        windowed: bool = False,
    ) -> Array:
        cache = self._cache
        assert 0 <= layer < cache.layers
        assert (heads, head_dim) == (cache.query_heads, cache.head_dim)
        assert cache.window > 0 or not windowed
        if cache.rope:
            qkv = self.rope(
                qkv, cache.rope, heads=heads, kv_heads=cache.kv_heads, head_dim=head_dim
            )
        q, k, v = _split(qkv, heads, cache.kv_heads, head_dim)
        k = np.repeat(k, heads // cache.kv_heads, axis=1)
        v = np.repeat(v, heads // cache.kv_heads, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) * (scale or head_dim**-0.5)
        if cache.softcap:
            scores = cache.softcap * np.tanh(scores / cache.softcap)
        back = np.arange(len(q))[:, None] - np.arange(len(k))[None]
        seen = (back >= 0) & ((back < cache.window) | (not windowed))
        scores = np.where(seen, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", weights, v).reshape(1, len(q), heads * head_dim)

    def concat(self, values: Sequence[Array]) -> Array:
        return np.concatenate(values, axis=-1)

    def multiply(self, gate: Array, up: Array, activation: str = "silu") -> Array:
        return ACTIVATIONS[activation](gate) * up


def _normalized(x: Array, epsilon: float) -> Array:
    out: Array = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)
    return out


def _split(qkv: Array, heads: int, kv_heads: int, head_dim: int) -> tuple[Array, Array, Array]:
    rows = qkv.reshape(qkv.shape[1], heads + 2 * kv_heads, head_dim)
    return rows[:, :heads], rows[:, heads : heads + kv_heads], rows[:, heads + kv_heads :]


def _joined(q: Array, k: Array, v: Array) -> Array:
    return np.concatenate([q, k, v], axis=1).reshape(1, len(q), -1)


def _turned(x: Array, rope: Rope) -> Array:
    pairs = len(rope.frequencies)
    angle = np.arange(len(x))[:, None, None] * np.asarray(rope.frequencies)
    cos, sin = np.cos(angle) * rope.magnitude, np.sin(angle) * rope.magnitude
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    turned = [first * cos - second * sin, second * cos + first * sin, rest]
    return np.concatenate(turned, axis=-1)
