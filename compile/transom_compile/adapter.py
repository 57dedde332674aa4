"""LoRA adapters, GGUF or PEFT, merged into the weights of a GGUF: one file again, one model.

A merged tensor is W + scale * (alpha / rank) * B A, computed in float32 and stored in the type it
had; where that is a quantized one, llama.cpp's quantizer makes it again, and says so. Must not know
how either kind of file is laid out.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from transom_compile.gguf_output import OutputTensor, copied_entries, gguf_output
from transom_compile.hub.peft import LowRank, UnsupportedAdapter, read_peft
from transom_compile.hub.tensors import TensorNames, interleaved_rows
from transom_compile.names import read_config_vectors
from transom_compile.progress import Progress
from transom_compile.quantization.ggml import (
    FLOAT_TYPES,
    Floats,
    check_quantizer,
    dequantize_rows,
    requires_importance,
)
from transom_compile.quantize import Workers, requantized
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import GgufCheckpoint, open_checkpoint
from transom_models.architecture import ARCHITECTURE_KEY, load_architecture

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_A, _B = ".lora_a", ".lora_b"


class AdapterMismatch(UnsupportedAdapter):
    """The adapter was made for another model. Names the tensor."""


def merge_adapter(
    source: Path, adapter: Path, out: Path, *, scale: float = 1.0, progress: Progress
) -> Path:
    """Write `source` with `adapter` (a GGUF file or a PEFT folder) merged in to `out`; gives `out`.

    Raises `AdapterMismatch` (another base model), `UnsupportedAdapter`, `CheckpointError`,
    `QuantizerMissing`.
    """
    if not math.isfinite(scale):
        raise UnsupportedAdapter(f"an adapter scale of {scale} is no number")
    checkpoint = open_checkpoint(source)
    architecture = checkpoint.metadata.get(ARCHITECTURE_KEY)
    if not isinstance(architecture, str):
        raise CheckpointError(f"{source} does not name its architecture")
    if adapter.is_dir():
        additions = _from_peft(checkpoint, architecture, adapter)
    else:
        additions = _from_gguf(architecture, adapter)
    _check(checkpoint, adapter, additions)
    outputs = [OutputTensor(i.name, i.shape, i.block_type) for i in checkpoint.tensors.values()]
    again = sorted({checkpoint.tensors[name].block_type for name in additions} - set(FLOAT_TYPES))
    for kind in again:
        check_quantizer(kind)
    if again:
        progress.note(
            f"merged tensors are quantized again to {', '.join(again)}; merging into the original "
            "weights gives a better file"
        )
    progress.step("merge adapter", sum(i.nbytes for i in checkpoint.tensors.values()))
    with gguf_output(out, copied_entries(checkpoint), outputs) as sink, Workers() as workers:
        for tensor in outputs:
            addition = additions.get(tensor.name)
            change = _Adder(addition, scale) if addition else None
            sink.write(
                tensor.name, requantized(checkpoint, tensor, None, workers, progress, change)
            )
    return out


class _Adder:
    """Adds its part of B A to some rows of a weight."""

    def __init__(self, addition: LowRank, scale: float) -> None:
        self._a = addition.a
        self._b = addition.b
        self._scale = np.float32(addition.scale * scale)

    def __call__(self, rows: slice, values: Floats) -> Floats:
        return values + self._scale * (self._b[rows] @ self._a)


def _from_peft(checkpoint: GgufCheckpoint, architecture: str, folder: Path) -> dict[str, LowRank]:
    """GGUF tensor name -> addition, with the rows of rope heads where llama.cpp has them."""
    module = load_architecture(architecture)
    blocks = checkpoint.metadata.get(f"{architecture}.block_count")
    names = TensorNames(architecture, blocks if isinstance(blocks, int) else 0)
    vectors = read_config_vectors(checkpoint, module.CONFIG_TENSORS)
    config = module.read_config(checkpoint.metadata, vectors)
    types = {info.name: info.block_type for info in checkpoint.tensors.values()}
    specs = module.parameters(config, types)
    heads = {part.name: part.rope_heads for spec in specs for part in spec.sources}
    additions: dict[str, LowRank] = {}
    for target, addition in read_peft(folder).items():
        try:
            name = names.find(target)
        except CheckpointError:
            raise AdapterMismatch(
                f"{folder} changes {target}, which a {architecture} does not have; "
                "it was made for another model"
            ) from None
        rows = addition.b.shape[0]
        count = heads.get(name, 0)
        if count and rows % (2 * count) == 0:
            order = interleaved_rows(rows, count)
            addition = LowRank(addition.a, addition.b[order], addition.scale)
        additions[name] = addition
    return additions


def _from_gguf(architecture: str, path: Path) -> dict[str, LowRank]:
    """llama.cpp's format (src/llama-adapter.cpp): `<tensor>.lora_a`, `<tensor>.lora_b`."""
    file = open_checkpoint(path)
    metadata = file.metadata
    if metadata.get("general.type") != "adapter" or metadata.get("adapter.type") != "lora":
        raise UnsupportedAdapter(f"{path} is a GGUF, but no LoRA adapter")
    if metadata.get(ARCHITECTURE_KEY) != architecture:
        raise AdapterMismatch(
            f"{path} is for a {metadata.get(ARCHITECTURE_KEY)}, but the model is a {architecture}"
        )
    for key in metadata:
        if key.startswith("adapter.") and key not in {"adapter.type", "adapter.lora.alpha"}:
            raise UnsupportedAdapter(f"{path}: {key} is not supported")
    alpha = metadata.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        raise UnsupportedAdapter(f"{path}: adapter.lora.alpha is {alpha!r}, no number")
    pairs: dict[str, dict[str, Floats]] = {}
    for name in file.tensors:
        suffix = name[-len(_A) :]
        if suffix not in {_A, _B}:
            raise UnsupportedAdapter(f"{path}: tensor {name} is no part of a low-rank addition")
        pairs.setdefault(name.removesuffix(suffix), {})[suffix] = _matrix(file, name)
    return {name: _pair(path, name, pair, alpha) for name, pair in pairs.items()}


