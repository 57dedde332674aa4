"""safetensors reader: the header checked and read once, tensors mapped and read lazily.

The format (huggingface/safetensors, README "Format"): 8 bytes little-endian length of a JSON
header, the header, then the data. Every number and name in it is outside input, compared with the
limits below and with the file's size before anything is allocated or followed. Must not know
architectures, GGUF or what a tensor is for.
"""

import json
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import clipped, release_pages

# One tensor takes about 130 bytes of header, so this is room for 131 072 of them. The format's own
# readers stop at 100 MB, which a lying file could turn into ten times as much memory.
MAX_HEADER_BYTES = 16 * 1024 * 1024
# A mixture of experts stored one tensor per expert stays below 50 000, over all of its files.
MAX_TENSORS = 131_072
# A name is a few words and numbers joined by dots; GGUF caps its own at 64.
MAX_NAME_BYTES = 512
# {"dtype":…,"shape":[…],"data_offsets":[…]} with the largest numbers is under 300 bytes.
MAX_ENTRY_BYTES = 4096
# Weights have one or two axes, convolutions up to five.
MAX_DIMENSIONS = 8
# 2^48 elements are more than any file holds.
MAX_ELEMENTS = 1 << 48

DTYPE_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 1,
        "U8": 1,
        "I8": 1,
        "F8_E4M3": 1,
        "F8_E5M2": 1,
        "F8_E8M0": 1,
        "U16": 2,
        "I16": 2,
        "F16": 2,
        "BF16": 2,
        "U32": 4,
        "I32": 4,
        "F32": 4,
        "U64": 8,
        "I64": 8,
        "F64": 8,
        "C64": 8,
    }
)
METADATA_KEY = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_LENGTH = struct.Struct("<Q")
_SPACE = re.compile(r"[ \t\n\r]*+")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# Possessive, so that no input makes it walk back: strings may hold braces, nothing else may.
_FLAT_OBJECT = re.compile(r'\{(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+\}', re.DOTALL)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor as the file describes it; `offset` counts from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class SafetensorsFile:
    """An open safetensors file. The mapping lives as long as the object or any view of it."""

    def __init__(self, path: Path, data: mmap.mmap, tensors: Mapping[str, StoredTensor]) -> None:
        self.path = path
        self.tensors = tensors
        self._data = data

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """uint8 [nbytes] of one tensor: a read-only view of the file, no copy."""
        tensor = self.tensors[name]
        if not tensor.nbytes:
            return np.zeros(0, np.uint8)
        return np.frombuffer(self._data, np.uint8, count=tensor.nbytes, offset=tensor.offset)

    def release(self, name: str, start: int = 0, end: int | None = None) -> None:
        """Let this tensor's pages leave memory; a later read brings them back from the file.

        `start`, `end`: bytes of the tensor, where only a part of it is done with.
        """
        tensor = self.tensors[name]
        last = tensor.nbytes if end is None else end
        release_pages(self._data, tensor.offset + start, tensor.offset + last)


