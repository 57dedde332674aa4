"""Random weights of any block type, with the rows that go wrong first.

Blocks as GGML has them, the exact values that `gguf` gives them, and planes as Transom stores them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from tests.fakes.ggml_fields import (
    E8M0_FIELD,
    E8M0_SMALL,
    HALF_FIELDS,
    QUANT_BYTES,
    SUB_SCALE,
)
from transom_compile.repack import repack
from transom_compile.sources.checkpoint import Blocks

Array = npt.NDArray[Any]

FLOAT_DTYPES = {"F32": np.float32, "F16": np.float16}


@dataclass(frozen=True)
class Weight:
    """A stored matrix (rows, cols)."""

    values: Array
    """float64, exact."""
    planes: list[Array]
    magnitudes: Array
    """Bound on what the kernel adds up for an element, before zero point and minimum cancel."""


def make_weight(kind: str, rows: int, cols: int, largest: float, seed: int) -> Weight:
    """Random blocks; rows 0 to 4 have subnormal, zero, negative, `largest` scales, and no scale but
    a minimum."""
    random = np.random.default_rng(seed)
    elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    if elements == 1:
        blocks = _floats(random, kind, rows, cols, largest)
        extra: Array = np.zeros((rows, cols))
    else:
        shape = (rows, cols // elements, block_bytes)
        raw = random.integers(0, 256, shape, dtype=np.uint8)
        if kind == "MXFP4":
            raw[:, :, E8M0_FIELD] = _exponents(random, rows, cols // elements, largest)
        else:
            _set_half_fields(random, kind, raw, largest)
        blocks = raw.reshape(rows, -1)
        # What quants of zero stand for is added and taken away again.
        lowest = raw.copy()
        lowest[:, :, QUANT_BYTES.get(kind, slice(0, 0))] = 0
        extra = 2 * abs(_values(lowest.reshape(rows, -1), kind, cols))
        extra *= kind in QUANT_BYTES
    exact = _values(blocks, kind, cols)
    planes = [stored.array for stored in repack(blocks, kind, (rows, cols))]
    return Weight(exact, planes, abs(exact) + extra)


def finite_blocks(kind: str, shape: tuple[int, int], seed: int = 1) -> Blocks:
    """Random bytes but for f16 fields, which are finite: NaN products differ in payload bits."""
    elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    random = np.random.default_rng(seed)
    row_bytes = shape[1] // elements * block_bytes
    blocks = random.integers(0, 256, (shape[0], row_bytes), dtype=np.uint8)
    raw = blocks.reshape(-1, block_bytes)
    for offset in HALF_FIELDS.get(kind, ()):
        field = random.normal(size=(len(raw), 1)).astype(np.float16)
        raw[:, offset : offset + 2] = field.view(np.uint8)
    return blocks


def _values(blocks: Blocks, kind: str, cols: int) -> Array:
    values = quants.dequantize(blocks, GGMLQuantizationType[kind])
    return values.reshape(-1, cols).astype(np.float64)


def _floats(random: np.random.Generator, kind: str, rows: int, cols: int, largest: float) -> Blocks:
    values = random.normal(0, 0.1, (rows, cols)).astype(FLOAT_DTYPES.get(kind, np.float32))
    values[0] = random.integers(1, 1024, cols).astype(np.uint16).view(np.float16)
    values[1], values[2], values[3] = 0, -abs(values[2]), values[3] * largest
    if kind == "BF16":
        return quants.quantize(values, GGMLQuantizationType.BF16)
    return values.view(np.uint8)


def _set_half_fields(random: np.random.Generator, kind: str, raw: Blocks, largest: float) -> None:
    offsets, part = HALF_FIELDS[kind], SUB_SCALE.get(kind, 1)
    shape = (*raw.shape[:2], len(offsets))
    scales = random.normal(0, 0.02 / part, shape).astype(np.float16)
    scales[0] = random.integers(1, 1024, shape[1:]).astype(np.uint16).view(np.float16)
    scales[1], scales[2], scales[3] = 0, -abs(scales[2]), largest / part
    scales[4, :, 0] = 0
    for i, offset in enumerate(offsets):
        raw[:, :, offset : offset + 2] = scales[:, :, i : i + 1].view(np.uint8)


def _exponents(random: np.random.Generator, rows: int, blocks: int, largest: float) -> Array:
    """E8M0, which has neither zero nor sign. Row 0: about the smallest that kernels keep exact,
    which divide the scale by up to 2**24."""
    exponents = random.integers(*E8M0_SMALL, (rows, blocks))
    exponents[0] = random.integers(27, 40, blocks)
    exponents[3] = 127 + int(np.log2(largest))
    return exponents.astype(np.uint8)