def _matrix(file: GgufCheckpoint, name: str) -> Floats:
    info = file.tensors[name]
    if len(info.shape) != 2:
        raise UnsupportedAdapter(f"{file.path}: tensor {name} has shape {list(info.shape)}")
    return dequantize_rows(file.read_blocks(name), info.block_type)


def _pair(path: Path, name: str, pair: Mapping[str, Floats], alpha: float) -> LowRank:
    if pair.keys() != {_A, _B}:
        raise UnsupportedAdapter(f"{path}: {name} has only one matrix of its two")
    a, b = pair[_A], pair[_B]
    if name == _EMBEDDING:
        # Stored so that llama.cpp can look rows of A up: (tokens, rank) and (width, rank).
        a, b = b.T, a
    rank = b.shape[1]
    if a.shape[0] != rank:
        raise UnsupportedAdapter(f"{path}: {name} has ranks {a.shape[0]} and {rank}")
    # llama.cpp takes an alpha of 0 for none.
    return LowRank(a, b, alpha / rank if alpha else 1.0)


def _check(checkpoint: GgufCheckpoint, adapter: Path, additions: Mapping[str, LowRank]) -> None:
    if not additions:
        raise UnsupportedAdapter(f"{adapter} changes nothing")
    for name, addition in additions.items():
        info = checkpoint.tensors.get(name)
        if info is None:
            raise AdapterMismatch(
                f"{adapter} changes {name}, which {checkpoint.path} does not have; "
                "it was made for another model"
            )
        shape = (addition.b.shape[0], addition.a.shape[1])
        if info.shape != shape:
            raise AdapterMismatch(
                f"{adapter} changes {name} as a matrix {list(shape)}, but it is "
                f"{list(info.shape)} in {checkpoint.path}; it was made for another model"
            )
        if requires_importance(info.block_type):
            raise UnsupportedAdapter(
                f"{name} is {info.block_type}, which needs an importance matrix to be made again; "
                "merge into the original weights"
            )
        if not (np.isfinite(addition.a).all() and np.isfinite(addition.b).all()):
            raise UnsupportedAdapter(f"{adapter}: {name} holds a value that is no finite number")
    if _EMBEDDING in additions and _OUTPUT not in checkpoint.tensors:
        raise UnsupportedAdapter(
            f"{adapter} changes the embedding only, but in this model it is the output matrix too; "
            "merge with PEFT and convert the merged model"
        )
