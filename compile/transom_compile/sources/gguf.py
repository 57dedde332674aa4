"""GGUF reader: header and metadata checked and read once, tensors mapped and read lazily.

Little-endian GGUF version 2 and 3 (ggml `docs/gguf.md`). Every number in the file is outside input:
it is compared with `limits.py` and with the file's size before anything is allocated or followed.
Must not know architectures, stored tensors or TVM.
"""

import mmap
import struct
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import overload

import numpy as np
from gguf.constants import (
    GGML_QUANT_SIZES,
    GGUF_DEFAULT_ALIGNMENT,
    GGMLQuantizationType,
    GGUFValueType,
)

from transom_compile.sources import limits
from transom_compile.sources.checkpoint import Blocks, CheckpointError, MetadataValue, TensorInfo

MAGIC = b"GGUF"
# Version 1 used 32-bit counts and died in 2023; 2 and 3 differ only in allowing big-endian files.
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"

_SCALARS: Mapping[GGUFValueType, struct.Struct] = {
    GGUFValueType.UINT8: struct.Struct("<B"),
    GGUFValueType.INT8: struct.Struct("<b"),
    GGUFValueType.UINT16: struct.Struct("<H"),
    GGUFValueType.INT16: struct.Struct("<h"),
    GGUFValueType.UINT32: struct.Struct("<I"),
    GGUFValueType.INT32: struct.Struct("<i"),
    GGUFValueType.FLOAT32: struct.Struct("<f"),
    GGUFValueType.UINT64: struct.Struct("<Q"),
    GGUFValueType.INT64: struct.Struct("<q"),
    GGUFValueType.FLOAT64: struct.Struct("<d"),
}
_U32 = _SCALARS[GGUFValueType.UINT32]
_U64 = _SCALARS[GGUFValueType.UINT64]


@dataclass(frozen=True, slots=True)
class ValueType:
    """How the file stores a metadata value; `item` is the type of an array's items."""

    kind: GGUFValueType
    item: GGUFValueType | None = None


class StringArray(Sequence[str]):
    """An array of strings inside the file; an item is decoded when asked for.

    A vocabulary has hundreds of thousands of them, and most readers of a checkpoint want none.
    """

    def __init__(
        self, file: "_Cursor", key: str, starts: "array[int]", sizes: "array[int]"
    ) -> None:
        self._file = file
        self._key = key
        self._starts = starts
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._file.decode(self._starts[index], self._sizes[index], f"{self._key}[{index}]")

    def __iter__(self) -> Iterator[str]:
        for index in range(len(self)):
            yield self[index]


