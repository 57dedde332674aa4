"""Activation functions in float32, from the few functions that WGSL has.

Only exp and division: WGSL's tanh may overflow for large arguments, and there is no erf.
"""

from __future__ import annotations

import math

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import Expr, exact, let

# Abramowitz & Stegun 7.1.26: erf within 1.5e-7, the precision of float32.
_ERF_P = 0.3275911
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def activate(name: str, x: Expr) -> Expr:
    """ "silu" x sigmoid(x); "gelu" with erf; "gelu_tanh" its tanh approximation. `x` is named."""
    if name == "silu":
        return x / (1.0 + T.exp(-x))
    if name == "gelu_tanh":
        # 0.5 (1 + tanh(u)) = sigmoid(2 u)
        u = x * (1.0 + exact(0.044715) * x * x)
        return x / (1.0 + T.exp(u * exact(-2 * math.sqrt(2 / math.pi))))
    if name == "gelu":
        return 0.5 * x * (1.0 + _erf(let(x * exact(math.sqrt(0.5)))))
    raise ValueError(f"no activation {name!r}")


def soft_capped(x: Expr, cap: float) -> Expr:
    """cap tanh(x / cap), which keeps |x| below cap (Gemma 2)."""
    return exact(cap) * (1.0 - 2.0 / (1.0 + T.exp(x * exact(2 / cap))))


def _erf(x: Expr) -> Expr:
    size = let(tirx.abs(x))
    t = let(1.0 / (1.0 + exact(_ERF_P) * size))
    series = exact(_ERF[-1])
    for factor in reversed(_ERF[:-1]):
        series = series * t + exact(factor)
    tail = let(series * t * T.exp(-size * size))
    return tirx.Select(x < 0.0, tail - 1.0, 1.0 - tail)
