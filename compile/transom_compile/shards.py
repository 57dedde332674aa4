"""Pack stored tensors into shards under a cap, and say in `tensor-cache.json` where each one lies.

Where a shard ends is planned from names, shapes and block types alone, before a byte is read: two
fine-tunes of one model are cut alike, so equal weights make equal shards. Byte level:
`docs/formats/shards.md`. Must not know checkpoints, block layouts or architectures.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transom_compile.durable import durable_file, write_durably
from transom_models.architecture import ParameterSpec
from transom_models.block_type import block_type
from transom_models.digest import Digest, Hasher

# WebLLM's habit too: small enough to retry and hash in one go, large enough for few requests.
SHARD_CAP_BYTES = 32 * 1024 * 1024
# WebGPU's default minStorageBufferOffsetAlignment, so a shard could be bound in place.
ALIGNMENT_BYTES = 256
TENSOR_CACHE_NAME = "tensor-cache.json"
# GGUF's own prefix of the tensors of one block.
_BLOCK_PREFIX = re.compile(r"blk\.\d+\.")
_ITEM_BYTES = {"uint32": 4, "float32": 4}


@dataclass(frozen=True, slots=True)
class PlacedTensor:
    """One stored tensor and its place in a shard."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """What one shard file will hold, tensors in order, offsets ascending."""

    name: str
    tensors: tuple[PlacedTensor, ...]

    @property
    def nbytes(self) -> int:
        return self.tensors[-1].offset + self.tensors[-1].nbytes


@dataclass(frozen=True, slots=True)
class Shard:
    """A written shard."""

    path: Path
    digest: Digest
    nbytes: int


@dataclass(frozen=True, slots=True)
class _Loose:
    """A stored tensor before it has a place."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """Tensors that stay together if they can; `parts` is what they fall into otherwise."""

    tensors: tuple[_Loose, ...]
    parts: tuple["_Unit", ...] = ()

    @classmethod
    def of(cls, parts: Sequence["_Unit"]) -> "_Unit":
        return cls(tuple(tensor for part in parts for tensor in part.tensors), tuple(parts))

    @property
    def nbytes(self) -> int:
        return sum(_aligned(tensor.nbytes) for tensor in self.tensors)


class _Cutter:
    """Fills one shard after the other."""

    def __init__(self, cap_bytes: int) -> None:
        self.shards: list[list[_Loose]] = []
        self._cap = cap_bytes
        self._open: list[_Loose] = []
        self._open_bytes = 0

    def place(self, unit: _Unit) -> None:
        size = unit.nbytes
        if size > self._cap and unit.parts:
            self.close()
            for part in unit.parts:
                self.place(part)
            self.close()
            return
        alone = 2 * size >= self._cap
        if alone or self._open_bytes + size > self._cap:
            self.close()
        self._open += unit.tensors
        self._open_bytes += size
        if alone:
            self.close()

    def close(self) -> None:
        if self._open:
            self.shards.append(self._open)
        self._open, self._open_bytes = [], 0


def plan_shards(
    rows: Sequence[ParameterSpec], cap_bytes: int = SHARD_CAP_BYTES
) -> tuple[ShardPlan, ...]:
    """Cut the parameters into shards.

    A model block is kept whole while it fits under the cap, else each parameter of it, else each
    stored tensor; whichever unit fills half the cap or more has a shard of its own. So a change of
    one size (a longer vocabulary) does not move what comes after it.
    """
    cutter = _Cutter(cap_bytes)
    for _, group in groupby(rows, lambda row: _group(row.name)):
        parameters = [_Unit.of([_Unit((tensor,)) for tensor in _stored(row)]) for row in group]
        cutter.place(_Unit.of(parameters))
    cutter.close()
    return tuple(
        ShardPlan(f"params_shard_{number}.bin", tuple(_place(tensors)))
        for number, tensors in enumerate(cutter.shards)
    )


def write_shards(
    plans: Sequence[ShardPlan],
    tensors: Iterable[tuple[str, npt.NDArray[np.generic]]],
    out_dir: Path,
) -> list[Shard]:
    """Stream `tensors` (name, array), in the order of the plan, into shard files under `out_dir`.

    One array is held at a time. The stream has to agree with the plan; anything else is our bug.
    """
    stream = iter(tensors)
    return [_write_shard(plan, stream, out_dir) for plan in plans]


def write_tensor_cache(plans: Sequence[ShardPlan], shards: Sequence[Shard], out_dir: Path) -> Path:
    """`tensor-cache.json`: WebLLM's format, with the sha256 of every shard added."""
    records = [
        {
            "dataPath": plan.name,
            "format": "raw-shard",
            "nbytes": plan.nbytes,
            "sha256": shard.digest.hex,
            "records": [_record(tensor) for tensor in plan.tensors],
        }
        for plan, shard in zip(plans, shards, strict=True)
    ]
    tensors = [tensor for plan in plans for tensor in plan.tensors]
    metadata = {
        "ParamSize": len(tensors),
        "ParamBytes": sum(tensor.nbytes for tensor in tensors),
    }
    path = out_dir / TENSOR_CACHE_NAME
    document = {"metadata": metadata, "records": records}
    write_durably(path, json.dumps(document, separators=(",", ":")).encode())
    return path


def _write_shard(
    plan: ShardPlan, stream: Iterator[tuple[str, npt.NDArray[np.generic]]], out_dir: Path
) -> Shard:
    path = out_dir / plan.name
    hasher = Hasher()
    with durable_file(path) as file:
        position = 0
        for placed in plan.tensors:
            padding = bytes(placed.offset - position)
            data = _bytes_of(placed, *next(stream))
            for piece in (padding, data):
                hasher.update(piece)
                file.write(piece)
            position = placed.offset + placed.nbytes
    return Shard(path, hasher.digest(), plan.nbytes)


def _bytes_of(placed: PlacedTensor, name: str, array: npt.NDArray[np.generic]) -> memoryview:
    given = (name, array.shape, array.dtype.name)
    if given != (placed.name, placed.shape, placed.dtype):
        raise AssertionError(f"the plan has {placed}, the stream gave {given}")
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _record(tensor: PlacedTensor) -> Mapping[str, object]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "format": "raw",
        "nbytes": tensor.nbytes,
        "byteOffset": tensor.offset,
    }


def _place(tensors: Sequence[_Loose]) -> Iterator[PlacedTensor]:
    offset = 0
    for tensor in tensors:
        yield PlacedTensor(tensor.name, tensor.shape, tensor.dtype, tensor.nbytes, offset)
        offset = _aligned(offset + tensor.nbytes)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _group(name: str) -> str:
    """Parameters of one model block belong together; any other parameter stands alone."""
    block = _BLOCK_PREFIX.match(name)
    return block.group() if block else name


def _stored(row: ParameterSpec) -> list[_Loose]:
    planes = block_type(row.block_type, row.name).planes(row.shape)
    return [
        _Loose(row.name + plane.suffix, plane.shape, plane.dtype, _nbytes(plane.shape, plane.dtype))
        for plane in planes
    ]


def _nbytes(shape: tuple[int, ...], dtype: str) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count * _ITEM_BYTES[dtype]
