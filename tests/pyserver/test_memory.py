"""pytest tests/pyserver/test_memory.py: what a model will take, said before and measured after."""

from collections.abc import Mapping
from typing import Any

import pytest

from transom_api.engine import LoadOptions
from transom_models.ggml_types import GGML_TYPES
from transom_server.engines.memory import (
    LAYER_ITEMS,
    CacheShape,
    MemoryEstimate,
    Unestimated,
    estimate,
)
from transom_server.engines.repacking import AVX2_TYPES, types_for
from transom_server.model.gguf_facts import ArrayValue, GgufFacts, Tensor

NOTHING: frozenset[str] = frozenset()
TYPES = {kind.name: kind for kind in GGML_TYPES.values()}
LLAMA: Mapping[str, Any] = {
    "block_count": 4,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
}
# Two heads of 16 for keys and for values, two bytes each, in four layers.
TOKEN_BYTES = 2 * 16 * 2 * 2 * 4
# What llama.cpp notes of each token in its cache: about this much was measured.
CELL_BYTES = 160


def facts(architecture: str = "llama", *tensors: Tensor, **changed: Any) -> GgufFacts:
    keys = {**LLAMA, **{key.replace("__", "."): item for key, item in changed.items()}}
    rows = {f"{architecture}.{key}": item for key, item in keys.items()}
    return GgufFacts({"general.architecture": architecture, **rows}, tensors)


def said(what: GgufFacts, tokens: int = 4096, **options: int) -> MemoryEstimate:
    return estimated(what, CacheShape(tokens), **options)


def estimated(what: GgufFacts, shape: CacheShape, **options: int) -> MemoryEstimate:
    loading = LoadOptions(**options)  # type: ignore[arg-type]
    return estimate(what, shape, loading, repacked_types=AVX2_TYPES)


def kv_bytes(what: GgufFacts, tokens: int = 4096, slots: int = 1, **options: int) -> int:
    return estimated(what, CacheShape(tokens, slots), **options).kv_cache


def test_keys_and_values() -> None:
    assert kv_bytes(facts()) == 4096 * TOKEN_BYTES
    assert kv_bytes(facts(), 1000) == 1024 * TOKEN_BYTES
    assert kv_bytes(facts(), slots=3) == 3 * 4096 * TOKEN_BYTES
    # 34 bytes for 32 numbers
    eight_bits = CacheShape(4096, key_type="q8_0", value_type="q8_0")
    assert estimated(facts(), eight_bits).kv_cache == 4096 * TOKEN_BYTES // 64 * 34


def test_each_cell_of_each_cache_is_noted() -> None:
    assert said(facts()).cells == 4096 * CELL_BYTES
    assert estimated(facts(), CacheShape(4000, 3)).cells == 3 * 4096 * CELL_BYTES
    gemma = facts("gemma2", attention__sliding_window=512)
    assert said(gemma).cells == (4096 + 1024) * CELL_BYTES
    assert said(facts("bert", attention__causal=False)).cells == 0


def test_heads_as_the_file_says_them() -> None:
    wide = facts(attention__key_length=32, attention__value_length=8)
    assert kv_bytes(wide) == 4096 * (32 + 8) * 2 * 2 * 4
    each = facts(attention__head_count_kv=ArrayValue(4, (2, 0, 1, 0)))
    assert kv_bytes(each) == 4096 * (2 + 1) * 32 * 2
    compressed = facts(attention__key_length=48, attention__key_length_mla=24)
    assert kv_bytes(compressed) == 4096 * 2 * 48 * 2 * 4
    assert kv_bytes(facts("bert", attention__causal=False)) == 0


def test_windows_hold_what_is_seen_and_a_batch() -> None:
    layer = TOKEN_BYTES // 4
    gemma = facts("gemma2", attention__sliding_window=512)
    assert kv_bytes(gemma) == (2 * 4096 + 2 * 1024) * layer
    assert kv_bytes(gemma, batch_tokens=256) == (2 * 4096 + 2 * 768) * layer
    assert kv_bytes(gemma, 512) == 4 * 512 * layer
    assert kv_bytes(gemma, 16384, 4) == 4 * (2 * 16384 + 2 * 1024) * layer
    stated = {"attention__sliding_window_pattern": ArrayValue(4, (True, True, True, False))}
    named = facts("new", attention__sliding_window=512, **stated)
    assert kv_bytes(named) == (4096 + 3 * 1024) * layer
    # One that nobody knows is taken to see everything.
    assert kv_bytes(facts("new", attention__sliding_window=512)) == 4096 * TOKEN_BYTES


def test_a_rearranged_copy() -> None:
    def matrix(name: str, kind: str, rows: int = 8) -> Tensor:
        return Tensor(name, TYPES[kind], (256, rows))

    tensors = (
        matrix("token_embd.weight", "Q4_0"),
        matrix("a.weight", "Q4_K"),
        matrix("b.weight", "Q6_K"),
        matrix("odd.weight", "Q4_0", 12),
        Tensor("norm.weight", TYPES["Q4_0"], (256,)),
    )
    block = 256 * 8 * 18 // 32  # of both types
    tied = said(facts("llama", *tensors))
    assert tied.repacked == 2 * block
    assert tied.weights == sum(tensor.size_bytes for tensor in tensors)
    output = matrix("output.weight", "Q8_0")
    assert said(facts("llama", *tensors, output)).repacked == block
    read_whole = said(facts("llama", *tensors), mmap=False)
    assert read_whole.weights + read_whole.repacked == tied.weights
    none = estimate(
        facts("llama", *tensors), CacheShape(4096), LoadOptions(), repacked_types=NOTHING
    )
    assert none.repacked == 0


def test_the_sum_is_of_all_parts() -> None:
    base = said(facts())
    beside = estimate(
        facts(), CacheShape(4096), LoadOptions(), beside_bytes=1000, repacked_types=AVX2_TYPES
    )
    assert beside.total == base.total + 1000
    longer = said(facts(), 8192)
    assert longer.total - base.total == 4096 * (TOKEN_BYTES + CELL_BYTES + 2 * 512)


@pytest.mark.parametrize(
    "what",
    [
        GgufFacts({}, ()),
        facts(block_count=0),
        facts(block_count=LAYER_ITEMS + 1),
        facts(embedding_length=-1),
        facts(attention__head_count_kv=ArrayValue(3, (1, 1, 1))),
    ],
    ids=["empty", "no layers", "too many layers", "no width", "heads of other layers"],
)
def test_a_header_that_says_too_little(what: GgufFacts) -> None:
    with pytest.raises(Unestimated):
        said(what)


def test_a_cache_type_that_is_none() -> None:
    with pytest.raises(Unestimated, match="q3_7"):
        estimated(facts(), CacheShape(4096, key_type="q3_7"))


def test_which_machines_rearrange() -> None:
    assert "Q4_K" in types_for("x86_64", frozenset({"sse3", "avx2"}))
    assert types_for("x86_64", frozenset({"sse3"})) == NOTHING
    assert "Q8_0" in types_for("aarch64", frozenset({"asimd", "asimddp"}))
    assert types_for("aarch64", frozenset({"asimd"})) == NOTHING
    assert types_for("riscv64", frozenset()) == NOTHING
    # A Mac or Windows says no features.
    assert types_for("arm64", NOTHING)
    assert types_for("AMD64", NOTHING)
