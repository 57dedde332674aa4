"""Importance matrices, as llama.cpp's `llama-imatrix` writes them: GGUF, or the older .dat.

For each matrix of the model the mean square of every input, seen over some text. Sources:
ggml-org/llama.cpp tools/imatrix and tools/quantize (`load_imatrix`). All of it is outside input.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import MAGIC, GgufCheckpoint, open_checkpoint

# One entry a matrix; the largest model of this kind has some thousands.
MAX_ENTRIES = 131_072
MAX_NAME_BYTES = 512
# Inputs of a matrix; the widest layer known has 53 248.
MAX_INPUTS = 1024 * 1024
# Twice the largest published (a 405B model's, 25 MB); all of it is held in memory.
MAX_DAT_BYTES = 64 * 1024 * 1024
_SUMS, _COUNTS = ".in_sum2", ".counts"
_I32 = struct.Struct("<i")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Importance:
    """`values`: tensor name -> float32 [inputs]. `chunks`: how much text was seen; 0 if unknown."""

    values: Mapping[str, Floats]
    chunks: int
    dataset: str


def read_importance(path: Path) -> Importance:
    """Either format, told by its first bytes. Raises `CheckpointError` naming what is wrong."""
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror or error}") from error
    importance = _from_gguf(open_checkpoint(path)) if start == MAGIC else _from_dat(path)
    for name, values in importance.values.items():
        if not np.isfinite(values).all():
            raise CheckpointError(f"{path}: {name} holds a value that is not a finite number")
    return importance


def _from_gguf(checkpoint: GgufCheckpoint) -> Importance:
    path = checkpoint.path
    if checkpoint.metadata.get("general.type") != "imatrix":
        raise CheckpointError(f"{path} is a GGUF, but not an importance matrix")
    if len(checkpoint.tensors) > 2 * MAX_ENTRIES:
        raise CheckpointError(f"{path} has more than {MAX_ENTRIES} entries")
    values: dict[str, Floats] = {}
    for name in checkpoint.tensors:
        if not name.endswith(_SUMS):
            continue
        entry = name.removesuffix(_SUMS)
        sums, counts = _vector(checkpoint, name), _vector(checkpoint, entry + _COUNTS)
        if len(counts) != 1:
            raise CheckpointError(f"{path}: {entry} is of {len(counts)} experts, not supported")
        # A matrix that saw no text counts all inputs alike.
        values[entry] = sums / counts[0] if counts[0] > 0 else np.ones_like(sums)
    datasets = checkpoint.metadata.get("imatrix.datasets")
    dataset = next(iter(datasets), "") if isinstance(datasets, list | tuple) else ""
    chunks = checkpoint.metadata.get("imatrix.chunk_count", 0)
    return Importance(values, chunks if isinstance(chunks, int) else 0, str(dataset))


def _vector(checkpoint: GgufCheckpoint, name: str) -> Floats:
    info = checkpoint.tensors.get(name)
    if info is None or info.block_type != "F32" or info.nbytes > MAX_INPUTS * 4:
        raise CheckpointError(f"{checkpoint.path} has no tensor {name} of F32")
    return checkpoint.read_blocks(name).reshape(-1).view(np.float32)


def _from_dat(path: Path) -> Importance:
    data = _read(path)
    count, position = _integer(path, data, 0, "entry count", MAX_ENTRIES)
    values: dict[str, Floats] = {}
    for index in range(count):
        what = f"entry {index}"
        size, position = _integer(path, data, position, f"name length of {what}", MAX_NAME_BYTES)
        name = _take(path, data, position, size, what).decode("utf-8", "replace")
        position += size
        if not name.isprintable() or name in values:
            raise CheckpointError(f"{path}: {what} is {name[:60]!r}, which is no name or not new")
        calls, position = _integer(path, data, position, f"calls of {name}", 2**31 - 1)
        inputs, position = _integer(path, data, position, f"inputs of {name}", MAX_INPUTS)
        sums = np.frombuffer(_take(path, data, position, inputs * 4, name), "<f4")
        position += inputs * 4
        values[name] = (sums / np.float32(calls or 1)).astype(np.float32)
    if not values:
        raise CheckpointError(f"{path} has no entries")
    chunks = _I32.unpack_from(data, position)[0] if len(data) - position >= 4 else 0
    return Importance(values, max(0, chunks), "")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_DAT_BYTES + 1)
    if len(data) > MAX_DAT_BYTES:
        raise CheckpointError(f"{path} is longer than the {MAX_DAT_BYTES} bytes that are accepted")
    return data


def _integer(path: Path, data: bytes, position: int, what: str, cap: int) -> tuple[int, int]:
    value: int = _I32.unpack(_take(path, data, position, 4, what))[0]
    if not 0 <= value <= cap:
        raise CheckpointError(f"{path} is no importance matrix: {what} is {value}")
    return value, position + 4


def _take(path: Path, data: bytes, position: int, size: int, what: str) -> bytes:
    if size > len(data) - position:
        raise CheckpointError(f"{path} ends within {what}; it is cut off or no importance matrix")
    return data[position : position + size]
