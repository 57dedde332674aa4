"""Headers that lie, made by the thousand: valid GGUF and safetensors files with their fields bent.

A file is a list of fields (a count, a length, a type, a name, …), so that a mutation hits what a
reader follows, not a random byte. One seed gives one file, always the same. Knows both formats
from their specifications, not from our readers.
"""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Where integers break: nothing, one, sign bits, words, and all of them at once.
EDGES = (0, 1, 2, 3, 7, 31, 32, 33, 255, 2**15, 2**16, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
EDGES += (2**32, 2**40, 2**48, 2**48 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1)
TEXTS = (b"", b"\0", b"\n", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", "\u202e".encode(), b"a" * 70)
TEXTS += (b"../../x", b"\x1b[2J", "\U0010ffff".encode(), b"n" * 5000)
KEYS = (b"general.alignment", b"general.architecture", b"k")
U8, U32, STRING, ARRAY = 0, 4, 8, 9
# Sizes of GGUF's scalar types; strings and arrays have none.
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# How many lies a file has: mostly one, so that it is met with all else in order.
LIES = (0, *[1] * 13, *[2] * 3, 3, 3, 4)
# Depth of arrays in arrays; more than any recursion could stand.
DEEPEST = 20_000
# Items of a long list; the file grows by eight bytes for each.
LONGEST = 20_000


@dataclass(slots=True)
class Field:
    """One thing in a header. `kind`: "u32", "u64", "text", "bytes"; an integer or bytes."""

    kind: str
    value: Any

    def to_bytes(self) -> bytes:
        if self.kind == "u32":
            return struct.pack("<I", self.value & 0xFFFFFFFF)
        if self.kind == "u64":
            return struct.pack("<Q", self.value & 0xFFFFFFFFFFFFFFFF)
        return bytes(self.value)


def gguf_case(seed: int) -> bytes:
    """A GGUF file with up to four lies in it; one in twenty has none."""
    chance = random.Random(seed)
    fields = _gguf_fields(chance)
    lies = chance.choice(LIES)
    for _ in range(lies):
        chance.choice(_GGUF_LIES)(chance, fields)
    data = b"".join(field.to_bytes() for field in fields)
    return _cut(chance, data) if lies else data


def _gguf_fields(chance: random.Random) -> list[Field]:
    """A small file with every kind of value, and tensors of a few types."""
    alignment = chance.choice([32, 32, 64])
    keys: list[tuple[bytes, list[Field]]] = [
        (b"general.architecture", _text_value(b"llama")),
        (b"general.alignment", _scalar_value(U32, struct.pack("<I", alignment))),
        (b"words", _strings([b"a", "\u00e9".encode(), b"", b"longer"])),
        (b"numbers", _array(5, 3, struct.pack("<3i", 1, -2, 3))),
        (b"flags", _array(7, 2, b"\0\1")),
        (b"empty", _array(6, 0, b"")),
    ]
    keys += [
        (b"s%d" % kind, _scalar_value(kind, b"\1" + bytes(size - 1)))
        for kind, size in SCALARS.items()
    ]
    chance.shuffle(keys)
    # (GGML type, dims with the contiguous one first, bytes)
    tensors = [
        (0, (4,), 16),
        (2, (32, 2), 36),
        (8, (32,), 34),
        (12, (256, 2), 288),
        (30, (8, 3), 48),
    ]
    fields = [
        Field("bytes", b"GGUF"),
        Field("u32", chance.choice([2, 3])),
        Field("u64", len(tensors)),
        Field("u64", len(keys)),
    ]
    for key, value in keys:
        fields += [*_string(key), *value]
    offset, data = 0, b""
    for number, (kind, dims, size) in enumerate(tensors):
        fields += [*_string(b"blk.%d.w" % number), Field("u32", len(dims))]
        fields += [Field("u64", extent) for extent in dims]
        fields += [Field("u32", kind), Field("u64", offset)]
        data += bytes(size) + bytes(-size % alignment)
        offset = len(data)
    header = sum(len(field.to_bytes()) for field in fields)
    return [*fields, Field("bytes", bytes(-header % alignment)), Field("bytes", data)]


def _string(text: bytes) -> list[Field]:
    return [Field("u64", len(text)), Field("text", text)]


def _text_value(text: bytes) -> list[Field]:
    return [Field("u32", STRING), *_string(text)]


def _scalar_value(kind: int, data: bytes) -> list[Field]:
    return [Field("u32", kind), Field("bytes", data)]


def _array(kind: int, length: int, data: bytes) -> list[Field]:
    return [Field("u32", ARRAY), Field("u32", kind), Field("u64", length), Field("bytes", data)]


def _strings(texts: list[bytes]) -> list[Field]:
    items = [field for text in texts for field in _string(text)]
    return [*_array(STRING, len(texts), b""), *items]


def _integer(chance: random.Random, fields: list[Field]) -> None:
    """A count, length, type, dimension or offset becomes another number."""
    field = chance.choice([field for field in fields if field.kind in {"u32", "u64"}])
    size = sum(len(item.to_bytes()) for item in fields)
    near = [field.value + 1, field.value - 1, field.value * 2, size, size - 8, size + 1]
    field.value = chance.choice([*EDGES, *near, chance.getrandbits(64)])


def _text(chance: random.Random, fields: list[Field]) -> None:
    """A name or string becomes another text, its length told truly or not."""
    places = [place for place, field in enumerate(fields) if field.kind == "text"]
    place = chance.choice(places)
    fields[place].value = chance.choice([*TEXTS, *KEYS])
    if chance.random() < 0.7:
        fields[place - 1].value = len(fields[place].value)


def _copy(chance: random.Random, fields: list[Field]) -> None:
    """Some fields come twice: a key, a tensor, half of one."""
    start = chance.randrange(len(fields))
    part = [Field(f.kind, f.value) for f in fields[start : start + chance.randint(1, 8)]]
    fields[start:start] = part
    if chance.random() < 0.5:
        count = chance.choice(fields[2:4])
        if isinstance(count.value, int):
            count.value += 1


def _remove(chance: random.Random, fields: list[Field]) -> None:
    start = chance.randrange(len(fields))
    if len(fields) > 12:
        del fields[start : start + chance.randint(1, 6)]


def _swap(chance: random.Random, fields: list[Field]) -> None:
    one, other = chance.randrange(len(fields)), chance.randrange(len(fields))
    fields[one], fields[other] = fields[other], fields[one]


def _bits(chance: random.Random, fields: list[Field]) -> None:
    """Some bytes of any field."""
    place = chance.randrange(len(fields))
    data = bytearray(fields[place].to_bytes())
    for _ in range(chance.randint(1, 4)):
        if data:
            data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
    fields[place] = Field("bytes", bytes(data))


def _nested(chance: random.Random, fields: list[Field]) -> None:
    """A key whose value is arrays in arrays, a few deep or thousands."""
    depth = chance.choice([1, 2, 3, 64, 1000, DEEPEST])
    level = struct.pack("<IQ", ARRAY, chance.choice([1, 1, 2, 2**40]))
    data = struct.pack("<I", ARRAY) + level * depth + struct.pack("<IQ", U8, 0)
    _new_key(chance, fields, [Field("bytes", data)])


def _long(chance: random.Random, fields: list[Field]) -> None:
    """A key whose value is very many small things."""
    count = chance.randint(1, LONGEST)
    told = chance.choice([count, count, count + 1, count * 2, 2**22, 2**22 + 1, 2**32])
    if chance.random() < 0.5:
        value = _array(STRING, told, bytes(8 * count))
    else:
        kind = chance.choice(list(SCALARS))
        value = _array(kind, told, bytes(SCALARS[kind] * count))
    _new_key(chance, fields, value)


def _new_key(chance: random.Random, fields: list[Field], value: list[Field]) -> None:
    fields[4:4] = [*_string(b"new%d" % chance.randrange(4)), *value]
    if chance.random() < 0.9 and isinstance(fields[3].value, int):
        fields[3].value += 1


def _alignment(chance: random.Random, fields: list[Field]) -> None:
    """The alignment key with another value or type."""
    for place, field in enumerate(fields[:-3]):
        if field.kind == "text" and field.value == b"general.alignment":
            value = chance.choice([0, 1, 3, 8, 4096, 2**21, 2**22, 2**31, 2**32 - 1])
            fields[place + 2] = Field("bytes", struct.pack("<I", value))
            if chance.random() < 0.2:
                fields[place + 1] = Field("u32", chance.randrange(14))
            return


_GGUF_LIES: tuple[Callable[[random.Random, list[Field]], None], ...] = (
    _integer,
    _integer,
    _integer,
    _text,
    _copy,
    _remove,
    _swap,
    _bits,
    _nested,
    _long,
    _alignment,
)


def _cut(chance: random.Random, data: bytes) -> bytes:
    """Often as it is; at times cut off, or with something behind."""
    way = chance.random()
    if way < 0.1:
        return data[: chance.randrange(len(data) + 1)]
    if way < 0.15:
        return data + bytes(chance.randint(1, 64))
    return data


Entry = tuple[str, Any]


def safetensors_case(seed: int) -> bytes:
    """A safetensors file with up to four lies in its header; one in twenty has none."""
    chance = random.Random(seed)
    entries, size = _safetensors_entries(chance)
    lies = chance.choice(LIES)
    for _ in range(lies):
        chance.choice(_SAFETENSORS_LIES)(chance, entries)
    header = _object(entries).encode("utf-8", "surrogatepass")
    header = _spoil(chance, header) if lies else header
    length = len(header)
    if lies and chance.random() < 0.15:
        length = chance.choice([*EDGES, length - 1, length + 1, length + size]) & (2**64 - 1)
    data = struct.pack("<Q", length) + header + bytes(size)
    return _cut(chance, data) if lies else data


def index_case(seed: int) -> bytes:
    """A `model.safetensors.index.json` with lies; the true one maps "a" to one.safetensors."""
    chance = random.Random(seed)
    names = ["one.safetensors", "two.safetensors", "../one.safetensors", "", "\0", "a/b", "."]
    weights: list[Entry] = [("a", "one.safetensors")]
    for _ in range(chance.randint(0, 3)):
        value = chance.choice([chance.choice(names), *_odd_values(chance)])
        weights.append((chance.choice(["a", "b", "", "\ud800", "n" * 600]), value))
    chance.shuffle(weights)
    outer: list[Entry] = [("metadata", {"total_size": 4}), ("weight_map", _Raw(_object(weights)))]
    if chance.random() < 0.3:
        outer[1] = ("weight_map", chance.choice(_odd_values(chance)))
    data = _object(outer).encode("utf-8", "surrogatepass")
    return _cut(chance, _spoil(chance, data))


class _Raw(str):
    """JSON text that stands for itself, so that an object can have a key twice."""


def _object(entries: list[Entry]) -> str:
    parts = []
    for key, value in entries:
        text = str(value) if isinstance(value, _Raw) else json.dumps(value, ensure_ascii=False)
        name = str(key) if isinstance(key, _Raw) else json.dumps(key, ensure_ascii=False)
        parts.append(f"{name}:{text}")
    return "{" + ",".join(parts) + "}"


def _safetensors_entries(chance: random.Random) -> tuple[list[Entry], int]:
    entries: list[Entry] = []
    if chance.random() < 0.5:
        entries.append(("__metadata__", {"format": "pt", "note": "{ \u00e9"}))
    offset = 0
    for number, (dtype, shape, size) in enumerate(
        [("F32", [4], 16), ("BF16", [2, 3], 12), ("F16", [3], 6), ("I64", [], 8), ("U8", [0], 0)]
    ):
        span = [offset, offset + size]
        entries.append((f"t.{number}", {"dtype": dtype, "shape": shape, "data_offsets": span}))
        offset += size
    return entries, offset


def _odd_values(chance: random.Random) -> list[Any]:
    depth = chance.choice([1, 3, 500, DEEPEST])
    return [
        None,
        True,
        -1,
        0.5,
        "",
        "x" * 5000,
        [],
        {},
        {"a": {"b": 1}},
        chance.choice(EDGES),
        _Raw("9" * chance.choice([30, 5000])),
        _Raw("NaN"),
        _Raw("1e999"),
        _Raw("[" * depth + "]" * depth),
        _Raw('{"a":' * depth + "1" + "}" * depth),
        _Raw("[" + "0," * LONGEST + "0]"),
        _Raw("[" + "{}," * LONGEST + "{}]"),
        _Raw('"' + "\\" * LONGEST + '"'),
        _Raw('"\\ud800"'),
    ]


def _some_tensor(chance: random.Random, entries: list[Entry]) -> int | None:
    places = [place for place, (_, value) in enumerate(entries) if type(value) is dict and value]
    return chance.choice(places) if places else None


def _number_lie(chance: random.Random, entries: list[Entry]) -> None:
    """An extent or an offset."""
    place = _some_tensor(chance, entries)
    if place is None:
        return
    fields = dict(entries[place][1])
    lists = [key for key in fields if isinstance(fields[key], list) and fields[key]]
    if lists:
        key = chance.choice(lists)
        values = list(fields[key])
        at = chance.randrange(len(values))
        odd = chance.choice([*EDGES, *_odd_values(chance)])
        values[at] = odd if not isinstance(odd, _Raw) else 2**70
        if chance.random() < 0.2:
            values = values * chance.choice([2, 5, 500])
        entries[place] = (entries[place][0], {**fields, key: values})


def _field_lie(chance: random.Random, entries: list[Entry]) -> None:
    """A field with another value, gone, twice, or more than there should be."""
    place = _some_tensor(chance, entries)
    if place is None:
        return
    name, fields = entries[place]
    inner = list(fields.items())
    at = chance.randrange(len(inner))
    match chance.randrange(5):
        case 0:
            inner[at] = (inner[at][0], chance.choice(_odd_values(chance)))
        case 1:
            del inner[at]
        case 2:
            inner.append(inner[at])
        case 3:
            inner.append(("extra", chance.choice(_odd_values(chance))))
        case _:
            dtypes = ["F32", "F64", "f32", "Q4_0", "", "F8_E4M3", "BOOL", "C64", "U64"]
            inner[0] = (inner[0][0], chance.choice(dtypes))
    entries[place] = (name, _Raw(_object(inner)))


def _name_lie(chance: random.Random, entries: list[Entry]) -> None:
    place = chance.randrange(len(entries)) if entries else 0
    names: list[str] = [text.decode("utf-8", "surrogateescape") for text in TEXTS]
    names += ["t.0", "__metadata__", "\ud800", _Raw('"\\u0000"'), _Raw('"' + "\\u0061" * 600 + '"')]
    if entries:
        entries[place] = (chance.choice(names), entries[place][1])


def _value_lie(chance: random.Random, entries: list[Entry]) -> None:
    """A whole entry becomes something else."""
    if entries:
        place = chance.randrange(len(entries))
        entries[place] = (entries[place][0], chance.choice(_odd_values(chance)))


def _copy_entry(chance: random.Random, entries: list[Entry]) -> None:
    if entries:
        entries.append(chance.choice(entries))


def _drop_entry(chance: random.Random, entries: list[Entry]) -> None:
    if entries:
        del entries[chance.randrange(len(entries))]


def _many_entries(chance: random.Random, entries: list[Entry]) -> None:
    for number in range(chance.choice([1, 100, 3000])):
        span = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        entries.append((f"m.{number}", span))


_SAFETENSORS_LIES: tuple[Callable[[random.Random, list[Entry]], None], ...] = (
    _number_lie,
    _number_lie,
    _number_lie,
    _field_lie,
    _field_lie,
    _name_lie,
    _value_lie,
    _copy_entry,
    _drop_entry,
    _many_entries,
)


def _spoil(chance: random.Random, text: bytes) -> bytes:
    """Often as it is; at times with bytes changed, spaces around, or something more."""
    way = chance.random()
    if way < 0.1 and text:
        spoiled = bytearray(text)
        for _ in range(chance.randint(1, 4)):
            spoiled[chance.randrange(len(spoiled))] = chance.choice(b'{}[]",:\\\0\xff 0')
        return bytes(spoiled)
    if way < 0.2:
        return text + b" " * chance.choice([1, 7, 5000])
    if way < 0.25:
        return text + chance.choice([b"}", b"{}", b"x", b"\0", b",", b'"'])
    if way < 0.28:
        return chance.choice([b" ", b"\xef\xbb\xbf", b"[", b"\n\n"]) + text
    return text
