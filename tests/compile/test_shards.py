"""Shards: where they are cut, what their bytes are, and what `tensor-cache.json` says of them."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from transom_compile.shards import (
    ALIGNMENT_BYTES,
    ShardPlan,
    plan_shards,
    write_shards,
    write_tensor_cache,
)
from transom_models.architecture import ParameterSpec

KIB = 1024


def floats(name: str, kib: int) -> ParameterSpec:
    """An F32 parameter of `kib` KiB."""
    return ParameterSpec(name, (), "F32", (kib * KIB // 4,))


def cut(rows: list[ParameterSpec], cap_kib: int = 32) -> list[list[str]]:
    plans = plan_shards(rows, cap_kib * KIB)
    return [[tensor.name for tensor in plan.tensors] for plan in plans]


def test_a_block_is_not_split_over_shards_while_it_fits() -> None:
    rows = [floats(f"blk.{block}.{part}", 5) for block in range(4) for part in "ab"]
    assert cut(rows) == [
        ["blk.0.a", "blk.0.b", "blk.1.a", "blk.1.b", "blk.2.a", "blk.2.b"],
        ["blk.3.a", "blk.3.b"],
    ]


def test_half_the_cap_or_more_stands_alone() -> None:
    rows = [floats("a", 1), floats("big", 16), floats("b", 1), floats("c", 15)]
    assert cut(rows) == [["a"], ["big"], ["b", "c"]]


def test_a_block_over_the_cap_falls_into_parameters_then_tensors() -> None:
    rows = [
        floats("a", 1),
        floats("blk.0.small", 1),
        floats("blk.0.large", 40),
        floats("blk.0.last", 1),
        floats("z", 1),
    ]
    assert cut(rows) == [["a"], ["blk.0.small"], ["blk.0.large"], ["blk.0.last"], ["z"]]


def test_the_planes_of_a_parameter_stay_together_while_they_fit() -> None:
    small = ParameterSpec("p", (), "Q4_1", (32, 1024))
    large = ParameterSpec("p", (), "Q4_1", (128, 1024))
    assert cut([small]) == [["p.q", "p.s", "p.m"]]
    assert cut([large]) == [["p.q"], ["p.s", "p.m"]]


def test_a_longer_vocabulary_moves_nothing_behind_it() -> None:
    blocks = [floats(f"blk.{block}.w", 7) for block in range(9)]
    shorter = cut([floats("token_embd.weight", 20), *blocks])
    longer = cut([floats("token_embd.weight", 21), *blocks])
    assert shorter == longer


def test_offsets_are_aligned_and_shards_stay_under_the_cap() -> None:
    rows = [ParameterSpec(f"p{n}", (), "F32", (n * 10 + 1,)) for n in range(200)]
    plans = plan_shards(rows, 8 * KIB)
    tensors = [tensor for plan in plans for tensor in plan.tensors]
    assert [tensor.name for tensor in tensors] == [row.name for row in rows]
    assert all(tensor.offset % ALIGNMENT_BYTES == 0 for tensor in tensors)
    assert all(plan.nbytes <= 8 * KIB for plan in plans)


def arrays(plans: tuple[ShardPlan, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for plan in plans:
        for tensor in plan.tensors:
            count = int(np.prod(tensor.shape))
            yield tensor.name, np.arange(count, dtype=tensor.dtype).reshape(tensor.shape) + 1


def test_bytes_lie_where_the_tensor_cache_says(tmp_path: Path) -> None:
    rows = [ParameterSpec("a", (), "F32", (3,)), ParameterSpec("b", (), "Q4_0", (3, 32))]
    plans = plan_shards([*rows, floats("c", 20)], 32 * KIB)
    shards = write_shards(plans, arrays(plans), tmp_path)
    document = json.loads(write_tensor_cache(plans, shards, tmp_path).read_bytes())
    assert document["metadata"] == {"ParamSize": 4, "ParamBytes": 12 + 48 + 8 + 20 * KIB}
    expected = dict(arrays(plans))
    seen = []
    for shard in document["records"]:
        data = (tmp_path / shard["dataPath"]).read_bytes()
        assert shard["format"] == "raw-shard"
        assert shard["nbytes"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        covered = np.zeros(len(data), bool)
        for record in shard["records"]:
            assert record["format"] == "raw"
            start, end = record["byteOffset"], record["byteOffset"] + record["nbytes"]
            array = np.frombuffer(data[start:end], record["dtype"]).reshape(record["shape"])
            assert np.array_equal(array, expected[record["name"]])
            covered[start:end] = True
            seen.append(record["name"])
        assert not np.frombuffer(data, np.uint8)[~covered].any(), "padding is zero"
    assert seen == ["a", "b.q", "b.s", "c"]


def test_equal_tensors_make_equal_shards(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        rows = [floats("token_embd.weight", 20 if name == "one" else 24), floats("blk.0.w", 4)]
        plans = plan_shards(rows, 32 * KIB)
        (tmp_path / name).mkdir()
        shards = write_shards(plans, arrays(plans), tmp_path / name)
        digests.append([shard.digest for shard in shards])
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] == digests[1][1]


def test_a_stream_that_breaks_off_leaves_no_partial_shard(tmp_path: Path) -> None:
    plans = plan_shards([floats("a", 1), floats("b", 1)], 32 * KIB)

    def broken() -> Iterator[tuple[str, np.ndarray]]:
        yield next(arrays(plans))
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        write_shards(plans, broken(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_disagrees_with_the_plan_is_our_bug(tmp_path: Path) -> None:
    plans = plan_shards([floats("a", 1)], 32 * KIB)
    with pytest.raises(AssertionError, match="the plan has"):
        write_shards(plans, [("a", np.zeros(3, np.float32))], tmp_path)
