"""The oracle for numbers: f32 arithmetic on a GGUF's dequantized weights, by other people's code.

`gguf` reads and dequantizes, `transformers` computes on the CPU. Knows nothing of Transom: none of
our readers, shards, kernels or tokenizers may be imported here, or a mistake shared with them
would be invisible.

Runs as a child process (`python -m tests.e2e.oracle MODEL PROMPTS TOKENS OUT`), so that its
memory, its threads and its warnings stay out of pytest's. Knows the architectures of the two models
with real weights, `llama` and `gemma3`; any other is an error (tests/e2e/tiny_checkpoints.py has
the rest).
"""

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TOP = 32
"""Logits kept of each step, best first: an engine's token outside of them was no tie."""

ROOT = Path(__file__).resolve().parents[2]

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Answer:
    """What the oracle says to one prompt, greedily."""

    prompt: tuple[int, ...]
    token_ids: tuple[int, ...]
    """Generated ids; a stop token is the last one when the answer ended before the limit."""
    first_logits: F32
    """[vocab]: logits after the whole prompt."""
    top_ids: I32
    """[steps, TOP], best first."""
    top_logits: F32
    """[steps, TOP]"""

    def gap(self, step: int, token_id: int) -> float:
        """How far `token_id` was below the best logit at `step`; infinite outside of the TOP."""
        found = np.flatnonzero(self.top_ids[step] == token_id)
        if found.size == 0:
            return float("inf")
        return float(self.top_logits[step, 0] - self.top_logits[step, int(found[0])])

    def smallest_gap(self) -> float:
        """The closest call of the whole answer: best logit minus second best."""
        return float((self.top_logits[:, 0] - self.top_logits[:, 1]).min())


@dataclass(frozen=True)
class Comparison:
    """Where another greedy answer leaves the oracle's, if it does."""

    step: int | None
    """First differing step, or None when all tokens agree."""
    gap: float
    """Logit gap of the other token at that step by the oracle; 0 when all agree."""

    def within(self, tie: float) -> bool:
        return self.step is None or self.gap < tie

    def __str__(self) -> str:
        return "equal" if self.step is None else f"step {self.step}, gap {self.gap:.2e}"


def compare(answer: Answer, token_ids: Sequence[int], stop_ids: Sequence[int]) -> Comparison:
    """Compare greedy tokens with the oracle's, both read up to their stop token.

    Engines differ in whether the stop token is part of the answer. The oracle's own list has it,
    so an answer that ends just before it agrees; one that goes on past it, or ends earlier, does
    not.
    """
    ours = list(token_ids)
    for step, expected in enumerate(answer.token_ids):
        if step >= len(ours):
            if expected in stop_ids:
                return Comparison(None, 0.0)
            # It stopped where the oracle went on: judged by the stop token nearest to winning.
            return Comparison(step, min(answer.gap(step, stop) for stop in stop_ids))
        if ours[step] != expected:
            return Comparison(step, answer.gap(step, ours[step]))
    past_the_end = len(ours) > len(answer.token_ids)
    return (
        Comparison(len(answer.token_ids), float("inf")) if past_the_end else Comparison(None, 0.0)
    )


def ask(model: Path, prompts: Sequence[Sequence[int]], tokens: int, cache: Path) -> list[Answer]:
    """The oracle's greedy answers, computed in a child process once per model, prompts and
    versions.

    Args:
        model: GGUF file of architecture `llama` or `gemma3`.
        prompts: token ids, one list per prompt.
        tokens: most tokens to generate for each.
        cache: folder that outlives the run.
    """
    request = json.dumps({"prompts": [list(map(int, prompt)) for prompt in prompts]})
    key = hashlib.sha256()
    with model.open("rb") as file:
        key.update(hashlib.file_digest(file, "sha256").digest())
    versions = [importlib.metadata.version(name) for name in ("torch", "transformers", "gguf")]
    key.update(json.dumps([request, tokens, versions]).encode() + Path(__file__).read_bytes())
    cache.mkdir(parents=True, exist_ok=True)
    out = cache / f"{key.hexdigest()[:32]}.npz"
    if not out.exists():
        partial = out.with_suffix(".partial.npz")
        command = [sys.executable, "-W", "ignore", "-m", "tests.e2e.oracle"]
        subprocess.run(
            [*command, str(model), str(tokens), str(partial)],
            input=request, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
        partial.rename(out)
    return list(_read(out, prompts))


def _read(path: Path, prompts: Sequence[Sequence[int]]) -> Iterator[Answer]:
    with np.load(path) as saved:
        for number, prompt in enumerate(prompts):
            yield Answer(
                prompt=tuple(prompt),
                token_ids=tuple(int(token) for token in saved[f"tokens{number}"]),
                first_logits=saved[f"first{number}"],
                top_ids=saved[f"top_ids{number}"],
                top_logits=saved[f"top_logits{number}"],
            )


def read_weights(reader: Any) -> Iterator[tuple[str, F32]]:
    """Every tensor of a GGUF under its Hugging Face name, dequantized.

    llama's GGUF stores the rows of Q and K interleaved for llama.cpp's rope; `transformers` wants
    each head's two halves one after the other. gemma3's has 1 added to each norm, which
    `transformers` adds itself (llama.cpp's convert_hf_to_gguf does the opposite of both).
    """
    from gguf.quants import dequantize

    metadata = _metadata(reader)
    is_gemma = metadata["general.architecture"] == "gemma3"
    heads = {}
    if not is_gemma:
        heads["attn_q"] = metadata["llama.attention.head_count"]
        heads["attn_k"] = metadata["llama.attention.head_count_kv"]
    modules = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm" if is_gemma else "post_attention_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    top_level = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if is_gemma and tensor.name.endswith("norm.weight"):
            weight = weight - 1
        if tensor.name in top_level:
            yield top_level[tensor.name], weight
            continue
        _, layer, kind, suffix = tensor.name.split(".")
        if kind in heads:
            rows, columns = weight.shape
            pairs = weight.reshape(heads[kind], rows // heads[kind] // 2, 2, columns)
            weight = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))
        yield f"model.layers.{layer}.{modules[kind]}.{suffix}", weight


