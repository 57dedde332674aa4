"""A Hugging Face folder becomes a GGUF: weights bit for bit, metadata as llama.cpp has it."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from tests.compile.llama_adapter import ask
from tests.fakes.tiny_folder import save_folder, save_tokenizer
from tests.fakes.tiny_gguf import TOKENS
from tests.fakes.tiny_hub import MODELS, SIZES
from transom_compile.hub.convert import convert_folder
from transom_compile.hub.folder import INDEX
from transom_compile.hub.plan import read_hub_model
from transom_compile.names import TensorMismatch
from transom_compile.progress import Silent
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import GgufCheckpoint, open_checkpoint
from transom_models.architecture import UnknownArchitecture, UnsupportedModel
from transom_models.errors import TransomError


class Heard(Silent):
    """Keeps what is said, and how much of how much is done."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.total = self.done = 0

    def step(self, name: str, total_bytes: int | None = None) -> None:
        self.total, self.done = total_bytes or 0, 0

    def advance(self, count: int) -> None:
        self.done += count

    def note(self, text: str) -> None:
        self.notes.append(text)


def convert(folder: Path, progress: Any = None) -> GgufCheckpoint:
    out = folder.with_suffix(".gguf")
    assert convert_folder(folder, out, progress=progress or Silent()) == out
    return open_checkpoint(out)


def numbers(checkpoint: GgufCheckpoint, name: str) -> npt.NDArray[np.float32]:
    info = checkpoint.tensors[name]
    kind = gguf.GGMLQuantizationType[info.block_type]
    blocks = checkpoint.read_blocks(name)
    values = blocks.view(np.float32) if info.block_type == "F32" else None
    found = gguf.quants.dequantize(blocks, kind) if values is None else values
    return np.asarray(found, np.float32).reshape(info.shape)


