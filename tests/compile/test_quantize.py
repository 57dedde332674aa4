"""Quantization: llama.cpp's mixes tensor for tensor, its quantizer's bits, and both matrices."""

import importlib.util
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from tests.compile.test_hub_convert import Heard, numbers
from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, string, tiny_llama
from transom_compile.gguf_output import OutputTensor, entry, gguf_output
from transom_compile.progress import Silent
from transom_compile.quantization import ggml
from transom_compile.quantization.imatrix import read_importance
from transom_compile.quantization.mix import (
    SCHEMES,
    Matrix,
    ModelFacts,
    UnknownScheme,
    find_scheme,
    plan_types,
)
from transom_compile.quantize import quantize_gguf
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import open_checkpoint
from transom_models.errors import TransomError

F32, BF16 = GGMLQuantizationType.F32, GGMLQuantizationType.BF16
WIDTH, FEED_FORWARD, VOCABULARY = 256, 512, 320


def wide_llama(path: Path, *, layers: int = 8, tied: bool = True, seed: int = 0) -> Path:
    """A llama whose rows are whole blocks of 256, weights BF16, all values small."""
    generator = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCABULARY, WIDTH)}
    if not tied:
        shapes["output.weight"] = (VOCABULARY, WIDTH)
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.{name}.weight": shape
            for name, shape in {
                "attn_norm": (WIDTH,),
                "attn_q": (WIDTH, WIDTH),
                "attn_k": (64, WIDTH),
                "attn_v": (64, WIDTH),
                "attn_output": (WIDTH, WIDTH),
                "ffn_norm": (WIDTH,),
                "ffn_gate": (FEED_FORWARD, WIDTH),
                "ffn_up": (FEED_FORWARD, WIDTH),
                "ffn_down": (WIDTH, FEED_FORWARD),
            }.items()
        }
    tensors = [
        OutputTensor(name, shape, "F32" if len(shape) == 1 else "BF16")
        for name, shape in shapes.items()
    ]
    entries = {
        "general.architecture": entry("llama"),
        "general.type": entry("model"),
        "general.file_type": entry(32),
        "llama.block_count": entry(layers),
        "llama.attention.head_count": entry(8),
        "llama.attention.head_count_kv": entry(2),
        "some.array": entry([1, 2, 3]),
    }
    with gguf_output(path, entries, tensors) as sink:
        for tensor in tensors:
            data = generator.normal(scale=0.1, size=tensor.shape).astype(np.float32)
            kind = GGMLQuantizationType[tensor.block_type]
            sink.write(tensor.name, [gguf.quants.quantize(data, kind)])
    return path


