"""Rotary position embedding: by how much each pair of a head turns per position. Plain numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rope:
    """Pairs (i, i + pairs) of a head turn by position * frequencies[i] radians.

    Elements past 2 * pairs pass through. `magnitude` multiplies cosines and sines (the attention
    factor of YaRN and LongRoPE).
    """

    frequencies: tuple[float, ...]
    magnitude: float = 1.0


def rope_frequencies(theta: float, rotary_dim: int) -> tuple[float, ...]:
    """theta^(-2i/d) for each pair i (RoFormer, Su et al. 2021), in f64; radians per position."""
    return tuple(theta ** (-2.0 * i / rotary_dim) for i in range(rotary_dim // 2))
