"""LoRA adapters merged: W + scale * B A, in either format, as llama.cpp applies them live."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gguf.constants import GGMLQuantizationType

from tests.compile.llama_adapter import ask
from tests.compile.test_hub_convert import Heard, halves_to_pairs, numbers
from tests.fakes.tiny_folder import save_folder
from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, tiny_llama
from transom_compile.adapter import AdapterMismatch, merge_adapter
from transom_compile.hub.convert import convert_folder
from transom_compile.hub.peft import UnsupportedAdapter
from transom_compile.progress import Silent
from transom_compile.sources.gguf import GgufCheckpoint, open_checkpoint
from transom_models.errors import TransomError

F32, F16 = GGMLQuantizationType.F32, GGMLQuantizationType.F16
RANK, ALPHA = 4, 6.0
Matrix = npt.NDArray[np.float32]
Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"
SHAPES = {Q: (64, 64), DOWN: (64, 96)}


def parts(seed: int = 0, rank: int = RANK) -> dict[str, tuple[Matrix, Matrix]]:
    """Hugging Face's module -> (A, B)."""
    generator = np.random.default_rng(seed)
    return {
        name: (
            generator.normal(size=(rank, cols)).astype(np.float32),
            generator.normal(size=(rows, rank)).astype(np.float32),
        )
        for name, (rows, cols) in SHAPES.items()
    }


def save_peft(
    folder: Path, pairs: Mapping[str, tuple[Matrix, Matrix]], extra: Any = None, **config: Any
) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    tensors = {}
    for name, (a, b) in pairs.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
    save_file({**tensors, **(extra or {})}, folder / "adapter_model.safetensors")
    fields = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    fields |= {"lora_dropout": 0.1, "target_modules": ["q_proj"], "base_model_name_or_path": "x"}
    # What PEFT 0.21 writes besides, whatever was asked for.
    fields |= {"auto_mapping": {"base_model_class": "LlamaForCausalLM"}, "peft_version": "0.21.2"}
    fields |= {"megatron_core": "megatron.core", "qalora_group_size": 16, "use_dora": False}
    (folder / "adapter_config.json").write_text(json.dumps({**fields, **config}))
    return folder


def gguf_adapter(
    pairs: Mapping[str, tuple[Matrix, Matrix]], kind: Any = F32, **keys: Any
) -> TinyGguf:
    """As llama.cpp's convert_lora_to_gguf.py writes it; names are GGUF's."""
    fields = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    metadata = {**fields, "adapter.lora.alpha": ALPHA, **keys}
    dtype = "<f2" if kind is F16 else "<f4"
    tensors = [
        TinyTensor(f"{name}.{half}", data.shape[::-1], kind, data=data.astype(dtype).tobytes())
        for name, pair in pairs.items()
        for half, data in zip(("lora_a", "lora_b"), pair, strict=True)
    ]
    return TinyGguf([(key, value) for key, value in metadata.items() if value is not None], tensors)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A random llama in F32."""
    save_folder(tmp_path / "base", "llama-biased")
    return convert_folder(tmp_path / "base", tmp_path / "base.gguf", progress=Silent())


def merged(base: Path, adapter: Path, scale: float = 1.0) -> GgufCheckpoint:
    out = base.with_name("merged.gguf")
    assert merge_adapter(base, adapter, out, scale=scale, progress=Silent()) == out
    return open_checkpoint(out)


def as_gguf(pairs: Mapping[str, tuple[Matrix, Matrix]]) -> dict[str, tuple[Matrix, Matrix]]:
    """Names and rows as a converted llama has them."""
    (q_a, q_b), (down_a, down_b) = pairs[Q], pairs[DOWN]
    return {
        "blk.0.attn_q.weight": (q_a, np.ascontiguousarray(halves_to_pairs(q_b, 4))),
        "blk.1.ffn_down.weight": (down_a, down_b),
    }


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_peft_equals_the_same_done_by_hand(scale: float, base: Path, tmp_path: Path) -> None:
    """torch's weights + scale * alpha / rank * B A, converted, are what the merged file holds."""
    import torch
    import transformers

    pairs = parts()
    model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            weight = model.get_submodule(name).weight
            weight += scale * (ALPHA / RANK) * (torch.from_numpy(b) @ torch.from_numpy(a))
    model.save_pretrained(tmp_path / "base")
    wanted = open_checkpoint(
        convert_folder(tmp_path / "base", tmp_path / "wanted.gguf", progress=Silent())
    )
    found = merged(base, save_peft(tmp_path / "adapter", pairs), scale)
    assert dict(found.metadata).keys() == dict(wanted.metadata).keys()
    changed = set(as_gguf(pairs))
    for name in wanted.tensors:
        if name in changed:
            before = numbers(open_checkpoint(base), name)
            assert np.abs(numbers(found, name) - before).max() > 0.5
            # Two libraries add up in another order.
            np.testing.assert_allclose(
                numbers(found, name), numbers(wanted, name), rtol=0, atol=1e-5
            )
        else:
            np.testing.assert_array_equal(found.read_blocks(name), wanted.read_blocks(name))