class GgufCheckpoint:
    """An open GGUF file. The mapping lives as long as the object or any view read from it."""

    def __init__(
        self,
        path: Path,
        data: mmap.mmap,
        version: int,
        metadata: Mapping[str, MetadataValue],
        value_types: Mapping[str, ValueType],
        tensors: Mapping[str, TensorInfo],
    ) -> None:
        self.path = path
        self.version = version
        self.metadata = metadata
        self.value_types = value_types
        self.tensors = tensors
        self._data = data

    def read_blocks(self, name: str) -> Blocks:
        """uint8 [rows, bytes per row] of one tensor: a read-only view of the file, no copy."""
        info = self.tensors[name]
        flat = np.frombuffer(self._data, np.uint8, count=info.nbytes, offset=info.offset)
        rows = int(np.prod(info.shape[:-1], dtype=np.int64))
        return flat.reshape(rows, info.nbytes // rows)

    def release(self, name: str, start: int = 0, end: int | None = None) -> None:
        """Let this tensor's pages leave memory; a later read brings them back from the file.

        `start`, `end`: bytes of the tensor, where only a part of it is done with.
        """
        info = self.tensors[name]
        last = info.nbytes if end is None else end
        release_pages(self._data, info.offset + start, info.offset + last)


def clipped(problem: str) -> str:
    """One line that a person reads: a lying name may be as long as a page."""
    return problem if len(problem) <= 400 else f"{problem[:250]} … {problem[-100:]}"


def release_pages(data: mmap.mmap, start: int, end: int) -> None:
    """Let the pages that lie wholly from byte `start` to `end` leave memory."""
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = end // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first and hasattr(mmap, "MADV_DONTNEED"):
        data.madvise(mmap.MADV_DONTNEED, first, last - first)


def open_checkpoint(path: Path) -> GgufCheckpoint:
    """Open a GGUF file and check its whole header.

    Raises `CheckpointError` naming the file, the thing that is wrong and where. The weights
    themselves are not read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
            if start != MAGIC:
                raise CheckpointError(f"{path} is not a GGUF file ({_describe_start(start)})")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror or error}") from error
    cursor = _Cursor(path, data)
    version = _read_version(cursor)
    tensor_count = cursor.count("tensor count", limits.MAX_TENSORS)
    key_count = cursor.count("metadata key count", limits.MAX_METADATA_KEYS)
    metadata, value_types = _read_metadata(cursor, key_count)
    alignment = _alignment(cursor, metadata)
    tensors = _read_tensor_infos(cursor, tensor_count, alignment)
    return GgufCheckpoint(
        path,
        data,
        version,
        MappingProxyType(metadata),
        MappingProxyType(value_types),
        MappingProxyType(tensors),
    )


def _describe_start(start: bytes) -> str:
    return f"starts with {start!r}" if start else "it is empty"


class _Cursor:
    """A position in the file that never passes its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.position = len(MAGIC)

    def error(self, problem: str, at: int | None = None) -> CheckpointError:
        place = self.position if at is None else at
        return CheckpointError(f"{self.path}: {clipped(problem)} (at byte {place})")

    def take(self, count: int, what: str) -> int:
        """Step over `count` bytes; gives where they start."""
        start = self.position
        if count > self.size - start:
            raise self.error(
                f"{what} needs {count} bytes but only {self.size - start} are left; "
                "the file is truncated or lies"
            )
        self.position = start + count
        return start

    def u32(self, what: str) -> int:
        return int(_U32.unpack_from(self.data, self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(_U64.unpack_from(self.data, self.take(8, what))[0])

    def count(self, what: str, cap: int) -> int:
        start = self.position
        value = self.u64(what)
        if value > cap:
            raise self.error(f"{what} is {value}, more than the {cap} that Transom accepts", start)
        return value

    def decode(self, start: int, size: int, what: str) -> str:
        try:
            return self.data[start : start + size].decode("utf-8")
        except UnicodeDecodeError:
            raise self.error(f"{what} is not valid UTF-8", start) from None

    def string(self, what: str, cap: int) -> str:
        size = self.count(f"length of {what}", cap)
        return self.decode(self.take(size, what), size, what)

    def name(self, what: str, cap: int) -> str:
        """A string that people will see in messages and paths: visible characters only."""
        start = self.position
        text = self.string(what, cap)
        if not text or not text.isprintable():
            raise self.error(f"{what} is {text!r}, which is not a name", start)
        return text


def _read_version(cursor: _Cursor) -> int:
    version = cursor.u32("version")
    if version in VERSIONS:
        return version
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in VERSIONS:
        raise cursor.error("big-endian GGUF is not supported; convert the model again", 4)
    raise cursor.error(f"GGUF version {version} is not supported, only 2 and 3", 4)


def _read_metadata(
    cursor: _Cursor, count: int
) -> tuple[dict[str, MetadataValue], dict[str, ValueType]]:
    metadata: dict[str, MetadataValue] = {}
    types: dict[str, ValueType] = {}
    for index in range(count):
        start = cursor.position
        key = cursor.name(f"metadata key {index}", limits.MAX_KEY_BYTES)
        if key in metadata:
            raise cursor.error(f"metadata key {key} appears twice", start)
        kind = _read_value_type(cursor, key)
        if kind is GGUFValueType.ARRAY:
            item, metadata[key] = _read_array(cursor, key)
            types[key] = ValueType(kind, item)
        else:
            metadata[key] = _read_value(cursor, key, kind)
            types[key] = ValueType(kind)
    return metadata, types


def _read_value_type(cursor: _Cursor, key: str) -> GGUFValueType:
    start = cursor.position
    number = cursor.u32(f"type of {key}")
    try:
        return GGUFValueType(number)
    except ValueError:
        raise cursor.error(f"{key} has unknown value type {number}", start) from None


def _read_value(cursor: _Cursor, key: str, kind: GGUFValueType) -> MetadataValue:
    if kind is GGUFValueType.STRING:
        return cursor.string(key, limits.MAX_STRING_BYTES)
    if kind is GGUFValueType.BOOL:
        start = cursor.take(1, key)
        if cursor.data[start] > 1:
            raise cursor.error(f"{key} is neither true nor false", start)
        return bool(cursor.data[start])
    scalar = _SCALARS[kind]
    value: int | float = scalar.unpack_from(cursor.data, cursor.take(scalar.size, key))[0]
    return value


def _read_array(cursor: _Cursor, key: str) -> tuple[GGUFValueType, MetadataValue]:
    start = cursor.position
    kind = _read_value_type(cursor, f"items of {key}")
    if kind is GGUFValueType.ARRAY:
        raise cursor.error(f"{key} nests arrays deeper than {limits.MAX_ARRAY_DEPTH}", start)
    length = cursor.count(f"length of array {key}", limits.MAX_ARRAY_LENGTH)
    if kind is GGUFValueType.STRING:
        return kind, _read_string_array(cursor, key, length)
    if kind is GGUFValueType.BOOL:
        flags = np.frombuffer(cursor.data, np.uint8, length, cursor.take(length, key))
        if flags.size and int(flags.max()) > 1:
            raise cursor.error(f"{key} holds a value that is neither true nor false", start)
        return kind, flags.view(np.bool_)
    dtype = np.dtype(_SCALARS[kind].format)
    start = cursor.take(length * dtype.itemsize, f"array {key}")
    return kind, np.frombuffer(cursor.data, dtype, length, start)


def _read_string_array(cursor: _Cursor, key: str, length: int) -> StringArray:
    # An item is at least its own length field: a lying length fails before the loop.
    if length * _U64.size > cursor.size - cursor.position:
        raise cursor.error(f"array {key} of {length} strings is longer than the file")
    starts, sizes = array("Q"), array("Q")
    for _ in range(length):
        size = cursor.count(f"length of a string in {key}", limits.MAX_STRING_BYTES)
        starts.append(cursor.take(size, f"a string in {key}"))
        sizes.append(size)
    return StringArray(cursor, key, starts, sizes)


def _alignment(cursor: _Cursor, metadata: Mapping[str, MetadataValue]) -> int:
    value = metadata.get(ALIGNMENT_KEY, GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or isinstance(value, bool):
        raise cursor.error(f"{ALIGNMENT_KEY} is not an integer")
    if value < 1 or value > limits.MAX_ALIGNMENT or value & (value - 1):
        raise cursor.error(
            f"{ALIGNMENT_KEY} is {value}, not a power of two up to {limits.MAX_ALIGNMENT}"
        )
    return value


def _read_tensor_infos(cursor: _Cursor, count: int, alignment: int) -> dict[str, TensorInfo]:
    relative: dict[str, TensorInfo] = {}
    for index in range(count):
        start = cursor.position
        info = _read_tensor_info(cursor, index, alignment)
        if info.name in relative:
            raise cursor.error(f"tensor {info.name} appears twice", start)
        relative[info.name] = info
    data_start = -(-cursor.position // alignment) * alignment
    tensors = {
        info.name: TensorInfo(
            info.name, info.shape, info.block_type, data_start + info.offset, info.nbytes
        )
        for info in relative.values()
    }
    _check_ranges(cursor, tensors)
    return tensors


def _read_tensor_info(cursor: _Cursor, index: int, alignment: int) -> TensorInfo:
    """One row of the tensor table; its `offset` still counts from the start of the data."""
    name = cursor.name(f"name of tensor {index}", limits.MAX_TENSOR_NAME_BYTES)
    start = cursor.position
    rank = cursor.u32(f"dimension count of {name}")
    if not 1 <= rank <= limits.MAX_DIMENSIONS:
        raise cursor.error(
            f"tensor {name} has {rank} dimensions, not 1 to {limits.MAX_DIMENSIONS}", start
        )
    # GGUF writes the contiguous dimension first; NumPy has it last.
    shape = tuple(cursor.u64(f"dimension of {name}") for _ in range(rank))[::-1]
    elements = 1
    for extent in shape:
        elements *= extent
    if not 1 <= elements <= limits.MAX_ELEMENTS:
        raise cursor.error(f"tensor {name} has an impossible shape {list(shape)}", start)
    block_type, nbytes = _block_type(cursor, name, shape, elements)
    start = cursor.position
    offset = cursor.u64(f"offset of {name}")
    if offset % alignment:
        raise cursor.error(
            f"tensor {name} has offset {offset}, not a multiple of {alignment}", start
        )
    return TensorInfo(name, shape, block_type, offset, nbytes)


def _block_type(
    cursor: _Cursor, name: str, shape: tuple[int, ...], elements: int
) -> tuple[str, int]:
    start = cursor.position
    number = cursor.u32(f"type of {name}")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise cursor.error(f"tensor {name} has unknown GGML type {number}", start) from None
    block_elements, block_bytes = GGML_QUANT_SIZES[kind]
    if shape[-1] % block_elements:
        raise cursor.error(
            f"tensor {name} has rows of {shape[-1]}, "
            f"not a multiple of {kind.name}'s block of {block_elements}",
            start,
        )
    return kind.name, elements // block_elements * block_bytes


def _check_ranges(cursor: _Cursor, tensors: Mapping[str, TensorInfo]) -> None:
    """Every tensor inside the file, no two over each other."""
    end, previous = 0, ""
    for info in sorted(tensors.values(), key=lambda item: (item.offset, item.nbytes)):
        if info.offset < end:
            raise cursor.error(f"tensors {previous} and {info.name} overlap", info.offset)
        end, previous = info.offset + info.nbytes, info.name
        if end > cursor.size:
            raise cursor.error(
                f"tensor {info.name} ends at byte {end}, after the end of the file "
                f"({cursor.size} bytes); the file is truncated or lies",
                info.offset,
            )
