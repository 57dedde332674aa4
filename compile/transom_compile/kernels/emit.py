"""Small words for writing scheduled TIR with the IR builder.

Kernels here are written already bound to blocks and threads; Python loops unroll, builder loops
stay loops. Knows TIR and WGSL's intrinsics; knows nothing of weights or models.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

Expr = Any
"""A TIR expression; TVM ships no types for it."""

Buffer = Any


@dataclass
class Kernel:
    """The kernel being written: `prim_func` is set when the `with` block ends."""

    name: str
    prim_func: Any = field(default=None)


@contextmanager
def kernel(name: str) -> Iterator[Kernel]:
    """Open a scheduled PrimFunc; its parameters are what `buffer_arg` and `int_arg` declare."""
    made = Kernel(name)
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name(name)
            T.func_attr({"global_symbol": name, "tirx.is_scheduled": True, "tirx.noalias": True})
            yield made
    made.prim_func = builder.get()


def buffer_arg(name: str, shape: Sequence[Expr], dtype: str, *, offset: bool = False) -> Buffer:
    """A tensor parameter; `offset` accepts a view into a larger buffer (KV cache auxiliaries).

    Its name reaches the WGSL as `<name>_ptr`: that is how a program finds its binding.
    """
    handle = T.arg(name, T.handle())
    elem_offset = tirx.Var(f"{name}_elem_offset", "int32") if offset else None
    made = T.match_buffer(handle, tuple(shape), dtype, elem_offset=elem_offset)
    return IRBuilder.name(name, made)


def int_arg(name: str, dtype: str = "int32") -> Expr:
    """A scalar parameter."""
    return T.arg(name, tirx.Var(name, dtype))


def symbolic(name: str) -> Expr:
    """A size that is known when the kernel is launched."""
    return tirx.Var(name, "int64")


@contextmanager
def launch(
    *, grid: Sequence[Expr], threads: Sequence[int]
) -> Iterator[tuple[list[Expr], list[Expr]]]:
    """Bind up to two grid axes and up to three thread axes; yields their indices as int32.

    WebGPU's code generator keeps blockIdx.z for itself (it folds large grids), so two axes it is.
    """
    frames = []
    blocks, lanes = [], []
    for axis, extent in zip("xy", grid, strict=False):
        frames.append(T.thread_binding(extent, thread=f"blockIdx.{axis}"))
        blocks.append(frames[-1].__enter__())
    for axis, extent in zip("xyz", threads, strict=False):
        frames.append(T.thread_binding(extent, thread=f"threadIdx.{axis}"))
        lanes.append(frames[-1].__enter__())
    frames.append(T.sblock("kernel"))
    frames[-1].__enter__()
    T.reads([])
    T.writes([])
    yield blocks, lanes
    for frame in reversed(frames):
        frame.__exit__(None, None, None)


@contextmanager
def each(count: Expr | int, threads: int) -> Iterator[Expr]:
    """One thread per element of a flat range; yields the index. Spare threads do nothing."""
    static = isinstance(count, int)
    blocks = -(-count // threads) if static else tirx.floordiv(count + threads - 1, threads)
    with launch(grid=(blocks,), threads=(threads,)) as ((bx,), (tx,)):
        at = let(bx * threads + tx)
        if static and count % threads == 0:
            yield at
        else:
            with when(at < count):
                yield at


def local(shape: Sequence[int], dtype: str) -> Buffer:
    """Private memory of one thread."""
    return T.sblock_alloc_buffer(tuple(shape), dtype, scope="local")


def shared(shape: Sequence[int], dtype: str) -> Buffer:
    """Memory of one workgroup."""
    return T.sblock_alloc_buffer(tuple(shape), dtype, scope="shared")


def store(buffer: Buffer, index: Sequence[Expr] | Expr, value: Expr) -> None:
    """`buffer[index] = value`."""
    indices = list(index) if isinstance(index, list | tuple) else [index]
    T.buffer_store(buffer, value, indices)


def let(value: Expr) -> Expr:
    """Name a value once, so that the shader computes it once."""
    return T.bind(value)


def barrier() -> None:
    """All threads of the workgroup meet; shared memory is visible after."""
    T.evaluate(tirx.call_intrin("void", "tirx.tvm_storage_sync", "shared"))


SUBGROUP_LANE = "subgroup_lane"
"""The function that `wgsl.py` puts the builtin value in the place of."""


def subgroup_lane() -> Expr:
    """Which thread of its subgroup this one is."""
    return tirx.call_pure_extern("int32", SUBGROUP_LANE)


def from_lane(value: Expr, lane: int) -> Expr:
    """What one thread of the subgroup has, a float32, for all of them; all must come here.

    Not a pure call: TVM writes those out again at every use, also where not all threads come.
    """
    return tirx.call_extern("float32", "subgroupBroadcast", value, tirx.const(lane, "uint32"))


@contextmanager
def when(condition: Expr) -> Iterator[None]:
    """Statements that run only where the condition holds."""
    with T.If(condition), T.Then():
        yield


def cast(dtype: str, value: Expr) -> Expr:
    """Conversion that folds to nothing when the type is the same."""
    return value if str(value.ty) == dtype else tirx.Cast(dtype, value)


def exact(value: float) -> Expr:
    """A float32 constant with all its bits.

    TVM's WGSL generator prints constants with seven significant digits, which is not enough for
    most float32 values; those go as bits.
    """
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    if struct.pack("<f", float(f"{rounded:e}")) == struct.pack("<f", rounded):
        return tirx.const(rounded, "float32")
    return tirx.reinterpret("float32", tirx.const(bits, "uint32"))


def halved(value: Expr, times: int) -> Expr:
    """value / 2**times, exactly, in factors that survive the generator's seven digits.

    Plain products, unlike `exact`, are found by common subexpression elimination.
    """
    while times > 0:
        step = min(times, 10)  # 2**-10 = 9.765625e-4 is the smallest power with seven digits
        value = value * tirx.const(0.5**step, "float32")
        times -= step
    return value


def f16_of_pair(pair: Expr, high: Expr | int) -> Expr:
    """One half of a u32 as float32. `high`: 0 for bits 0..15, 1 for bits 16..31.

    WGSL's `unpack2x16float` needs no shader-f16 and keeps subnormal scales exact.
    """
    if isinstance(high, int):
        lane, word = high, pair
    else:
        lane, word = 0, pair >> cast("uint32", high * 16)
    both = tirx.call_pure_extern("float32x2", "unpack2x16float", word)
    return tirx.Shuffle([both], [tirx.const(lane, "int32")])