def types_of(path: Path) -> dict[str, str]:
    return {info.name: info.block_type for info in open_checkpoint(path).tensors.values()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_writes_what_the_quantizer_means(scheme: str, tmp_path: Path) -> None:
    source = wide_llama(tmp_path / "source.gguf", layers=1)
    progress = Heard()
    out = quantize_gguf(source, tmp_path / "out.gguf", scheme.upper(), progress=progress)
    before, after = open_checkpoint(source), open_checkpoint(out)
    mix = SCHEMES[scheme]
    assert after.metadata["general.file_type"] == int(mix.file_type)
    assert after.metadata["general.quantization_version"] == 2
    assert list(after.metadata["some.array"]) == [1, 2, 3]  # type: ignore[arg-type]
    assert after.value_types["some.array"] == before.value_types["some.array"]
    assert progress.done == progress.total == sum(i.nbytes for i in before.tensors.values())
    assert after.tensors["blk.0.ffn_up.weight"].block_type == mix.block_type
    for name, info in after.tensors.items():
        exact, found = numbers(before, name), numbers(after, name)
        assert info.shape == before.tensors[name].shape
        if info.block_type in {"F32", "BF16"}:
            np.testing.assert_array_equal(found, exact)
        else:
            error = float(np.sqrt(np.mean((found - exact) ** 2)) / np.std(exact))
            assert error < ERRORS[info.block_type], (name, info.block_type, error)


# Of normal numbers, relative to their deviation: twice what a fair quantizer of so many bits makes.
ERRORS: Mapping[str, float] = {
    "F16": 1e-3, "Q8_0": 0.01, "Q6_K": 0.03, "Q5_K": 0.06, "Q5_1": 0.06, "Q5_0": 0.07,
    "Q4_K": 0.12, "Q4_1": 0.12, "Q4_0": 0.14, "IQ4_XS": 0.12, "IQ4_NL": 0.12, "MXFP4": 0.2,
    "Q3_K": 0.25, "Q2_K": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_bits_are_those_of_gguf_py(kind: str) -> None:
    """Somebody else's quantizer of the plain types, in NumPy, agrees bit for bit."""
    data = np.random.default_rng(1).normal(size=(7, 96)).astype(np.float32)
    wanted = gguf.quants.quantize(data, GGMLQuantizationType[kind])
    np.testing.assert_array_equal(ggml.quantize_rows("t", data, kind), wanted.view(np.uint8))


def test_same_input_same_bytes(tmp_path: Path) -> None:
    source = wide_llama(tmp_path / "source.gguf", layers=2)
    first = quantize_gguf(source, tmp_path / "a.gguf", "q4_k_m", progress=Silent())
    second = quantize_gguf(source, tmp_path / "b.gguf", "q4_k_m", progress=Silent())
    assert first.read_bytes() == second.read_bytes()


def test_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = wide_llama(tmp_path / "source.gguf", layers=1)
    whole = quantize_gguf(source, tmp_path / "a.gguf", "q4_k_m", progress=Silent()).read_bytes()
    monkeypatch.setattr("transom_compile.quantize.PIECE_BYTES", 3 * WIDTH * 4)
    assert quantize_gguf(source, tmp_path / "b.gguf", "q4_k_m", progress=Silent()).read_bytes() == (
        whole
    )


def test_the_mix_of_a_published_file_comes_out(smollm2: Path) -> None:
    """SmolLM2 was made by llama-quantize; planned anew, every tensor gets the type it has."""
    checkpoint = open_checkpoint(smollm2)
    matrices = [
        Matrix(info.name, info.shape, "BF16" if len(info.shape) > 1 else "F32")
        for info in checkpoint.tensors.values()
    ]
    facts = ModelFacts("llama", 30, 9, 3, has_importance=False)
    assert plan_types(find_scheme("q4_1"), matrices, facts) == types_of(smollm2)


def planned(
    scheme: str, layers: int = 32, importance: bool = False, **facts: Any
) -> dict[str, str]:
    shapes = {"token_embd": (999, 4096), "output": (999, 4096), "output_norm": (4096,)}
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.{name}": (4096, 4096)
            for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")
        }
    matrices = [
        Matrix(f"{name}.weight", shape, "F32" if len(shape) == 1 else "F16")
        for name, shape in shapes.items()
    ]
    fields = {"architecture": "llama", "layers": layers, "heads": 32, "kv_heads": 8, **facts}
    return plan_types(
        find_scheme(scheme), matrices, ModelFacts(**fields, has_importance=importance)
    )


def layers_with(types: Mapping[str, str], part: str, kind: str) -> list[int]:
    return [layer for layer in range(32) if types[f"blk.{layer}.{part}.weight"] == kind]


# The numbers of llama.cpp's rules for 32 layers, worked out by hand.
MORE_BITS = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_mixes_of_32_layers() -> None:
    q4_k_m = planned("q4_k_m")
    assert layers_with(q4_k_m, "attn_v", "Q6_K") == MORE_BITS
    assert layers_with(q4_k_m, "ffn_down", "Q6_K") == MORE_BITS
    assert q4_k_m["output.weight"] == "Q6_K"
    assert q4_k_m["token_embd.weight"] == q4_k_m["blk.9.attn_q.weight"] == "Q4_K"
    assert q4_k_m["output_norm.weight"] == "F32"
    q4_k_s = planned("q4_k_s")
    assert layers_with(q4_k_s, "attn_v", "Q5_K") == [0, 1, 2, 3]
    assert layers_with(q4_k_s, "ffn_down", "Q5_K") == [0, 1, 2, 3]
    q3_k_m = planned("q3_k_m")
    assert layers_with(q3_k_m, "attn_v", "Q5_K") == [0, 1]
    assert layers_with(q3_k_m, "ffn_down", "Q5_K") == [0, 1]
    assert len(layers_with(q3_k_m, "ffn_down", "Q4_K")) == 30
    assert len(layers_with(q3_k_m, "attn_output", "Q4_K")) == 32
    assert len(layers_with(planned("q2_k"), "attn_v", "Q4_K")) == 32
    assert len(layers_with(planned("q2_k", kv_heads=32), "attn_v", "Q3_K")) == 32
    assert layers_with(planned("iq4_xs"), "ffn_down", "Q5_K") == [0, 1, 2, 3]
    assert layers_with(planned("iq4_xs", importance=True), "ffn_down", "Q5_K") == []
    assert layers_with(planned("q4_0", importance=True), "ffn_down", "Q4_1") == [0, 1, 2, 3]
    assert planned("q4_0")["output.weight"] == "Q6_K"
    assert planned("q8_0")["output.weight"] == "Q8_0"
    assert planned("mxfp4")["output.weight"] == "Q8_0"
    assert planned("q3_k_s", layers=80)["blk.9.attn_v.weight"] == "Q5_K"


def test_rows_that_are_no_whole_blocks_get_another_type() -> None:
    def of(cols: int, scheme: str) -> str:
        matrices = [Matrix("blk.0.ffn_up.weight", (4, cols), "F32")]
        return plan_types(find_scheme(scheme), matrices, ModelFacts("x", 1, 1, 1, False))[
            "blk.0.ffn_up.weight"
        ]

    fallen = {scheme: of(288, scheme) for scheme in ("q2_k", "q3_k_s", "q4_k_s", "q5_k_s", "q6_k")}
    assert fallen == {
        "q2_k": "Q4_0",
        "q3_k_s": "Q4_0",
        "q4_k_s": "Q5_0",
        "q5_k_s": "Q5_1",
        "q6_k": "Q8_0",
    }
    assert of(288, "iq4_xs") == "IQ4_NL"
    assert of(100, "q4_k_s") == of(100, "q4_0") == "F16"


def test_quantizing_again_is_said(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(tiny_llama().to_bytes())
    progress = Heard()
    out = quantize_gguf(source, tmp_path / "out.gguf", "q8_0", progress=progress)
    assert any("quantized again from Q4_1" in note for note in progress.notes)
    # What has the type already keeps its bits.
    before, after = open_checkpoint(source), open_checkpoint(out)
    np.testing.assert_array_equal(
        before.read_blocks("token_embd.weight"), after.read_blocks("token_embd.weight")
    )
    np.testing.assert_allclose(
        numbers(after, "blk.0.ffn_up.weight"), numbers(before, "blk.0.ffn_up.weight"), atol=0.01
    )


def test_what_cannot_be_quantized_is_an_error(tmp_path: Path) -> None:
    source, out = tmp_path / "source.gguf", tmp_path / "out.gguf"

    def refused(message: str, scheme: str = "q8_0", **more: Any) -> None:
        with pytest.raises(TransomError, match=message) as caught:
            quantize_gguf(source, out, scheme, progress=Silent(), **more)
        assert "\n" not in str(caught.value)
        assert not out.exists()
        assert not list(tmp_path.glob(".*"))

    source.write_bytes(tiny_llama().to_bytes())
    with pytest.raises(UnknownScheme, match=r"'q4_k_x'; known are .*q4_k_m"):
        quantize_gguf(source, out, "q4_k_x", progress=Silent())
    source.write_bytes(tiny_llama(metadata={"general.type": "adapter"}).to_bytes())
    refused("of type 'adapter', not a model")
    source.write_bytes(tiny_llama(metadata={"split.count": 2}).to_bytes())
    refused("one part of a split GGUF")
    source.write_bytes(tiny_llama(metadata={"llama.expert_count": 8}).to_bytes())
    refused("mixture of experts")
    for value, message in ((np.nan, "not a finite number"), (70000.0, "too large for F16")):
        data = np.full((32, 64), value, "<f4").tobytes()
        tensors = [TinyTensor("blk.0.ffn_up.weight", (64, 32), F32, data=data)]
        model = TinyGguf([("general.architecture", "llama")], tensors)
        source.write_bytes(model.to_bytes())
        refused(message, "f16")


def test_without_the_quantizer_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = wide_llama(tmp_path / "source.gguf", layers=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ggml._library.cache_clear()
    try:
        with pytest.raises(ggml.QuantizerMissing, match=r"pip install 'transom\[quantize\]'"):
            quantize_gguf(source, tmp_path / "out.gguf", "q4_0", progress=Silent())
        # Plain floats need none.
        quantize_gguf(source, tmp_path / "out.gguf", "f16", progress=Silent())
    finally:
        ggml._library.cache_clear()


def gguf_matrix(values: Mapping[str, Any], counts: float = 4.0) -> bytes:
    """An importance matrix as llama-imatrix writes it: sums of squares, and how many."""
    tensors = []
    for name, row in values.items():
        data = (np.asarray(row, "<f4") * counts).tobytes()
        tensors.append(TinyTensor(f"{name}.in_sum2", (len(row),), F32, data=data))
        count = np.float32(counts).tobytes()
        tensors.append(TinyTensor(f"{name}.counts", (1,), F32, data=count))
    keys: list[tuple[str | bytes, Any]] = [("general.type", "imatrix"), ("imatrix.chunk_count", 7)]
    return TinyGguf(keys, tensors).to_bytes()


def dat_matrix(values: Mapping[str, Any], calls: int = 4) -> bytes:
    """The same in the older format."""
    data = struct.pack("<i", len(values))
    for name, row in values.items():
        raw = (np.asarray(row, "<f4") * calls).tobytes()
        data += struct.pack("<i", len(name)) + name.encode()
        data += struct.pack("<ii", calls, len(row)) + raw
    return data + struct.pack("<i", 7) + struct.pack("<i", 1) + b"x"


def test_both_forms_of_importance_matrix_say_the_same(tmp_path: Path) -> None:
    source = wide_llama(tmp_path / "source.gguf", layers=1)
    name = "blk.0.ffn_up.weight"
    weights = np.linspace(0.1, 50.0, WIDTH).astype(np.float32)
    (tmp_path / "new.gguf").write_bytes(gguf_matrix({name: weights}))
    (tmp_path / "old.dat").write_bytes(dat_matrix({name: weights}))
    outs = []
    for path in (tmp_path / "new.gguf", tmp_path / "old.dat"):
        importance = read_importance(path)
        np.testing.assert_allclose(importance.values[name], weights, rtol=1e-6)
        assert importance.chunks == 7
        progress = Heard()
        out = tmp_path / f"{path.stem}-out.gguf"
        outs.append(quantize_gguf(source, out, "q4_k_s", imatrix=path, progress=progress))
        assert any("says nothing of" in note for note in progress.notes)
    new, old = (open_checkpoint(out) for out in outs)
    assert new.metadata["quantize.imatrix.entries_count"] == 1
    assert new.metadata["quantize.imatrix.chunks_count"] == 7
    np.testing.assert_array_equal(new.read_blocks(name), old.read_blocks(name))
    # It does what it is for: inputs that count more come out closer.
    plain = open_checkpoint(
        quantize_gguf(source, tmp_path / "plain.gguf", "q4_k_s", progress=Silent())
    )
    exact = numbers(open_checkpoint(source), name)

    def weighted(found: Any) -> float:
        return float(np.mean((found - exact) ** 2 * weights))

    assert weighted(numbers(new, name)) < weighted(numbers(plain, name))
    other = "blk.0.ffn_gate.weight"
    np.testing.assert_array_equal(new.read_blocks(other), plain.read_blocks(other))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends within entry count"),
        (struct.pack("<i", -1), "entry count is -1"),
        (struct.pack("<i", 2**31 - 1), "entry count is"),
        (struct.pack("<i", 0), "has no entries"),
        (struct.pack("<ii", 1, 10**6), "name length of entry 0 is 1000000"),
        (struct.pack("<ii", 1, 4) + b"blk", "ends within entry 0"),
        (struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 2**30), "inputs of a is"),
        (struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 9), "ends within a"),
        (dat_matrix({"a": [float("inf")]}), "not a finite number"),
        (dat_matrix({"other.weight": [1.0]}), "names no tensor of this model"),
        (dat_matrix({"blk.0.ffn_up.weight": [1.0]}), "made for another model"),
        (TinyGguf([("general.type", "model")]).to_bytes(), "not an importance matrix"),
        (TinyGguf([("a", string(b"x"))], magic=b"GGUF").to_bytes()[:30], "needs|left"),
    ],
)
def test_a_lying_importance_matrix_is_an_error(data: bytes, message: str, tmp_path: Path) -> None:
    source = wide_llama(tmp_path / "source.gguf", layers=1)
    path = tmp_path / "lie"
    path.write_bytes(data)
    out = tmp_path / "out.gguf"
    with pytest.raises(TransomError, match=message) as caught:
        quantize_gguf(source, out, "q4_k_s", imatrix=path, progress=Silent())
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_matrix_of_experts_is_an_error(tmp_path: Path) -> None:
    tensors = [
        TinyTensor("a.in_sum2", (4,), F32),
        TinyTensor("a.counts", (2,), F32, data=bytes(8)),
    ]
    path = tmp_path / "imatrix.gguf"
    path.write_bytes(TinyGguf([("general.type", "imatrix")], tensors).to_bytes())
    with pytest.raises(CheckpointError, match="of 2 experts"):
        read_importance(path)
