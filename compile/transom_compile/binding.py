"""Vocabulary matrices in pieces that every GPU binds.

WebGPU promises 128 MiB for one storage buffer binding, and phones give no more. A Gemma's embedding
is larger, so such a matrix is stored as several parameters of some rows each; the graph puts their
results together. Other matrices of that size belong to models that no such GPU would hold.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from transom_models.architecture import ParameterSpec
from transom_models.block_type import BLOCK_TYPES

MAX_BINDING_BYTES = 128 * 1024 * 1024
"""WebGPU's default maxStorageBufferBindingSize."""
DIVIDED = ("token_embd.weight", "output.weight")
"""Read row by row, or multiplied without anything fused in: pieces need no kernel of their own."""
# Pieces of whole groups of rows keep the kernels' row tiles full.
ROW_STEP = 64
_ITEM_BYTES = 4


def divide_large(
    specs: Sequence[ParameterSpec], most_bytes: int = MAX_BINDING_BYTES
) -> tuple[ParameterSpec, ...]:
    """The same parameters, vocabulary matrices above `most_bytes` a plane in pieces `NAME.0`, …"""
    return tuple(piece for spec in specs for piece in _pieces(spec, most_bytes))


def _pieces(spec: ParameterSpec, most_bytes: int) -> Iterator[ParameterSpec]:
    largest = _largest_plane(spec)
    if spec.name not in DIVIDED or largest <= most_bytes:
        yield spec
        return
    rows, cols = spec.shape
    count = -(-largest // most_bytes)
    step = -(-rows // count // ROW_STEP) * ROW_STEP
    for number, first in enumerate(range(0, rows, step)):
        shape = (min(step, rows - first), cols)
        yield replace(
            spec, name=f"{spec.name}.{number}", shape=shape, whole=spec.name, first_row=first
        )


def _largest_plane(spec: ParameterSpec) -> int:
    if spec.block_type not in BLOCK_TYPES:
        return 0  # The name match has more to say about it.
    sizes = []
    for plane in BLOCK_TYPES[spec.block_type].planes(spec.shape):
        count = 1
        for extent in plane.shape:
            count *= extent
        sizes.append(count * _ITEM_BYTES)
    return max(sizes)
