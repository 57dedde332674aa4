"""What a GGUF file says of itself: its header, read with caps, its weights never.

Files come from anybody. Every number in one is compared with the caps below and with the size of
the file before anything is kept or skipped, so memory and time follow what is there, never what is
claimed. Little-endian GGUF version 2 and 3 (ggml `docs/gguf.md`). The compiler has a reader of its
own over a mapped file; this one reads any seekable stream, so that a store in a bucket is asked
for the header alone. Knows no store and no manifest.
"""

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from transom_models.errors import TransomError
from transom_models.ggml_types import FILE_TYPES, GGML_TYPES, GgmlType
from transom_models.licence import stated_licence
from transom_models.native_config import NativeFacts

# Vocabularies and merge lists of published models take up to 25 MB of header.
MAX_HEADER_BYTES: Final = 128 * 1024 * 1024
# Specification: "up to 2^16-1 bytes".
MAX_KEY_BYTES: Final = 65_535
# ggml itself refuses names of 64 bytes and more; builds that raise its limit use 128.
MAX_TENSOR_NAME_BYTES: Final = 128
# The longest real strings are licences and chat templates, tens of kilobytes.
MAX_STRING_BYTES: Final = 4 * 1024 * 1024
# Real files hold 20 to 60 keys; per-layer notes of merge tools reach some hundreds.
MAX_KEYS: Final = 16_384
# Vocabularies reach 262 144 tokens, merge lists about twice that.
MAX_ARRAY_ITEMS: Final = 4 * 1024 * 1024
# A mixture of experts stored one tensor per expert stays below 50 000.
MAX_TENSORS: Final = 131_072
# ggml's GGML_MAX_DIMS.
MAX_DIMENSIONS: Final = 4
# 2^48 elements are more than any file holds.
MAX_ELEMENTS: Final = 1 << 48
# Default is 32; a huge page is the largest with any use.
MAX_ALIGNMENT: Final = 2 * 1024 * 1024

