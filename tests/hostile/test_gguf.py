"""Ways in which a GGUF header can lie, each beside the smallest file that tells the truth."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType, GGUFValueType

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, string, typed
from transom_compile.sources import limits
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import GgufCheckpoint, StringArray, open_checkpoint

U32, U64_MAX = GGUFValueType.UINT32, 2**64 - 1
STRING, ARRAY = GGUFValueType.STRING, GGUFValueType.ARRAY

Open = Callable[[TinyGguf | bytes], GgufCheckpoint]


@pytest.fixture
def open_bytes(tmp_path: Path) -> Open:
    def open_it(file: TinyGguf | bytes) -> GgufCheckpoint:
        path = tmp_path / "file.gguf"
        path.write_bytes(file if isinstance(file, bytes) else file.to_bytes())
        return open_checkpoint(path)

    return open_it


def array(kind: int, length: int, payload: bytes = b"") -> bytes:
    return typed(ARRAY, struct.pack("<IQ", kind, length) + payload)


def keys(*rows: tuple[str | bytes, object]) -> TinyGguf:
    return TinyGguf(metadata=rows)


def tensors(*rows: TinyTensor, **more: object) -> TinyGguf:
    return TinyGguf(tensors=rows, **more)  # type: ignore[arg-type]


Q4_0 = GGMLQuantizationType.Q4_0

# name: (the lie, what the error says, the smallest truth beside it)
LIES: dict[str, tuple[TinyGguf, str, TinyGguf]] = {
    "magic": (
        TinyGguf(magic=b"GGML"),
        r"is not a GGUF file \(starts with b'GGML'\)",
        TinyGguf(),
    ),
    "lower_case_magic": (TinyGguf(magic=b"gguf"), "is not a GGUF file", TinyGguf()),
    "version_1": (TinyGguf(version=1), "version 1 is not supported", TinyGguf(version=2)),
    "version_4": (TinyGguf(version=4), "version 4 is not supported", TinyGguf(version=3)),
    "big_endian": (TinyGguf(version=3 << 24), "big-endian", TinyGguf()),
    "tensor_count_over_cap": (
        TinyGguf(tensor_count=U64_MAX),
        f"tensor count is {U64_MAX}",
        TinyGguf(tensor_count=0),
    ),
    "tensor_count_over_file": (
        TinyGguf(tensor_count=limits.MAX_TENSORS),
        "name of tensor 0",
        TinyGguf(tensor_count=0),
    ),
    "key_count_over_cap": (
        TinyGguf(key_count=limits.MAX_METADATA_KEYS + 1),
        "metadata key count is",
        TinyGguf(key_count=0),
    ),
    "key_count_over_file": (TinyGguf(key_count=2), "key 0", TinyGguf(key_count=0)),
    "key_length": (
        TinyGguf(key_count=1, tail=struct.pack("<Q", U64_MAX)),
        "length of metadata key 0",
        keys(("k", 1)),
    ),
    "key_empty": (keys(("", 1)), "is '', which is not a name", keys(("k", 1))),
    "key_unprintable": (keys(("k\n", 1)), "which is not a name", keys(("k.é", 1))),
    "key_not_utf8": (keys((b"\xff", 1)), "not valid UTF-8", keys(("ÿ", 1))),
    "key_twice": (keys(("k", 1), ("k", 1)), "k appears twice", keys(("k", 1), ("l", 1))),
    "value_type": (
        keys(("k", typed(13, bytes(8)))),
        "k has unknown value type 13",
        keys(("k", typed(12, bytes(8)))),
    ),
    "value_type_huge": (keys(("k", typed(2**32 - 1, b""))), "unknown value type", keys(("k", 1))),
    "bool_two": (
        keys(("k", typed(7, b"\2"))),
        "k is neither true nor false",
        keys(("k", typed(7, b"\1"))),
    ),
    "string_over_cap": (
        keys(("k", typed(STRING, struct.pack("<Q", limits.MAX_STRING_BYTES + 1)))),
        "length of k",
        keys(("k", "")),
    ),
    "string_over_file": (
        keys(("k", typed(STRING, struct.pack("<Q", 9) + b"12345678"))),
        "k needs 9 bytes but only 8 are left",
        keys(("k", "12345678")),
    ),
    "string_not_utf8": (
        keys(("k", typed(STRING, string(b"\xc3\x28")))),
        "k is not valid UTF-8",
        keys(("k", "(")),
    ),
    "array_length_over_cap": (
        keys(("k", array(U32, limits.MAX_ARRAY_LENGTH + 1))),
        "length of array k",
        keys(("k", array(U32, 0))),
    ),
    "array_length_over_file": (
        keys(("k", array(U32, 2, bytes(4)))),
        "array k needs 8 bytes",
        keys(("k", array(U32, 1, bytes(4)))),
    ),
    "strings_over_file": (
        keys(("k", array(STRING, 2, string("")))),
        "array k of 2 strings is longer",
        keys(("k", array(STRING, 1, string("")))),
    ),
    "string_in_array_over_cap": (
        keys(("k", array(STRING, 1, struct.pack("<Q", U64_MAX)))),
        "length of a string in k",
        keys(("k", array(STRING, 1, string("a")))),
    ),
    "nested_array": (
        keys(("k", array(ARRAY, 1, array(U32, 0)))),
        "k nests arrays",
        keys(("k", array(U32, 0))),
    ),
    "array_item_type": (
        keys(("k", array(99, 1, bytes(4)))),
        "items of k|k has unknown value type 99",
        keys(("k", array(U32, 1, bytes(4)))),
    ),
    "bools_of_two": (
        keys(("k", array(7, 2, b"\1\2"))),
        "neither true nor false",
        keys(("k", array(7, 2, b"\1\0"))),
    ),
    "alignment_zero": (
        keys(("general.alignment", 0)),
        "general.alignment is 0",
        keys(("general.alignment", 1)),
    ),
    "alignment_odd": (
        keys(("general.alignment", 48)),
        "general.alignment is 48",
        keys(("general.alignment", 64)),
    ),
    "alignment_huge": (
        keys(("general.alignment", limits.MAX_ALIGNMENT * 2)),
        "not a power of two up to",
        keys(("general.alignment", limits.MAX_ALIGNMENT)),
    ),
    "alignment_text": (
        keys(("general.alignment", "32")),
        "general.alignment is not an integer",
        keys(("general.alignment", 32)),
    ),
    "tensor_name_long": (
        tensors(TinyTensor("n" * (limits.MAX_TENSOR_NAME_BYTES + 1))),
        "length of name of tensor 0",
        tensors(TinyTensor("n" * limits.MAX_TENSOR_NAME_BYTES)),
    ),
    "tensor_name_unprintable": (
        tensors(TinyTensor("a\x1b[2J")),
        "which is not a name",
        tensors(TinyTensor("a")),
    ),
    "tensor_twice": (
        tensors(TinyTensor("a"), TinyTensor("a")),
        "tensor a appears twice",
        tensors(TinyTensor("a"), TinyTensor("b")),
    ),
    "no_dimensions": (
        tensors(TinyTensor(dims=())),
        "has 0 dimensions",
        tensors(TinyTensor(dims=(4,))),
    ),
    "five_dimensions": (
        tensors(TinyTensor(dims=(1, 1, 1, 1, 4))),
        "has 5 dimensions",
        tensors(TinyTensor(dims=(1, 1, 1, 4))),
    ),
    "dimension_zero": (
        tensors(TinyTensor(dims=(4, 0))),
        "impossible shape",
        tensors(TinyTensor(dims=(4, 1))),
    ),
    "dimension_max": (
        tensors(TinyTensor(dims=(U64_MAX,))),
        "impossible shape",
        tensors(TinyTensor(dims=(4,))),
    ),
    "dimensions_overflow": (
        tensors(TinyTensor(dims=(2**32, 2**32))),
        "impossible shape",
        tensors(TinyTensor(dims=(2, 2))),
    ),
    "block_type": (
        tensors(TinyTensor(kind=9999)),
        "unknown GGML type 9999",
        tensors(TinyTensor(kind=0)),
    ),
    "partial_block": (
        tensors(TinyTensor(dims=(33,), kind=Q4_0, data=bytes(36))),
        "not a multiple of Q4_0's block of 32",
        tensors(TinyTensor(dims=(32,), kind=Q4_0, data=bytes(18))),
    ),
    "offset_unaligned": (
        tensors(TinyTensor(offset=1, data=bytes(64))),
        "offset 1, not a multiple of 32",
        tensors(TinyTensor(offset=32, data=bytes(64))),
    ),
    "offset_past_end": (
        tensors(TinyTensor(offset=2**40)),
        "after the end of the file",
        tensors(TinyTensor(offset=0)),
    ),
    "offset_max": (
        tensors(TinyTensor(offset=U64_MAX - 31)),
        "after the end of the file",
        tensors(TinyTensor(offset=0)),
    ),
    "overlap": (
        tensors(TinyTensor("a", offset=0), TinyTensor("b", offset=0)),
        "tensors a and b overlap",
        tensors(TinyTensor("a", offset=0), TinyTensor("b", offset=32)),
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_refuses_the_lie_and_takes_the_truth(lie: str, open_bytes: Open) -> None:
    false, message, true = LIES[lie]
    with pytest.raises(CheckpointError, match=message) as caught:
        open_bytes(false)
    assert "\n" not in str(caught.value)
    assert "file.gguf" in str(caught.value)
    open_bytes(true)


def test_a_long_lie_is_told_in_short(open_bytes: Open) -> None:
    """Found by mutation: a name of a page came back as four pages of escapes."""
    with pytest.raises(CheckpointError, match="which is not a name") as caught:
        open_bytes(keys(("\0" * 4000, 1)))
    assert len(str(caught.value)) < 1000


def test_refuses_a_file_cut_off_anywhere(open_bytes: Open) -> None:
    whole = TinyGguf(
        metadata=[("a", 1), ("b", ["x", "yz"]), ("c", [1, 2])],
        tensors=[TinyTensor("t", dims=(4, 2), data=bytes(32))],
    ).to_bytes()
    open_bytes(whole)
    for length in range(len(whole)):
        with pytest.raises(CheckpointError):
            open_bytes(whole[:length])


def test_names_an_empty_and_a_missing_file(open_bytes: Open, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a GGUF file \(it is empty\)"):
        open_bytes(b"")
    with pytest.raises(CheckpointError, match=r"cannot open .*No such file"):
        open_checkpoint(tmp_path / "nothing.gguf")
    with pytest.raises(CheckpointError, match=r"cannot open .*directory"):
        open_checkpoint(tmp_path)


def test_bad_utf8_in_an_array_is_named_when_it_is_read(open_bytes: Open) -> None:
    payload = string("good") + string(b"\xff")
    checkpoint = open_bytes(keys(("k", array(STRING, 2, payload))))
    words = checkpoint.metadata["k"]
    assert isinstance(words, StringArray)
    assert words[0] == "good"
    with pytest.raises(CheckpointError, match=r"k\[1\] is not valid UTF-8"):
        list(words)


def test_any_flipped_byte_gives_an_error_or_a_checkpoint(open_bytes: Open) -> None:
    """No other exception, no endless loop, no huge allocation, whatever one byte becomes."""
    whole = TinyGguf(
        metadata=[("general.alignment", 32), ("b", ["x", "yz"]), ("c", [1, 2]), ("d", True)],
        tensors=[TinyTensor("t", dims=(32, 2), kind=Q4_0, data=bytes(36))],
    ).to_bytes()
    refused = 0
    for position in range(len(whole) - 64):
        for flip in (0x01, 0x80, 0xFF):
            broken = bytearray(whole)
            broken[position] ^= flip
            try:
                open_bytes(bytes(broken))
            except CheckpointError:
                refused += 1
    assert refused > 100
