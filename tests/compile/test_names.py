"""The name match lists everything that is wrong; Q/K rows come back in their published order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, tiny_llama
from transom_compile.names import (
    Plan,
    TensorMismatch,
    match_names,
    read_parameter,
    unpermute_rope_rows,
)
from transom_compile.sources.gguf import GgufCheckpoint, open_checkpoint
from transom_models.architecture import load_architecture
from transom_models.block_type import UnsupportedBlockType

Match = Callable[..., tuple[GgufCheckpoint, Plan]]


@pytest.fixture
def match(write_gguf: Callable[[TinyGguf], Path]) -> Match:
    def run(**changes: Any) -> tuple[GgufCheckpoint, Plan]:
        checkpoint = open_checkpoint(write_gguf(tiny_llama(**changes)))
        architecture = load_architecture("llama")
        kinds = {name: info.block_type for name, info in checkpoint.tensors.items()}
        specs = architecture.parameters(architecture.read_config(checkpoint.metadata, {}), kinds)
        return checkpoint, match_names(specs, checkpoint.tensors, "llama")

    return run


def test_a_good_checkpoint_gives_a_plan(match: Match) -> None:
    _, plan = match()
    kinds = {row.name: row.block_type for row in plan.rows}
    assert kinds["blk.1.attn_qkv.weight"] == "Q4_1"
    assert kinds["output_norm.weight"] == "F32"
    assert len(plan.rows) == 1 + 2 * 6 + 1


def test_all_missing_tensors_are_named(match: Match) -> None:
    lost = ["blk.0.attn_q.weight", "blk.1.ffn_norm.weight"]
    with pytest.raises(TensorMismatch, match=r"lacks tensors blk.0.attn_q.weight, blk.1.ffn_norm"):
        match(without=lost)
    with pytest.raises(TensorMismatch, match=r"lacks tensor token_embd.weight$"):
        match(without=["token_embd.weight"])


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.0.attn_q_norm.weight", "unheard_of"])
def test_an_unused_tensor_is_never_dropped(match: Match, name: str) -> None:
    with pytest.raises(TensorMismatch, match=f"has tensor {name}, .*would change the answers"):
        match(extra=[TinyTensor(name)])


def test_a_long_list_is_cut(match: Match) -> None:
    extra = [TinyTensor(f"x{number}") for number in range(20)]
    with pytest.raises(TensorMismatch, match=r"x7 and 12 more"):
        match(extra=extra)


def test_a_shape_that_contradicts_the_metadata_is_named(match: Match) -> None:
    with pytest.raises(TensorMismatch, match=r"ffn_down.weight has shape \[64, 96\].*\[64, 128\]"):
        match(metadata={"llama.feed_forward_length": 128}, without=GATE_UP, extra=WIDE_GATE_UP)


def test_an_input_axis_that_kernels_would_cut_is_refused(match: Match) -> None:
    """96 is three groups; a tail of 4 would be left out of every sum."""
    names = [f"blk.{block}.ffn_{part}.weight" for block in range(2) for part in FEED]
    for width, verdict in ((96, None), (100, r"ffn_down.weight has an input axis of 100")):
        extra = [
            TinyTensor(name, dims, GGMLQuantizationType.F16, data=bytes(64 * width * 2))
            for name in names
            for dims in [(width, 64) if "down" in name else (64, width)]
        ]
        changes = {
            "metadata": {"llama.feed_forward_length": width},
            "without": names,
            "extra": extra,
        }
        if verdict is None:
            match(**changes)
        else:
            with pytest.raises(TensorMismatch, match=verdict):
                match(**changes)


FEED = ("gate", "up", "down")
GATE_UP = [f"blk.{block}.ffn_{part}.weight" for block in range(2) for part in ("gate", "up")]
WIDE_GATE_UP = [
    TinyTensor(name, (64, 128), GGMLQuantizationType.Q4_1, data=bytes(64 * 128 // 32 * 20))
    for name in GATE_UP
]


def test_an_unsupported_block_type_names_its_tensor(match: Match) -> None:
    name = "blk.0.ffn_down.weight"
    elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType.Q8_1]
    data = bytes(96 * 64 // elements * block_bytes)
    tensor = TinyTensor(name, (96, 64), GGMLQuantizationType.Q8_1, data=data)
    with pytest.raises(UnsupportedBlockType, match=f"{name} has block type Q8_1.*--quantize"):
        match(without=[name], extra=[tensor])


def test_a_vector_that_is_not_f32_is_named(match: Match) -> None:
    kinds = {"blk.0.attn_norm.weight": GGMLQuantizationType.F16}
    with pytest.raises(TensorMismatch, match=r"blk.0.attn_norm.weight is F16, but .* F32"):
        match(kinds=kinds)


def published_to_gguf(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp's converter, written from its description: per head (2, half) rows to (half, 2)."""
    rows = []
    head_rows = len(weights) // heads
    for head in range(heads):
        for pair in range(head_rows // 2):
            for half in range(2):
                rows.append(weights[head * head_rows + half * head_rows // 2 + pair])
    return np.stack(rows)


@pytest.mark.parametrize("heads", [1, 3, 4])
def test_rope_rows_return_to_their_published_order(heads: int) -> None:
    weights = np.random.default_rng(0).integers(0, 256, (heads * 16, 5), dtype=np.uint8)
    assert np.array_equal(unpermute_rope_rows(published_to_gguf(weights, heads), heads), weights)


def test_a_fused_parameter_is_its_sources_rows_in_order(match: Match) -> None:
    checkpoint, plan = match()
    row = next(row for row in plan.rows if row.name == "blk.0.attn_qkv.weight")
    blocks = read_parameter(checkpoint, row)
    assert blocks.shape == (128, 40)
    query = checkpoint.read_blocks("blk.0.attn_q.weight")
    assert np.array_equal(published_to_gguf(blocks[:64], 4), query)
    assert np.array_equal(blocks[96:], checkpoint.read_blocks("blk.0.attn_v.weight"))


def test_an_unmoved_parameter_is_a_view_of_the_file(match: Match) -> None:
    checkpoint, plan = match()
    assert not read_parameter(checkpoint, plan.rows[0]).flags.owndata
