"""Rotary position embedding: by how much each pair of a head turns per position. Plain numbers.

`RopeConfig` is what a checkpoint says, `Rope` what the kernels need for one context window. All in
f64; must not know a metadata key.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rope:
    """Pairs (i, i + pairs) of a head turn by position * frequencies[i] radians.

    Elements past 2 * pairs pass through. `magnitude` multiplies cosines and sines (the attention
    factor of YaRN and LongRoPE).
    """

    frequencies: tuple[float, ...]
    magnitude: float = 1.0


@dataclass(frozen=True, slots=True)
class Yarn:
    """YaRN's own numbers (Peng et al. 2023): see `yarn_frequencies`."""

    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """How queries and keys of a checkpoint turn: `theta`^(-2i/dims), then at most one scaling.

    `factor` slows all pairs alike, or with `yarn` those that YaRN chooses. `divisors` slow each
    pair by its own (llama3); `long_divisors` replace them in context windows over
    `original_context` (LongRoPE). `magnitude` as in `Rope`.
    """

    theta: float
    dims: int
    factor: float = 1.0
    yarn: Yarn | None = None
    divisors: tuple[float, ...] = ()
    long_divisors: tuple[float, ...] = ()
    original_context: int = 0
    magnitude: float = 1.0

    def rope(self, context_window: int) -> Rope:
        """What the kernels need for a cache of that many tokens."""
        if self.yarn:
            frequencies = yarn_frequencies(self.theta, self.dims, self.factor, self.yarn)
        else:
            slowed = rope_frequencies(self.theta, self.dims)
            frequencies = tuple(frequency / self.factor for frequency in slowed)
        long = self.long_divisors and context_window > self.original_context
        divisors = self.long_divisors if long else self.divisors
        if divisors:
            frequencies = tuple(f / d for f, d in zip(frequencies, divisors, strict=True))
        return Rope(frequencies, self.magnitude)


def rope_frequencies(theta: float, rotary_dim: int) -> tuple[float, ...]:
    """theta^(-2i/d) for each pair i (RoFormer, Su et al. 2021), in f64; radians per position."""
    return tuple(theta ** (-2.0 * i / rotary_dim) for i in range(rotary_dim // 2))


def llama3_divisors(
    theta: float,
    rotary_dim: int,
    *,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_context: int,
) -> tuple[float, ...]:
    """By how much Llama 3.1 slows each pair: what a GGUF holds as `rope_freqs.weight`.

    Pairs that turn `high_freq_factor` times or more in the original context stay, those under
    `low_freq_factor` turns are slowed by `factor`, in between linearly. Source: transformers
    modeling_rope_utils.py, `_compute_llama3_parameters`.
    """

    def divisor(frequency: float) -> float:
        turns = original_context * frequency / (2 * math.pi)
        if turns > high_freq_factor:
            return 1.0
        if turns < low_freq_factor:
            return factor
        kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
        return 1.0 / ((1.0 - kept) / factor + kept)

    return tuple(divisor(frequency) for frequency in rope_frequencies(theta, rotary_dim))


def yarn_frequencies(theta: float, rotary_dim: int, factor: float, yarn: Yarn) -> tuple[float, ...]:
    """YaRN: fast pairs keep their speed, slow ones are slowed by `factor`, a ramp in between.

    The ramp runs over pair numbers, from the pair that turns `beta_fast` times in the original
    context (rounded down) to the one that turns `beta_slow` times (rounded up). Source: ggml
    `ggml_rope_yarn_corr_dims`; transformers `_compute_yarn_parameters` with `truncate`.
    """

    def pair_of(turns: float) -> float:
        return (
            rotary_dim
            * math.log(yarn.original_context / (turns * 2 * math.pi))
            / (2 * math.log(theta))
        )

    low = max(math.floor(pair_of(yarn.beta_fast)), 0)
    high = min(math.ceil(pair_of(yarn.beta_slow)), rotary_dim - 1)

    def frequency(pair: int, plain: float) -> float:
        # The smallest width keeps a ramp of no width from dividing by zero, as both sources do.
        slowed = min(max((pair - low) / max(high - low, 0.001), 0.0), 1.0)
        return plain * (slowed / factor + 1.0 - slowed)

    plain = rope_frequencies(theta, rotary_dim)
    return tuple(frequency(pair, value) for pair, value in enumerate(plain))


def yarn_magnitude(factor: float) -> float:
    """What YaRN multiplies cosines and sines by, if the checkpoint does not say (its eq. 22)."""
    return 0.1 * math.log(factor) + 1.0 if factor > 1.0 else 1.0


def longrope_magnitude(factor: float, original_context: int) -> float:
    """The same for LongRoPE; `factor` is the longest context over the original one."""
    if factor <= 1.0:
        return 1.0
    return math.sqrt(1.0 + math.log(factor) / math.log(original_context))