def halves_to_pairs(weight: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Written out element by element, unlike the converter: row i of a half beside row i of the
    other."""
    rows = weight.shape[0] // heads
    order = [
        head * rows + half * (rows // 2) + row
        for head in range(heads)
        for row in range(rows // 2)
        for half in (0, 1)
    ]
    return weight[order]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_weight_of_a_sharded_llama(dtype: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    model = save_folder(folder, "llama-biased", dtype=dtype, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert (folder / INDEX).exists()
    progress = Heard()
    checkpoint = convert(folder, progress)
    stored = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[dtype]
    state = {key: value.float().numpy() for key, value in model.state_dict().items()}
    seen = set()
    for name, info in checkpoint.tensors.items():
        assert info.block_type == (stored if len(info.shape) > 1 else "F32"), name
        source = hub_name(name)
        wanted = state[source]
        if "attn_q." in name:
            wanted = halves_to_pairs(wanted, 4)
        if "attn_k." in name:
            wanted = halves_to_pairs(wanted, 2)
        np.testing.assert_array_equal(numbers(checkpoint, name), wanted, err_msg=name)
        seen.add(source)
    assert seen == set(state)
    assert next(iter(checkpoint.tensors)) == "token_embd.weight"
    assert list(checkpoint.tensors)[-1] == "output.weight"
    assert progress.done == progress.total == sum(i.nbytes for i in checkpoint.tensors.values())
    # And as somebody else's reader sees it.
    reader = gguf.GGUFReader(checkpoint.path)
    assert {tensor.name: tuple(reversed(tensor.shape.tolist())) for tensor in reader.tensors} == {
        name: info.shape for name, info in checkpoint.tensors.items()
    }
    wanted_type = {"BF16": 32, "F16": 1, "F32": 0}[stored]
    assert reader.fields["general.file_type"].contents() == wanted_type


def hub_name(name: str) -> str:
    """GGUF's name of a llama's tensor as transformers says it."""
    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_output": "self_attn.o_proj",
        **{f"attn_{part}": f"self_attn.{part}_proj" for part in "qkv"},
        **{f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    }
    parts = name.split(".")
    block = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
    return f"{block}{names[parts[-2]]}.{parts[-1]}"


def test_metadata_is_llama_cpps(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    save_folder(folder, "llama", dtype="bfloat16")
    (folder / "README.md").write_text(
        "---\nlicense: other\nlicense_name: my-licence\nlicense_link: LICENSE\n"
        "base_model:\n- someone/Base-1B\nlanguage: [en, no]\ntags:\n\t- chat\n---\n# Tiny\n"
    )
    checkpoint = convert(folder)
    general = {
        key: list(value) if not isinstance(value, str | int) else value
        for key, value in checkpoint.metadata.items()
        if key.startswith("general.")
    }
    assert general == {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "tiny",
        "general.license": "other",
        "general.license.name": "my-licence",
        "general.license.link": "LICENSE",
        "general.base_model.count": 1,
        "general.base_model.0.name": "Base-1B",
        "general.base_model.0.organization": "someone",
        "general.tags": ["chat"],
        "general.languages": ["en", "no"],
        "general.file_type": 32,
        "general.quantization_version": 2,
    }
    assert next(iter(checkpoint.metadata)) == "general.architecture"
    assert list(checkpoint.metadata["tokenizer.ggml.tokens"]) == TOKENS  # type: ignore[arg-type]
    kinds = {
        "llama.block_count": gguf.GGUFValueType.UINT32,
        "llama.attention.layer_norm_rms_epsilon": gguf.GGUFValueType.FLOAT32,
        "tokenizer.ggml.add_bos_token": gguf.GGUFValueType.BOOL,
    }
    for key, kind in kinds.items():
        assert checkpoint.value_types[key].kind is kind
    assert checkpoint.value_types["tokenizer.ggml.token_type"].item is gguf.GGUFValueType.INT32
    name, hub, licence = read_hub_model(folder)
    assert (name, licence) == ("llama", "my-licence")
    assert hub.metadata["llama.block_count"] == 2


def test_same_folder_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    save_folder(folder, "qwen2", dtype="bfloat16", max_shard_size="40KB")
    first = convert(folder).path.read_bytes()
    assert convert(folder).path.read_bytes() == first


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "tiny"
    save_folder(folder, "llama")
    assert "output.weight" not in convert(folder).tensors
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, folder / "model.safetensors")
    progress = Heard()
    assert "output.weight" not in convert(folder, progress).tensors
    assert any("stored once" in note for note in progress.notes)
    weights["lm_head.weight"] += torch.ones(1)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"ties lm_head\.weight to .* but they differ"):
        convert(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    assert "output.weight" in convert(folder).tensors


def test_gemma_norms_get_their_one(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    model = save_folder(folder, "gemma3", dtype="bfloat16")
    checkpoint = convert(folder)
    norm = model.state_dict()["model.layers.0.self_attn.q_norm.weight"].float().numpy()
    np.testing.assert_array_equal(numbers(checkpoint, "blk.0.attn_q_norm.weight"), norm + 1)


def test_the_text_half_of_a_model_that_sees(tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "tiny"
    folder.mkdir()
    sizes = {key: value for key, value in SIZES.items() if key != "attn_implementation"}
    sizes |= {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12}
    seen = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    seen |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    config = transformers.Gemma3Config(text_config=sizes, vision_config=seen)
    config.mm_tokens_per_image = 4
    model = transformers.Gemma3ForConditionalGeneration(config)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    progress = Heard()
    checkpoint = convert(folder, progress)
    assert any("tensors are left out, such as" in note for note in progress.notes)
    for text in ("embed_tokens.weight", "norm.weight"):
        name = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[
            text
        ]
        wanted = model.state_dict()[f"model.language_model.{text}"].numpy()
        np.testing.assert_array_equal(numbers(checkpoint, name), wanted + ("norm" in text))


def refused(folder: Path, error: type[TransomError], message: str) -> None:
    out = folder.with_suffix(".gguf")
    with pytest.raises(error, match=message) as caught:
        convert_folder(folder, out, progress=Silent())
    assert "\n" not in str(caught.value)
    # Not a byte is left behind.
    assert sorted(path.name for path in folder.parent.glob("*")) == [folder.name]


def test_what_cannot_be_converted_is_refused_before_a_byte_is_written(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "tiny"
    save_folder(folder, "llama")
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")

    def with_config(**changes: Any) -> None:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    with_config(architectures=["MambaForCausalLM"])
    refused(folder, UnknownArchitecture, "MambaForCausalLM, which is not supported yet; .*Llama")
    with_config(architectures=None)
    refused(folder, CheckpointError, "does not name its architecture")
    with_config(quantization_config={"quant_method": "gptq"})
    refused(folder, CheckpointError, "quantized by 'gptq'")
    with_config(rope_theta=1e300, rope_parameters=None)
    refused(folder, TransomError, r"rope|float32")
    with_config(max_position_embeddings=2**40)
    refused(folder, TransomError, "max_position_embeddings|41 bits|context_length")
    with_config(hidden_act="relu")
    refused(folder, UnsupportedModel, "hidden_act")
    with_config()

    def with_weights(**changes: Any) -> None:
        kept = {key: value for key, value in {**weights, **changes}.items() if value is not None}
        save_file(kept, folder / "model.safetensors")

    up = "model.layers.1.mlp.up_proj.weight"
    with_weights(**{"model.layers.0.mlp.surprise.weight": weights[up].clone()})
    refused(folder, CheckpointError, "surprise.weight has no place in a GGUF")
    with_weights(**{up: None})
    refused(folder, TensorMismatch, r"lacks tensor blk\.1\.ffn_up\.weight")
    with_weights(**{up: weights[up][:-32].clone()})
    refused(folder, TensorMismatch, r"blk\.1\.ffn_up\.weight has shape")
    with_weights(**{up: weights[up].char()})
    refused(folder, CheckpointError, "up_proj.weight is I8; only weights in F32, F16 or BF16")
    with_weights(**{"model.embed_tokens.weight": None})
    refused(folder, CheckpointError, "has no token embedding")
    with_weights()
    (folder / "tokenizer.json").unlink()
    refused(folder, TransomError, "has neither tokenizer.json nor tokenizer.model")
    save_tokenizer(folder)
    (folder / "config.json").write_text("[" * 200_000)
    refused(folder, CheckpointError, "config.json (nests|is not JSON)")
    (folder / "config.json").write_text("9" * 5_000_000)
    refused(folder, CheckpointError, "longer than the")


def test_bert_with_its_pooling(tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "tiny"
    folder.mkdir()
    config = transformers.BertConfig(
        vocab_size=128, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=96, max_position_embeddings=64,
    )  # fmt: skip
    model = transformers.BertModel(config)
    model.save_pretrained(folder)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "##s", "world"]
    listed = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    document = {
        "added_tokens": [
            {"id": i, "content": text, "special": True, **listed}
            for i, text in enumerate(pieces[:4])
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "continuing_subword_prefix": "##",
            "vocab": {text: i for i, text in enumerate(pieces)},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(document))
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    checkpoint = convert(folder)
    assert checkpoint.metadata["bert.pooling_type"] == 2
    assert checkpoint.tensors["position_embd.weight"].block_type == "F32"
    state = model.state_dict()
    np.testing.assert_array_equal(
        numbers(checkpoint, "blk.1.attn_output_norm.weight"),
        state["encoder.layer.1.attention.output.LayerNorm.weight"].numpy(),
    )
    assert not any("pool" in name for name in checkpoint.tensors)
    modules.append({"type": "sentence_transformers.models.Dense", "path": "3_Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    checkpoint.path.unlink()
    refused(folder, CheckpointError, "module 'Dense' is not supported")


ARCHITECTURES = [name for name in MODELS if "-" not in name]
PROMPTS = [[1, 5, 30, 90, 200], [100, 20, 11]]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_llama_cpp_answers_as_transformers_does(name: str, tmp_path: Path) -> None:
    """Greedy tokens of a random model; where two logits are as good as equal either may win."""
    import torch

    folder = tmp_path / "tiny"
    model = save_folder(folder, name)
    answers = ask(convert(folder).path, PROMPTS, 6)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        tokens = list(prompt)
        assert answer
        for token in answer:
            with torch.no_grad():
                logits = model(torch.tensor([tokens])).logits[0, -1]
            # llama.cpp keeps keys and values in half precision.
            assert logits.max() - logits[token] < 0.02, (name, tokens, token)
            tokens.append(token)