def _metadata(reader: Any) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items()}


def load_model(path: Path) -> tuple[Any, set[int]]:
    """The GGUF as a `transformers` model in f32, and the token ids that end an answer."""
    import torch
    import transformers
    from gguf import GGUFReader

    reader = GGUFReader(path)
    metadata = _metadata(reader)
    name = metadata["general.architecture"]
    kinds = {"llama": "Llama", "gemma3": "Gemma3"}
    if name not in kinds:
        raise SystemExit(f"oracle: {path.name} is {name}, not {' or '.join(kinds)}")
    weights = {key: torch.from_numpy(weight) for key, weight in read_weights(reader)}
    values = {key.removeprefix(f"{name}."): value for key, value in metadata.items()}
    vocab, hidden = weights["model.embed_tokens.weight"].shape
    heads = values["attention.head_count"]
    theta = values.get("rope.freq_base", 10000.0)
    settings: dict[str, Any] = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": values["feed_forward_length"],
        "num_hidden_layers": values["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": values.get("attention.head_count_kv", heads),
        "max_position_embeddings": values["context_length"],
        "rms_norm_eps": values["attention.layer_norm_rms_epsilon"],
        "tie_word_embeddings": "lm_head.weight" not in weights,
    }
    if name == "gemma3":
        # What a GGUF of Gemma 3 does not say is Google's: five windowed layers to a full one,
        # which turn by 10 000.
        kind = "Gemma3Text"
        settings |= {
            "head_dim": values["attention.key_length"],
            "query_pre_attn_scalar": values["attention.key_length"],
            "sliding_window": values["attention.sliding_window"],
            "layer_types": [
                "full_attention" if layer % 6 == 5 else "sliding_attention"
                for layer in range(values["block_count"])
            ],
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": theta},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        }
    else:
        kind = "Llama"
        settings["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    config = getattr(transformers, f"{kind}Config")(**settings)
    model: Any = getattr(transformers, f"{kinds[name]}ForCausalLM")(config)
    model.set_attn_implementation("eager")
    model = model.to(torch.float32).eval()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    unexplained = set(missing) - ({"lm_head.weight"} if config.tie_word_embeddings else set())
    if unexplained or unexpected:
        raise SystemExit(f"oracle: missing {sorted(unexplained)}, unexpected {sorted(unexpected)}")
    model.tie_weights()
    return model, {int(metadata["tokenizer.ggml.eos_token_id"])}


def generate(model: Any, prompt: Sequence[int], tokens: int, stop_ids: set[int]) -> Answer:
    """Greedy decoding by hand: every step's best logits are kept, which `generate()` would drop."""
    import torch

    generated: list[int] = []
    top_ids, top_logits = [], []
    first = None
    cache = None
    step = torch.tensor([list(prompt)])
    with torch.inference_mode():
        while len(generated) < tokens and not (generated and generated[-1] in stop_ids):
            output = model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            logits = output.logits[0, -1].float()
            first = logits.numpy().copy() if first is None else first
            best = torch.topk(logits, TOP)
            top_ids.append(best.indices.numpy().astype(np.int32))
            top_logits.append(best.values.numpy().astype(np.float32))
            generated.append(int(best.indices[0]))
            step = torch.tensor([generated[-1:]])
    if first is None:
        raise SystemExit("oracle: asked for no token")
    return Answer(tuple(prompt), tuple(generated), first, np.stack(top_ids), np.stack(top_logits))


def main(model_path: str, tokens: str, out: str) -> None:
    prompts = json.load(sys.stdin)["prompts"]
    model, stop_ids = load_model(Path(model_path))
    arrays: dict[str, Any] = {}
    for number, prompt in enumerate(prompts):
        answer = generate(model, prompt, int(tokens), stop_ids)
        arrays[f"tokens{number}"] = np.array(answer.token_ids, np.int32)
        arrays[f"first{number}"] = answer.first_logits
        arrays[f"top_ids{number}"] = answer.top_ids
        arrays[f"top_logits{number}"] = answer.top_logits
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