def open_safetensors(path: Path) -> SafetensorsFile:
    """Open a safetensors file and check its whole header.

    Raises `CheckpointError` naming the file and the thing that is wrong. The weights are not read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LENGTH.size)
            if len(start) < _LENGTH.size:
                raise CheckpointError(f"{path} is not a safetensors file: it has no header")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror or error}") from error
    length = int(_LENGTH.unpack(start)[0])
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{path}: header length is {length}, more than the {MAX_HEADER_BYTES} that Transom "
            "accepts; this is not a safetensors file or it is damaged"
        )
    data_start = _LENGTH.size + length
    if data_start > len(data):
        raise CheckpointError(
            f"{path}: the header needs {length} bytes but only {len(data) - _LENGTH.size} are "
            "left; the file is truncated or lies"
        )
    try:
        text = data[_LENGTH.size : data_start].decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: the header is not valid UTF-8") from None
    tensors = _Header(path, text).tensors(data_start)
    _check_ranges(path, tensors, data_start, len(data))
    return SafetensorsFile(path, data, MappingProxyType(tensors))


class _Header:
    """The JSON object of the header, read one entry at a time.

    Its shape is so plain that a scan for entries is enough; a general parser would build whatever a
    lying header asks for before anyone could look at it.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._position = 0

    def tensors(self, data_start: int) -> dict[str, StoredTensor]:
        """Name -> tensor, in the order of the header, which need not be the order of the data."""
        found: dict[str, StoredTensor] = {}
        names: set[str] = set()
        self._expect("{")
        if self._peek() != "}":
            while True:
                name = self._name()
                if name in names:
                    raise self._error(f"tensor {name} appears twice")
                if len(names) == MAX_TENSORS:
                    raise self._error(f"more than {MAX_TENSORS} tensors")
                names.add(name)
                self._expect(":")
                entry = self._flat_object(name)
                if name != METADATA_KEY:
                    found[name] = self._tensor(name, entry, data_start)
                if self._peek() != ",":
                    break
                self._expect(",")
        self._expect("}")
        if self._peek():
            raise self._error("something follows the header's JSON object")
        return found

    def _error(self, problem: str) -> CheckpointError:
        place = _LENGTH.size + self._position
        return CheckpointError(f"{self._path}: {clipped(problem)} (near byte {place})")

    def _peek(self) -> str:
        space = _SPACE.match(self._text, self._position)
        self._position = space.end() if space else self._position
        return self._text[self._position : self._position + 1]

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"the header is not the JSON object that it must be ({character!r})")
        self._position += 1

    def _name(self) -> str:
        self._peek()
        # Two characters of escape for every byte are the most that a name of this length can take.
        end = self._position + 6 * MAX_NAME_BYTES + 2
        match = _STRING.match(self._text, self._position, end)
        if match is None:
            raise self._error(f"no tensor name of at most {MAX_NAME_BYTES} bytes")
        name = str(self._parse(match.group()))
        size = len(name.encode("utf-8", "replace"))
        if not name or not name.isprintable() or size > MAX_NAME_BYTES:
            raise self._error(f"{_shown(name)} is not the name of a tensor")
        self._position = match.end()
        return name

    def _flat_object(self, name: str) -> str:
        self._peek()
        end = len(self._text) if name == METADATA_KEY else self._position + MAX_ENTRY_BYTES
        match = _FLAT_OBJECT.match(self._text, self._position, end)
        if match is None:
            raise self._error(f"the entry of {name} is not a plain JSON object")
        self._position = match.end()
        return match.group()

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise self._error(f"the header is not JSON: {str(error)[:80]}") from None

    def _tensor(self, name: str, entry: str, data_start: int) -> StoredTensor:
        fields = self._parse(entry)
        if set(fields) != _FIELDS:
            raise self._error(f"tensor {name} has fields {_shown(sorted(fields))}")
        dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
            raise self._error(f"tensor {name} has unknown dtype {_shown(dtype)}")
        if not _integers(shape) or len(shape) > MAX_DIMENSIONS:
            raise self._error(f"tensor {name} has an impossible shape {_shown(shape)}")
        elements = 1
        for extent in shape:
            elements *= extent
        if elements > MAX_ELEMENTS:
            raise self._error(f"tensor {name} has an impossible shape {_shown(shape)}")
        if not _integers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise self._error(f"tensor {name} has impossible offsets {_shown(offsets)}")
        nbytes = elements * DTYPE_BYTES[dtype]
        if offsets[1] - offsets[0] != nbytes:
            raise self._error(
                f"tensor {name} is {dtype} {list(shape)}, {nbytes} bytes, "
                f"but its offsets hold {offsets[1] - offsets[0]}"
            )
        return StoredTensor(name, dtype, tuple(shape), data_start + offsets[0], nbytes)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _integers(value: object) -> bool:
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item <= MAX_ELEMENTS * 8 for item in value
    )


def _shown(value: object) -> str:
    # A lie may be megabytes long.
    text = repr(value)[:200]
    return text if len(text) < 200 else f"{text[:60]}…"


def _check_ranges(
    path: Path, tensors: Mapping[str, StoredTensor], data_start: int, size: int
) -> None:
    """Every byte of the data belongs to one tensor, as the format promises."""
    end, last = data_start, ""
    for tensor in sorted(tensors.values(), key=lambda item: (item.offset, item.nbytes)):
        if tensor.offset + tensor.nbytes > size:
            raise CheckpointError(
                f"{path}: tensor {tensor.name} ends at byte {tensor.offset + tensor.nbytes}, after "
                f"the end of the file ({size}); the file is truncated or lies"
            )
        if tensor.offset < end:
            raise CheckpointError(f"{path}: tensors {last} and {tensor.name} overlap")
        if tensor.offset > end:
            raise CheckpointError(
                f"{path}: {tensor.offset - end} bytes before tensor {tensor.name} belong to none"
            )
        end, last = tensor.offset + tensor.nbytes, tensor.name
    if end != size:
        raise CheckpointError(f"{path}: {size - end} bytes after the last tensor belong to none")