def test_both_formats_give_the_same_file(base: Path, tmp_path: Path) -> None:
    pairs = parts()
    one = merged(base, save_peft(tmp_path / "adapter", pairs)).path.read_bytes()
    path = tmp_path / "adapter.gguf"
    path.write_bytes(gguf_adapter(as_gguf(pairs)).to_bytes())
    assert merged(base, path).path.read_bytes() == one
    # Without an alpha llama.cpp takes 1.
    path.write_bytes(gguf_adapter(as_gguf(pairs), **{"adapter.lora.alpha": None}).to_bytes())
    whole = merged(base, path, ALPHA / RANK)
    for name in as_gguf(pairs):
        np.testing.assert_allclose(
            numbers(whole, name),
            numbers(open_checkpoint(base), name)
            + ALPHA / RANK * (as_gguf(pairs)[name][1] @ as_gguf(pairs)[name][0]),
            atol=1e-5,
        )


def test_rank_stabilized_scale(base: Path, tmp_path: Path) -> None:
    pairs = parts()
    folder = save_peft(tmp_path / "adapter", pairs, use_rslora=True, lora_alpha=3)
    found = numbers(merged(base, folder), "blk.1.ffn_down.weight")
    before = numbers(open_checkpoint(base), "blk.1.ffn_down.weight")
    a, b = pairs[DOWN]
    np.testing.assert_allclose(found, before + 3 / RANK**0.5 * (b @ a), atol=1e-5)


