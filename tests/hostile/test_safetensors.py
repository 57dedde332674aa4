"""Ways in which a safetensors file or its index can lie, each beside the smallest true one."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transom_compile.hub import safetensors
from transom_compile.hub.folder import INDEX, WEIGHTS, Weights, open_weights
from transom_compile.sources.checkpoint import CheckpointError

F32 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


def packed(header: Any, data: int = 16, length: int | None = None) -> bytes:
    """A file: `header` as JSON (or text as it is) before `data` bytes of zeros."""
    text = header if isinstance(header, bytes | str) else json.dumps(header)
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw) if length is None else length) + raw + bytes(data)


def one(**fields: Any) -> bytes:
    return packed({"a": {**F32, **fields}})


GOOD = packed({"a": F32})
PAIR = {"a": F32, "b": {**F32, "data_offsets": [16, 32]}}

# name: (the lie, what the error says, the smallest truth beside it)
LIES: dict[str, tuple[bytes, str, bytes]] = {
    "empty": (b"", "has no header", packed({}, 0)),
    "header_length_over_cap": (
        packed({}, 0, safetensors.MAX_HEADER_BYTES + 1),
        "header length is",
        packed({}, 0),
    ),
    "header_length_over_file": (packed({"a": F32}, 16, 999), "truncated or lies", GOOD),
    "header_not_utf8": (packed(b'{"\xff":1}', 0), "not valid UTF-8", packed(b"{}", 0)),
    "header_is_a_list": (packed("[]", 0), "not the JSON object", packed("{}", 0)),
    "header_goes_on": (packed("{}{}", 0), "something follows", packed("{}  ", 0)),
    "header_cut": (packed('{"a":', 0), "entry of a is not a plain", packed("{}", 0)),
    "comma_at_the_end": (packed('{"a":{},}', 0), "has fields", packed("{}", 0)),
    "name_twice": (
        packed('{"a":%s,"a":%s}' % ((json.dumps(F32),) * 2)),
        "tensor a appears twice",
        packed(PAIR, 32),
    ),
    "name_empty": (packed({"": F32}), "is not the name of a tensor", GOOD),
    "name_unprintable": (packed({"a\x1b[2J": F32}), "is not the name of a tensor", GOOD),
    "name_surrogate": (packed(f'{{"\\ud800":{json.dumps(F32)}}}'), "not the name", GOOD),
    "name_long": (
        packed({"n" * (safetensors.MAX_NAME_BYTES + 1): F32}),
        "is not the name of a tensor",
        packed({"n" * safetensors.MAX_NAME_BYTES: F32}),
    ),
    "name_very_long": (packed({"n" * 10_000: F32}), "no tensor name of at most", GOOD),
    "entry_deep": (
        packed('{"a":' * 9000 + "1" + "}" * 9000, 0),
        "entry of a is not a plain JSON object",
        GOOD,
    ),
    "entry_long": (
        one(shape=[1] * safetensors.MAX_ENTRY_BYTES),
        "not a plain JSON object",
        one(shape=[4] + [1] * (safetensors.MAX_DIMENSIONS - 1)),
    ),
    "list_deep": (
        packed('{"a":{"x":' + "[" * 2000 + "]" * 2000 + "}}", 0),
        "not JSON|has fields",
        GOOD,
    ),
    "field_missing": (packed({"a": {"dtype": "F32", "shape": [4]}}), "has fields", GOOD),
    "field_more": (one(strides=[1]), "has fields", GOOD),
    "field_twice": (
        packed('{"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        "appears twice",
        GOOD,
    ),
    "dtype_unknown": (one(dtype="F31"), "unknown dtype 'F31'", one(dtype="I32")),
    "dtype_number": (one(dtype=4), "unknown dtype 4", GOOD),
    "dtype_lies": (one(dtype="F64"), r"F64 \[4\], 32 bytes, but its offsets hold 16", GOOD),
    "shape_negative": (one(shape=[-4]), "impossible shape", GOOD),
    "shape_float": (one(shape=[4.0]), "impossible shape", GOOD),
    "shape_true": (one(shape=[True]), "impossible shape", GOOD),
    "shape_overflow": (one(shape=[2**32, 2**32]), "impossible shape", GOOD),
    "shape_huge_number": (
        packed('{"a":{"dtype":"F32","shape":[%s],"data_offsets":[0,16]}}' % ("9" * 3000)),
        "impossible shape",
        GOOD,
    ),
    "offsets_backwards": (one(data_offsets=[16, 0]), "impossible offsets", GOOD),
    "offsets_three": (one(data_offsets=[0, 8, 16]), "impossible offsets", GOOD),
    "offsets_past_end": (packed({"a": F32}, 8), "after the end of the file", GOOD),
    "overlap": (packed({"a": F32, "b": F32}), "tensors a and b overlap", packed(PAIR, 32)),
    "hole": (
        packed({"a": {**F32, "data_offsets": [16, 32]}}, 32),
        "16 bytes before tensor a belong to none",
        GOOD,
    ),
    "bytes_behind": (packed({"a": F32}, 17), "1 bytes after the last tensor", GOOD),
    "infinity": (one(shape=[float("inf")]), "not JSON", GOOD),
}


@pytest.mark.parametrize("lie", LIES)
def test_refuses_the_lie_and_takes_the_truth(lie: str, tmp_path: Path) -> None:
    false, message, true = LIES[lie]
    path = tmp_path / "case.safetensors"
    path.write_bytes(false)
    with pytest.raises(CheckpointError, match=message) as caught:
        safetensors.open_safetensors(path)
    assert "\n" not in str(caught.value)
    assert "case.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 1000
    path.write_bytes(true)
    safetensors.open_safetensors(path)


def test_tensor_count_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors, "MAX_TENSORS", 2)
    path = tmp_path / "case.safetensors"
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path.write_bytes(packed({"a": empty, "b": empty}, 0))
    assert len(safetensors.open_safetensors(path).tensors) == 2
    path.write_bytes(packed({"a": empty, "b": empty, "c": empty}, 0))
    with pytest.raises(CheckpointError, match="more than 2 tensors"):
        safetensors.open_safetensors(path)


def test_refuses_a_file_cut_off_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "case.safetensors"
    whole = packed({"__metadata__": {"format": "pt"}, **PAIR}, 32)
    path.write_bytes(whole)
    safetensors.open_safetensors(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            safetensors.open_safetensors(path)


Folder = Callable[[Any], Weights]


@pytest.fixture
def with_index(tmp_path: Path) -> Folder:
    def write(index: Any) -> Weights:
        (tmp_path / "one.safetensors").write_bytes(GOOD)
        (tmp_path / "two.safetensors").write_bytes(packed({"b": F32}))
        text = index if isinstance(index, str) else json.dumps(index)
        (tmp_path / INDEX).write_text(text)
        return open_weights(tmp_path)

    return write


TRUE_MAP = {"a": "one.safetensors", "b": "two.safetensors"}

INDEX_LIES: dict[str, tuple[Any, str]] = {
    "not_json": ("{", "is not JSON"),
    "not_an_object": ("[]", "not a JSON object"),
    "deep": ("[" * 100_000, "nests deeper|not JSON"),
    "no_map": ({"metadata": {}}, "has no weight_map"),
    "map_of_numbers": ({"weight_map": {"a": 1}}, "not the name of a file"),
    "climbs": ({"weight_map": {"a": "../one.safetensors"}}, "not the name of a file"),
    "absolute": ({"weight_map": {"a": "/etc/passwd"}}, "not the name of a file"),
    "windows": ({"weight_map": {"a": "..\\one.safetensors"}}, "not the name of a file"),
    "dots": ({"weight_map": {"a": ".."}}, "not the name of a file|cannot open"),
    "name_long": ({"weight_map": {"a": "n" * 256}}, "not the name of a file"),
    "name_nul": ({"weight_map": {"a": "one\0"}}, "not the name of a file"),
    "shard_missing": ({"weight_map": {"a": "three.safetensors"}}, "cannot open"),
    "tensor_missing": (
        {"weight_map": {**TRUE_MAP, "c": "two.safetensors"}},
        "two.safetensors lacks tensor c",
    ),
    "tensor_not_named": ({"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}}, "holds"),
    "tensor_elsewhere": ({"weight_map": {"a": "two.safetensors"}}, "holds tensor b, against"),
}


@pytest.mark.parametrize("lie", INDEX_LIES)
def test_refuses_a_lying_index_and_takes_the_truth(lie: str, with_index: Folder) -> None:
    false, message = INDEX_LIES[lie]
    with pytest.raises(CheckpointError, match=message) as caught:
        with_index(false)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    weights = with_index({"weight_map": TRUE_MAP})
    assert list(weights) == ["a", "b"]


def test_a_folder_without_weights_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"has no {WEIGHTS}"):
        open_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="pickles, which can run code"):
        open_weights(tmp_path)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(GOOD)
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        open_weights(tmp_path)
