"""PEFT's folders of LoRA adapters: `adapter_config.json` and `adapter_model.safetensors`.

Gives pairs of matrices under Hugging Face's names of the weights they change. Whatever a config
asks for that plain LoRA is not (DoRA, whole modules, biases) is refused by its field. Must not know
GGUF.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile.hub.folder import MAX_CONFIG_BYTES, read_object
from transom_compile.hub.safetensors import SafetensorsFile, open_safetensors
from transom_compile.hub.tensors import NUMPY_DTYPES, to_float32
from transom_compile.quantization.ggml import Floats
from transom_models.errors import TransomError

CONFIG_FILE = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_KINDS = {
    ".lora_A.weight": ("a", ".weight"),
    ".lora_B.weight": ("b", ".weight"),
    # Of an embedding: stored turned over, (rank, tokens) and (width, rank).
    ".lora_embedding_A": ("embedding_a", ".weight"),
    ".lora_embedding_B": ("embedding_b", ".weight"),
}
# Where training looked or began, not what the result is.
_HARMLESS = frozenset(
    """auto_mapping arrow_config base_model_name_or_path corda_config
    eva_config exclude_modules inference_mode init_lora_weights layers_pattern
    layers_to_transform loftq_config lora_alpha lora_dropout megatron_core peft_type peft_version
    qalora_group_size r revision target_modules task_type use_rslora ensure_weight_tying""".split()
)
# These change the base model before training, so that the adapter belongs to another base.
_OTHER_BASES = ("pissa", "olora", "loftq", "corda", "lora_ga")


class UnsupportedAdapter(TransomError):
    """The adapter asks for more than low-rank additions to weights. Names the field."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """An addition to a weight: `scale` * B A. A: float32 [rank, cols], B: float32 [rows, rank]."""

    a: Floats
    b: Floats
    scale: float


def read_peft(folder: Path) -> dict[str, LowRank]:
    """Hugging Face's name of a weight -> what is added to it.

    Raises `UnsupportedAdapter`, or `CheckpointError` for damaged files.
    """
    scale, rank = _scale(folder)
    file = open_safetensors(folder / WEIGHTS)
    parts: dict[str, dict[str, Floats]] = {}
    for name in file.tensors:
        suffix = next((suffix for suffix in _KINDS if name.endswith(suffix)), None)
        if suffix is None or not name.startswith(_PREFIX):
            raise UnsupportedAdapter(
                f"{file.path}: tensor {name} is no low-rank addition, so it cannot be merged"
            )
        kind, ending = _KINDS[suffix]
        target = name.removeprefix(_PREFIX).removesuffix(suffix) + ending
        parts.setdefault(target, {})[kind] = _matrix(file, name)
    if not parts:
        raise UnsupportedAdapter(f"{file.path} has no tensors")
    return {target: _pair(file.path, target, found, scale, rank) for target, found in parts.items()}


def _pair(path: Path, target: str, found: Mapping[str, Floats], scale: float, rank: int) -> LowRank:
    if found.keys() == {"a", "b"}:
        a, b = found["a"], found["b"]
    elif found.keys() == {"embedding_a", "embedding_b"}:
        a, b = found["embedding_b"].T, found["embedding_a"].T
    else:
        raise UnsupportedAdapter(f"{path}: {target} has {', '.join(sorted(found))} but no more")
    if a.shape[0] != rank or b.shape[1] != rank:
        raise UnsupportedAdapter(
            f"{path}: {target} has rank {a.shape[0]} and {b.shape[1]}, "
            f"but {CONFIG_FILE} says {rank}"
        )
    return LowRank(a, b, scale)


def _matrix(file: SafetensorsFile, name: str) -> Floats:
    info = file.tensors[name]
    if info.dtype not in NUMPY_DTYPES or len(info.shape) != 2 or not info.nbytes:
        raise UnsupportedAdapter(
            f"{file.path}: tensor {name} is {info.dtype} of shape {list(info.shape)}, "
            "no matrix of floats"
        )
    return to_float32(
        file.read(name).view(NUMPY_DTYPES[info.dtype]).reshape(info.shape), info.dtype
    )


def _scale(folder: Path) -> tuple[float, int]:
    """(alpha / rank or alpha / sqrt(rank), rank)."""
    path = folder / CONFIG_FILE
    config = read_object(path, MAX_CONFIG_BYTES)
    if config.get("peft_type") != "LORA":
        raise UnsupportedAdapter(f"{path}: peft_type {config.get('peft_type')!r} is not LORA")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_OTHER_BASES):
        raise UnsupportedAdapter(
            f"{path}: init_lora_weights {start!r} changed the base model; convert the adapter "
            "to plain LoRA with PEFT first"
        )
    for field, value in config.items():
        plain = field == "bias" and value == "none"
        if value and field not in _HARMLESS and not plain:
            raise UnsupportedAdapter(
                f"{path}: {field} {_shown(value)} is not supported; merge with PEFT and convert "
                "the merged model"
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or rank < 1:
        raise UnsupportedAdapter(f"{path}: r is {_shown(rank)}, no rank")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise UnsupportedAdapter(f"{path}: lora_alpha is {_shown(alpha)}, no number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank), rank


def _shown(value: Any) -> str:
    return repr(value)[:80]