def test_llama_cpp_says_the_same_with_the_adapter_beside_the_model(
    base: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(gguf_adapter(as_gguf(parts()), F16).to_bytes())
    prompts = [[1, 5, 30, 90, 200], [100, 20, 11]]
    plain = ask(base, prompts, 8)
    beside = ask(base, prompts, 8, adapter)
    assert beside == ask(merged(base, adapter).path, prompts, 8)
    assert beside != plain


@pytest.mark.parametrize("kind", ["BF16", "F16", "Q8_0"])
def test_weights_keep_their_type(kind: str, tmp_path: Path) -> None:
    kinds = {"blk.0.attn_q.weight": GGMLQuantizationType[kind]}
    source = tmp_path / "base.gguf"
    if kind == "BF16":
        save_folder(tmp_path / "base", "llama-biased", dtype="bfloat16")
        convert_folder(tmp_path / "base", source, progress=Silent())
    else:
        source.write_bytes(tiny_llama(kinds=kinds).to_bytes())
    pairs = {"blk.0.attn_q.weight": parts()[Q]}
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(gguf_adapter(pairs).to_bytes())
    progress = Heard()
    out = tmp_path / "out.gguf"
    merge_adapter(source, adapter, out, progress=progress)
    before, after = open_checkpoint(source), open_checkpoint(out)
    name = "blk.0.attn_q.weight"
    assert after.tensors[name].block_type == kind
    assert any("quantized again to Q8_0" in note for note in progress.notes) == (kind == "Q8_0")
    a, b = pairs[name]
    exact = numbers(before, name) + ALPHA / RANK * (b @ a)
    step = {"BF16": 2**-8, "F16": 2**-11, "Q8_0": 1 / 127}[kind]
    assert np.abs(numbers(after, name) - exact).max() <= np.abs(exact).max() * step


def test_an_embedding_that_stands_alone_is_merged(base: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    rows, cols = open_checkpoint(base).tensors["token_embd.weight"].shape
    a = generator.normal(size=(RANK, rows)).astype(np.float32)
    b = generator.normal(size=(cols, RANK)).astype(np.float32)
    prefix = "base_model.model.model.embed_tokens.lora_embedding_"
    folder = save_peft(tmp_path / "adapter", {}, {f"{prefix}A": a, f"{prefix}B": b})
    wanted = numbers(open_checkpoint(base), "token_embd.weight") + ALPHA / RANK * (b @ a).T
    np.testing.assert_allclose(
        numbers(merged(base, folder), "token_embd.weight"), wanted, atol=1e-5
    )
    path = tmp_path / "adapter.gguf"
    turned = {"token_embd.weight": (np.ascontiguousarray(a.T), b)}
    path.write_bytes(gguf_adapter(turned).to_bytes())
    np.testing.assert_allclose(numbers(merged(base, path), "token_embd.weight"), wanted, atol=1e-5)
    tied = tmp_path / "tied.gguf"
    tied.write_bytes(tiny_llama().to_bytes())
    with pytest.raises(UnsupportedAdapter, match="it is the output matrix too"):
        merge_adapter(tied, path, tmp_path / "out.gguf", progress=Silent())


def refused(base: Path, adapter: Path, error: type[TransomError], message: str) -> None:
    out = base.with_name("refused.gguf")
    with pytest.raises(error, match=message) as caught:
        merge_adapter(base, adapter, out, progress=Silent())
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_peft_that_is_no_plain_lora_is_refused_by_its_field(base: Path, tmp_path: Path) -> None:
    folder, pairs = tmp_path / "adapter", parts()
    for field, value in {
        "use_dora": True,
        "modules_to_save": ["lm_head"],
        "bias": "all",
        "fan_in_fan_out": True,
        "rank_pattern": {"q_proj": 8},
        "alpha_pattern": {"q_proj": 8},
        "lora_bias": True,
        "layer_replication": [[0, 1]],
        "trainable_token_indices": [1],
        "something_new": True,
    }.items():
        refused(base, save_peft(folder, pairs, **{field: value}), UnsupportedAdapter, field)
    refused(base, save_peft(folder, pairs, peft_type="IA3"), UnsupportedAdapter, "'IA3' is not")
    refused(
        base,
        save_peft(folder, pairs, init_lora_weights="pissa_niter_4"),
        UnsupportedAdapter,
        "pissa",
    )
    refused(base, save_peft(folder, pairs, r=0), UnsupportedAdapter, "r is 0")
    refused(base, save_peft(folder, pairs, r=8), UnsupportedAdapter, "rank 4 and 4, but .* says 8")
    refused(base, save_peft(folder, pairs, lora_alpha=None), UnsupportedAdapter, "lora_alpha")
    refused(base, save_peft(folder, {}), UnsupportedAdapter, "has no tensors")
    whole = {"base_model.model.lm_head.modules_to_save.weight": np.zeros((4, 4), np.float32)}
    refused(base, save_peft(folder, pairs, whole), UnsupportedAdapter, "no low-rank addition")
    half = {f"base_model.model.{Q.replace('0', '1')}.lora_A.weight": pairs[Q][0]}
    refused(base, save_peft(folder, pairs, half), UnsupportedAdapter, "has a but no more")
    numbers_ = {Q: (pairs[Q][0].astype(np.int32), pairs[Q][1])}
    refused(base, save_peft(folder, numbers_), UnsupportedAdapter, "no matrix of floats")  # type: ignore[arg-type]
    endless = {Q: (pairs[Q][0] * np.float32(np.inf), pairs[Q][1])}
    refused(base, save_peft(folder, endless), UnsupportedAdapter, "no finite number")


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    folder, pairs = tmp_path / "adapter", parts()
    other = {"model.layers.9.self_attn.q_proj": pairs[Q]}
    refused(base, save_peft(folder, other), AdapterMismatch, "made for another model")
    other = {"model.layers.0.self_attn.qkv_proj": pairs[Q]}
    refused(base, save_peft(folder, other), AdapterMismatch, "qkv_proj.weight.*another model")
    narrow = {Q: (pairs[Q][0][:, :32].copy(), pairs[Q][1])}
    refused(base, save_peft(folder, narrow), AdapterMismatch, r"\[64, 32\], but it is \[64, 64\]")
    path = tmp_path / "adapter.gguf"

    def given(tiny: TinyGguf) -> Path:
        path.write_bytes(tiny.to_bytes())
        return path

    good = as_gguf(pairs)
    q = "blk.0.attn_q.weight"
    refused(
        base,
        given(gguf_adapter(good, **{"general.architecture": "qwen2"})),
        AdapterMismatch,
        "for a qwen2, but the model is a llama",
    )
    for keys, message in (
        ({"general.type": "model"}, "no LoRA adapter"),
        ({"adapter.type": "ia3"}, "no LoRA adapter"),
        ({"adapter.lora.alpha": "six"}, "no number"),
        ({"adapter.alora.invocation_tokens": [1]}, "invocation_tokens is not supported"),
    ):
        refused(base, given(gguf_adapter(good, **keys)), UnsupportedAdapter, message)
    refused(base, given(gguf_adapter({"blk.7.x.weight": good[q]})), AdapterMismatch, "blk.7.x")
    short = {q: (good[q][0][:2].copy(), good[q][1])}
    refused(base, given(gguf_adapter(short)), UnsupportedAdapter, "has ranks 2 and 4")
    alone = gguf_adapter(good)
    alone.tensors = alone.tensors[1:]
    refused(base, given(alone), UnsupportedAdapter, "only one matrix of its two")
    odd = gguf_adapter(good)
    odd.tensors = [*odd.tensors, TinyTensor("blk.0.attn_norm.weight")]
    refused(base, given(odd), UnsupportedAdapter, "no part of a low-rank addition")
    refused(base, given(gguf_adapter({})), UnsupportedAdapter, "changes nothing")
    with pytest.raises(UnsupportedAdapter, match="scale of nan"):
        merge_adapter(base, path, tmp_path / "o.gguf", scale=float("nan"), progress=Silent())
