"""Tiny random checkpoints of each architecture, and `transformers` on their quantized weights.

A checkpoint is a Hugging Face folder, made by `transformers`; what our converter and quantizer make
of it is read back with `gguf` alone and given to the same `transformers` model. None of our
readers, kernels or architectures is used here.

Random weights give flat logits, and an argmax among equals tells nothing. So each matrix row has
about unit length (as in tests/fakes/tiny_hub.py): activations keep their size through the layers,
logits spread over some units, and the best leads the next by a tenth to one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.fakes import tiny_hub
from tests.fakes.tiny_folder import save_tokenizer
from tests.fakes.tiny_gguf import SPECIAL, TOKENS

F32 = npt.NDArray[np.float32]

STEPS = 32
PROMPT_TOKENS = 40
"""Longer than the windows, so that a windowed layer has something to forget."""
WINDOW = 24
CONTEXT = 128

# Rows of every matrix are whole super-blocks of 256, also those that heads are joined in.
SIZES: Mapping[str, Any] = {
    **tiny_hub.SIZES,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "max_position_embeddings": CONTEXT,
}
LLAMA3_ROPE = {**tiny_hub.LLAMA3_ROPE, "original_max_position_embeddings": 64}
GEMMA = {"head_dim": 64, "query_pre_attn_scalar": 64, "sliding_window": WINDOW}
# Checkpoint -> class in transformers, what differs from SIZES. The first part of the name is the
# GGUF architecture. Layer patterns are the published ones: llama.cpp knows no others.
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-llama3": ("Llama", {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 64, "tie_word_embeddings": True}),
    "gemma2": (
        "Gemma2",
        {**GEMMA, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0},
    ),
    "gemma3": ("Gemma3Text", {**GEMMA, "num_hidden_layers": 6}),
    "phi3": ("Phi3", {"sliding_window": CONTEXT, "original_max_position_embeddings": CONTEXT}),
    "olmo2": ("Olmo2", {}),
    "granite": (
        "Granite",
        {
            "embedding_multiplier": 6.0,
            "attention_multiplier": 0.1,
            "residual_multiplier": 0.22,
            "logits_scaling": 4.0,
            "tie_word_embeddings": True,
        },
    ),
}


@dataclass(frozen=True)
class Reading:
    """What the oracle says greedily after a prompt of its checkpoint."""

    token_ids: tuple[int, ...]
    """The prompt, then STEPS greedy tokens."""
    logits: F32
    """[STEPS, vocab]: what each greedy token was chosen from."""


def prompt() -> list[int]:
    """Token ids without control tokens."""
    ids = np.random.default_rng(7).integers(len(SPECIAL), len(TOKENS), PROMPT_TOKENS)
    return [int(token) for token in ids]


def make_checkpoint(name: str, folder: Path) -> Any:
    """Save the folder; gives the `transformers` model, f32."""
    folder.mkdir()
    kind, fields = MODELS[name]
    # An embedding that is the output matrix too must not outweigh the layers; Gemma's is scaled up
    # by 16 when it is read.
    tied = 0.25 if "tie_word_embeddings" in fields else 1.0
    scale = 1 / 16 if kind.startswith("Gemma") else tied
    model = tiny_hub.random_model(kind, fields, sizes=SIZES, embedding_scale=scale)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model


def load_weights(model: Any, name: str, gguf_path: Path) -> None:
    """Put the GGUF's dequantized weights into the model. Every weight must be there."""
    import torch

    tensors = dict(_read(gguf_path))
    state = model.state_dict()
    names = _gguf_names(name, model.config.num_hidden_layers)
    heads = _interleaved_heads(name, model.config)
    found = {}
    for key in state:
        is_tied = key == "lm_head.weight" and "output.weight" not in tensors
        tensor = names("model.embed_tokens.weight" if is_tied else key)
        weight = tensors[tensor]
        count = heads.get(tensor.split(".")[-2])
        if count is not None:
            # llama.cpp keeps the two halves of each head's rows interleaved.
            pairs = weight.reshape(count, -1, 2, *weight.shape[1:])
            weight = pairs.swapaxes(1, 2).reshape(weight.shape)
        if name.startswith("gemma") and key.endswith("norm.weight"):
            weight = weight - 1
        found[key] = torch.from_numpy(np.ascontiguousarray(weight))
    model.load_state_dict(found)


def read_greedily(model: Any) -> Reading:
    """STEPS tokens by f32 arithmetic, each step's logits kept."""
    import torch

    ids = prompt()
    rows = []
    cache = None
    step = torch.tensor([ids])
    with torch.inference_mode():
        for _ in range(STEPS):
            output = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            rows.append(output.logits[0, -1].float().numpy().copy())
            ids.append(int(rows[-1].argmax()))
            step = torch.tensor([ids[-1:]])
    return Reading(tuple(ids), np.stack(rows))


def block_types(gguf_path: Path) -> dict[str, int]:
    """How many matrices of the file have which block type."""
    import gguf

    counts: dict[str, int] = {}
    for tensor in gguf.GGUFReader(gguf_path).tensors:
        if len(tensor.shape) > 1:
            counts[tensor.tensor_type.name] = counts.get(tensor.tensor_type.name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _read(path: Path) -> Iterator[tuple[str, F32]]:
    import gguf
    from gguf.quants import dequantize

    for tensor in gguf.GGUFReader(path).tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        yield tensor.name, weight.reshape(tuple(reversed([int(n) for n in tensor.shape])))


def _gguf_names(name: str, blocks: int) -> Any:
    import gguf

    wanted = name.split("-")[0]
    (number,) = [key for key, known in gguf.MODEL_ARCH_NAMES.items() if known == wanted]
    table = gguf.get_tensor_name_map(number, blocks)

    def find(key: str) -> str:
        found = table.get_name(key, try_suffixes=(".weight", ".bias"))
        assert found is not None, key
        return found

    return find


def _interleaved_heads(name: str, config: Any) -> dict[str, int]:
    if name.split("-")[0] not in ("llama", "granite"):
        return {}
    return {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}


def agreement(logits: F32, reading: Reading) -> int:
    """Steps at which the best of `logits` [STEPS, vocab] is the oracle's token."""
    expected = reading.token_ids[-STEPS:]
    return int((logits.argmax(axis=1) == np.array(expected)).sum())


def gaps(logits: F32, reading: Reading) -> list[float]:
    """How far the best of `logits` at each step was behind by the oracle; 0 where they agree."""
    chosen = logits.argmax(axis=1)
    rows = zip(reading.logits, chosen, strict=True)
    return [float(row.max() - row[token]) for row, token in rows]


def gap(reading: Reading, answer: Sequence[int]) -> float:
    """0 where a greedy answer is the oracle's, else how far its first other token was behind."""
    expected = reading.token_ids[-STEPS:]
    for step, (theirs, ours) in enumerate(zip(expected, answer, strict=False)):
        if theirs != ours:
            return float(reading.logits[step].max() - reading.logits[step][ours])
    return 0.0
