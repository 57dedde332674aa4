"""Which block types llama.cpp keeps a second time on this machine, in an order its processor likes.

A table of what its code does (`ggml-cpu/repack.cpp`), by what the processor can.
"""

import platform
from functools import cache
from pathlib import Path
from typing import Final

# Measured: x86 with AVX2. The newest wheels of llama.cpp do it on ARM for more types.
AVX2_TYPES: Final = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
ARM_TYPES: Final = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4"})
_ARM_DOT_PRODUCT: Final = "asimddp"


def types_for(machine: str, features: frozenset[str]) -> frozenset[str]:
    """By the processor's family and its features as Linux names them; without features, of a new
    one."""
    if machine in ("arm64", "aarch64"):
        return ARM_TYPES if not features or _ARM_DOT_PRODUCT in features else frozenset()
    if machine.lower() in ("x86_64", "amd64"):
        return AVX2_TYPES if not features or "avx2" in features else frozenset()
    return frozenset()


@cache
def repacked_types() -> frozenset[str]:
    """Those of this machine."""
    return types_for(platform.machine(), _features())


def _features() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()