_CHUNK_BYTES: Final = 1024 * 1024
# An error shows what was found, not a page of it.
_SHOWN_CHARS: Final = 80
_STRING: Final = 8
_ARRAY: Final = 9
_BOOL: Final = 7
# GGUF's value types, by number; strings and arrays are read by their own rules.
_SCALARS: Final = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    _BOOL: struct.Struct("<B"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32: Final = _SCALARS[4]
_U64: Final = _SCALARS[10]

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ArrayValue:
    """An array of the metadata. `items` has the first ones, as many as the reader was asked for."""

    length: int
    items: Sequence[Scalar] = ()


MetadataValue = Scalar | ArrayValue


class InvalidGguf(TransomError):
    """The file is not the GGUF that it says it is. Names the file, the thing and the byte."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. `shape` in GGUF order, the contiguous axis first."""

    name: str
    type: GgmlType
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements // self.type.elements * self.type.block_bytes


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """A checked header. Values have the types of the file; keys with other types read as absent."""

    metadata: Mapping[str, MetadataValue] = field(hash=False)
    tensors: tuple[Tensor, ...]

    def text(self, key: str) -> str | None:
        """A string that is not empty, or None."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) and value else None

    def integer(self, key: str) -> int | None:
        """A whole number that is not negative, or None."""
        value = self.metadata.get(key)
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return value if is_count else None  # type: ignore[return-value]

    @property
    def architecture(self) -> str | None:
        return self.text("general.architecture")

    @property
    def kind(self) -> str:
        """ "model", "adapter" or "projector" (the image encoder beside a model)."""
        if self.architecture == "clip":
            return "projector"
        return "adapter" if self.text("general.type") == "adapter" else "model"

    @property
    def template(self) -> str | None:
        """The chat template, Jinja."""
        return self.text("tokenizer.chat_template")

    @property
    def licence(self) -> str | None:
        """The id as stated."""
        return stated_licence(self.metadata)

    @property
    def parameter_count(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def histogram(self) -> list[tuple[str, int]]:
        """Block types of the tensors, most frequent first."""
        counts = Counter(tensor.type.name for tensor in self.tensors)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def file_type(self) -> str:
        """The scheme's name as the file states it; else the block type that most bytes are in."""
        named = FILE_TYPES.get(self.integer("general.file_type") or 0)
        if named is not None and "general.file_type" in self.metadata:
            return named
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[tensor.type.name] += tensor.size_bytes
        return min(sizes, key=lambda name: (-sizes[name], name), default="unknown")

    def native(self, requires: str | None = None) -> NativeFacts:
        """What the config blob of a native platform says of this file."""
        name = self.architecture or "unknown"
        return NativeFacts(
            architecture=name,
            parameter_count=self.parameter_count,
            file_type=self.file_type,
            context_length=self.integer(f"{name}.context_length"),
            embedding_length=self.integer(f"{name}.embedding_length"),
            requires=requires,
        )


def read_gguf(file: BinaryIO, size: int, name: str, most_items: int = 0) -> GgufFacts:
    """Read the header of a file of `size` bytes; `name` is what errors call it.

    Of arrays the first `most_items` are kept. Raises `InvalidGguf`.
    """
    reader = _Reader(file, size, name)
    tensor_count = _read_start(reader)
    key_count = reader.count("metadata key count", MAX_KEYS)
    metadata: dict[str, MetadataValue] = {}
    for index in range(key_count):
        key = reader.name(f"metadata key {index}", MAX_KEY_BYTES)
        if key in metadata:
            raise reader.error(f"metadata key {key!r:.80} appears twice")
        metadata[key] = _read_value(reader, key, most_items)
    alignment = metadata.get("general.alignment", 32)
    if (
        not isinstance(alignment, int)
        or isinstance(alignment, bool)
        or not 1 <= alignment <= MAX_ALIGNMENT
        or alignment & (alignment - 1)
    ):
        raise reader.error(f"general.alignment is not a power of two up to {MAX_ALIGNMENT}")
    tensors = _read_tensors(reader, tensor_count, alignment)
    facts = GgufFacts(metadata, tensors)
    if (parts := facts.integer("split.count") or 1) > 1:
        raise InvalidGguf(
            f"{name} is one of {parts} parts; join them first, with llama-gguf-split --merge"
        )
    return facts


def _read_start(reader: "_Reader") -> int:
    """Magic, version and the number of tensors."""
    magic = reader.bytes(min(4, reader.size), "magic")
    if magic != b"GGUF":
        raise InvalidGguf(f"{reader.file_name} is not a GGUF file (it starts with {magic!r})")
    version = reader.u32("version")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        if swapped in (2, 3):
            raise reader.error("big-endian GGUF is not supported; convert the model again")
        raise reader.error(f"GGUF version {version} is not supported, only 2 and 3")
    return reader.count("tensor count", MAX_TENSORS)


def _read_value(reader: "_Reader", key: str, most_items: int) -> MetadataValue:
    kind = reader.u32(f"type of {key:.80}")
    if kind != _ARRAY:
        return _read_scalar(reader, key, kind)
    kind = reader.u32(f"item type of {key:.80}")
    if kind == _ARRAY:
        raise reader.error(f"{key:.80} nests arrays, which llama.cpp refuses too")
    length = reader.count(f"length of array {key:.80}", MAX_ARRAY_ITEMS)
    kept = min(length, most_items)
    # An item has at least its length field, or its bytes: a lie ends here, before any loop.
    least = _U64.size if kind == _STRING else _scalar(reader, key, kind).size
    reader.require(length * least, f"array {key:.80} of {length} items")
    items = tuple(_read_scalar(reader, key, kind) for _ in range(kept))
    if kind == _STRING:
        reader.skip_strings(length - kept, key)
    else:
        reader.skip((length - kept) * least, f"array {key:.80}")
    return ArrayValue(length, items)


def _read_scalar(reader: "_Reader", key: str, kind: int) -> Scalar:
    if kind == _STRING:
        return reader.string(f"{key:.80}", MAX_STRING_BYTES)
    value: int | float = reader.unpack(_scalar(reader, key, kind), f"{key:.80}")
    if kind != _BOOL:
        return value
    if value > 1:
        raise reader.error(f"{key:.80} is neither true nor false")
    return bool(value)


def _scalar(reader: "_Reader", key: str, kind: int) -> struct.Struct:
    if kind not in _SCALARS:
        raise reader.error(f"{key:.80} has the unknown value type {kind}")
    return _SCALARS[kind]


def _read_tensors(reader: "_Reader", count: int, alignment: int) -> tuple[Tensor, ...]:
    rows = [_read_tensor(reader, index, alignment) for index in range(count)]
    if len({tensor.name for tensor, _ in rows}) != len(rows):
        raise reader.error("two tensors have one name")
    start = -(-reader.position // alignment) * alignment
    end, before = 0, ""
    for tensor, offset in sorted(rows, key=lambda row: (row[1], row[0].size_bytes)):
        if offset < end:
            raise InvalidGguf(f"{reader.file_name}: tensors {before} and {tensor.name} overlap")
        end, before = offset + tensor.size_bytes, tensor.name
        if start + end > reader.size:
            raise InvalidGguf(
                f"{reader.file_name}: tensor {tensor.name} ends at byte {start + end}, after the "
                f"end of the file ({reader.size} bytes); the file is truncated or lies"
            )
    return tuple(tensor for tensor, _ in rows)


def _read_tensor(reader: "_Reader", index: int, alignment: int) -> tuple[Tensor, int]:
    """A row of the table, and where its bytes begin, counted from the start of the data."""
    name = reader.name(f"name of tensor {index}", MAX_TENSOR_NAME_BYTES)
    rank = reader.u32(f"dimension count of {name}")
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise reader.error(f"tensor {name} has {rank} dimensions, not 1 to {MAX_DIMENSIONS}")
    shape = tuple(reader.u64(f"dimension of {name}") for _ in range(rank))
    number = reader.u32(f"type of {name}")
    kind = GGML_TYPES.get(number)
    if kind is None:
        raise reader.error(f"tensor {name} has the unknown GGML type {number}")
    tensor = Tensor(name, kind, shape)
    if not 1 <= tensor.elements <= MAX_ELEMENTS or shape[0] % kind.elements:
        raise reader.error(f"tensor {name} has the impossible shape {list(shape)} for {kind.name}")
    offset = reader.u64(f"offset of {name}")
    if offset % alignment:
        raise reader.error(f"tensor {name} has offset {offset}, not a multiple of {alignment}")
    return tensor, offset


class _Reader:
    """A position in a stream that never passes the end of the file or of what a header may be."""

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file_name = name
        self.size = size
        self.position = 0
        self._file = file
        self._data = bytearray()

    def error(self, problem: str) -> InvalidGguf:
        return InvalidGguf(f"{self.file_name}: {problem} (at byte {self.position})")

    def require(self, count: int, what: str) -> None:
        """Raise unless so many bytes can follow; reads nothing."""
        if count > self.size - self.position:
            raise self.error(
                f"{what} needs {count} bytes but only {self.size - self.position} are left; "
                "the file is truncated or lies"
            )
        if self.position + count > MAX_HEADER_BYTES:
            raise self.error(f"{what} makes the header larger than {MAX_HEADER_BYTES} bytes")

    def skip(self, count: int, what: str) -> int:
        """Step over bytes, which are in memory then; gives where they begin."""
        self.require(count, what)
        start, self.position = self.position, self.position + count
        while len(self._data) < self.position:
            piece = self._file.read(_CHUNK_BYTES)
            if not piece:
                raise self.error(f"{what}: the file ends before its size of {self.size} bytes")
            self._data += piece
        return start

    def bytes(self, count: int, what: str) -> bytes:
        start = self.skip(count, what)
        return bytes(self._data[start : self.position])

    def unpack(self, kind: struct.Struct, what: str) -> int | float:
        start = self.skip(kind.size, what)
        value: int | float = kind.unpack_from(self._data, start)[0]
        return value

    def u32(self, what: str) -> int:
        return int(self.unpack(_U32, what))

    def u64(self, what: str) -> int:
        return int(self.unpack(_U64, what))

    def count(self, what: str, cap: int) -> int:
        value = self.u64(what)
        if value > cap:
            raise self.error(f"{what} is {value}, more than the {cap} that Transom accepts")
        return value

    def string(self, what: str, cap: int) -> str:
        size = self.count(f"length of {what}", cap)
        try:
            return self.bytes(size, what).decode()
        except UnicodeDecodeError:
            raise self.error(f"{what} is not valid UTF-8") from None

    def name(self, what: str, cap: int) -> str:
        """A string that people will see: visible characters only."""
        text = self.string(what, cap)
        if not text or not text.isprintable():
            raise self.error(f"{what} is {text!r:.{_SHOWN_CHARS}}, which is not a name")
        return text

    def skip_strings(self, count: int, key: str) -> None:
        """Step over strings: a vocabulary has hundreds of thousands that nobody asked for."""
        unpack, size, what = _U64.unpack_from, _U64.size, f"a string of {key:.80}"
        for _ in range(count):
            start = self.position
            if start + size > len(self._data):
                self.skip(size, what)
            else:
                self.position = start + size
            length = unpack(self._data, start)[0]
            if length > MAX_STRING_BYTES:
                raise self.error(f"{what} has {length} bytes, more than {MAX_STRING_BYTES}")
            if self.position + length > len(self._data):
                self.skip(length, what)
            else:
                self.position += length
