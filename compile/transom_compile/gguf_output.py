"""Writes a GGUF file: header by `gguf.GGUFWriter`, tensor data streamed in pieces, whole or not at
all.

Little-endian, version 3, alignment 32. The same metadata, tensors and data give the same bytes.
Must not know where the tensors come from.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter
from gguf.constants import (
    GGML_QUANT_SIZES,
    GGUF_DEFAULT_ALIGNMENT,
    GGMLQuantizationType,
    GGUFValueType,
)

from transom_compile.durable import durable_file
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import ALIGNMENT_KEY, GgufCheckpoint
from transom_models.architecture import ARCHITECTURE_KEY

# What one piece of a tensor may take as float32 while it is worked on: large enough that NumPy and
# the disk are busy, small enough that two cores hold a few of them.
PIECE_BYTES = 8 * 1024 * 1024
_MAX_U32, _MAX_I32 = 2**32 - 1, 2**31 - 1
_MAX_F32 = float(np.finfo(np.float32).max)
_SCALAR_TYPES: Mapping[type, GGUFValueType] = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.UINT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
}
# llama.cpp's converter stores lists of integers signed: token types, for one.
_ITEM_TYPES: Mapping[type, GGUFValueType] = {**_SCALAR_TYPES, int: GGUFValueType.INT32}


@dataclass(frozen=True, slots=True)
class Entry:
    """A metadata value and how it is stored; `item` is the type of an array's items."""

    value: Any
    kind: GGUFValueType
    item: GGUFValueType | None = None


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One tensor to write; `shape` in NumPy order, the last axis contiguous."""

    name: str
    shape: tuple[int, ...]
    block_type: str

    @property
    def nbytes(self) -> int:
        return self.rows * self.row_bytes

    @property
    def rows(self) -> int:
        """Rows of the last axis; a vector is one."""
        count = 1
        for extent in self.shape[:-1]:
            count *= extent
        return count

    @property
    def row_bytes(self) -> int:
        elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[self.block_type]]
        if self.shape[-1] % elements:
            raise ValueError(f"{self.name}: {self.shape[-1]} is no multiple of {elements}")
        return self.shape[-1] // elements * block_bytes


def entry(value: Any) -> Entry:
    """The natural type: bool, u32, f32, string, or an array of i32, f32, bool or strings.

    Raises `CheckpointError` for text that is no Unicode and numbers that do not fit.
    """
    if isinstance(value, bool | int | float | str):
        _check(value, _MAX_U32)
        return Entry(value, _SCALAR_TYPES[type(value)])
    if isinstance(value, bytes):
        return Entry(value, GGUFValueType.ARRAY, GGUFValueType.UINT8)
    if not isinstance(value, Sequence) or not value:
        raise ValueError(f"no GGUF value for {value!r}")
    for item in value:
        _check(item, _MAX_I32)
    return Entry(list(value), GGUFValueType.ARRAY, _ITEM_TYPES[type(value[0])])


def _check(value: object, most: int) -> None:
    """JSON can spell half a character and numbers of any size; GGUF cannot."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise CheckpointError(f"text {value[:60]!r} is not Unicode") from None
    elif isinstance(value, int) and not 0 <= value <= most:
        raise CheckpointError(f"a number of {value.bit_length()} bits does not fit a GGUF's 32")
    elif isinstance(value, float) and not abs(value) <= _MAX_F32:
        raise CheckpointError(f"{value} does not fit a GGUF's float32")


def copied_entries(checkpoint: GgufCheckpoint) -> dict[str, Entry]:
    """All metadata of a checkpoint, type for type.

    Left out: the alignment (ours is the default) and empty arrays, which the writer cannot say.
    """
    entries: dict[str, Entry] = {}
    for key, value in checkpoint.metadata.items():
        kind = checkpoint.value_types[key]
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if key == ALIGNMENT_KEY or (kind.kind is GGUFValueType.ARRAY and not len(value)):  # type: ignore[arg-type]
            continue
        entries[key] = Entry(value, kind.kind, kind.item)
    return entries


class TensorSink:
    """Takes the data of each tensor, in the order of the header."""

    def __init__(self, file: BinaryIO, tensors: Sequence[OutputTensor]) -> None:
        self._file = file
        self._waiting = iter(tensors)

    def write(self, name: str, pieces: Iterable[npt.NDArray[Any]]) -> None:
        """All bytes of the next tensor, then padding. A wrong name or size is a bug of ours."""
        tensor = next(self._waiting)
        if tensor.name != name:
            raise ValueError(f"{name} comes before {tensor.name}")
        written = 0
        for piece in pieces:
            data = np.ascontiguousarray(piece)
            self._file.write(data.view(np.uint8).data)
            written += data.nbytes
        if written != tensor.nbytes:
            raise ValueError(f"{name} has {written} bytes, not {tensor.nbytes}")
        self._file.write(bytes(-written % GGUF_DEFAULT_ALIGNMENT))

    def finish(self) -> None:
        left = next(self._waiting, None)
        if left is not None:
            raise ValueError(f"{left.name} was not written")


@contextmanager
def gguf_output(
    path: Path, entries: Mapping[str, Entry], tensors: Sequence[OutputTensor]
) -> Iterator[TensorSink]:
    """A GGUF file to fill; it is there under its name when the block ends well, else not at all.

    `entries` must hold `general.architecture`.
    """
    with durable_file(path) as file:
        _write_header(Path(file.name), entries, tensors)
        file.seek(0, 2)
        file.write(bytes(-file.tell() % GGUF_DEFAULT_ALIGNMENT))
        sink = TensorSink(file, tensors)
        yield sink
        sink.finish()


def _write_header(
    path: Path, entries: Mapping[str, Entry], tensors: Sequence[OutputTensor]
) -> None:
    # The writer puts the architecture first, from its own argument.
    writer = GGUFWriter(None, str(entries[ARCHITECTURE_KEY].value))
    for key, item in entries.items():
        if key != ARCHITECTURE_KEY:
            writer.add_key_value(key, item.value, item.kind, item.item)
    for tensor in tensors:
        kind = GGMLQuantizationType[tensor.block_type]
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, raw_dtype=kind
        )
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
