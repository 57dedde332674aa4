"""Which tensors of a folder become which tensors of a GGUF, and their bytes.

Names by `gguf.get_tensor_name_map`; matrices keep their bits, vectors become F32, rows of rope
heads are interleaved and norms get their 1 as llama.cpp's converter does it. A tensor that has no
GGUF name is an error. Must not know any architecture's sizes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

from transom_compile.gguf_output import PIECE_BYTES, OutputTensor
from transom_compile.hub.folder import Weights
from transom_compile.progress import Progress
from transom_compile.sources.checkpoint import CheckpointError
from transom_models.architecture import HubModel

_BLOCK_TYPES = MappingProxyType({"F32": "F32", "F16": "F16", "BF16": "BF16", "F64": "F32"})
NUMPY_DTYPES = MappingProxyType({"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"})
"""safetensors dtype -> how NumPy reads it; BF16 as its bits."""
# Matrices that llama.cpp reads as F32 only: positions and token types of BERT.
_ALWAYS_F32 = ("position_embd.weight", "token_types.weight")
# Made of the config whenever the model is loaded.
_NOT_WEIGHTS = re.compile(r".*\.rotary_emb\.inv_freq|.*\.attn\.masked_bias")
_LANGUAGE_MODEL = re.compile(r"^(model\.|)language_model\.")
_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"
# Embedding first, blocks in their order, the head last: the order of use.
_BLOCK = re.compile(r"blk\.(\d+)\.(.*)")


@dataclass(frozen=True, slots=True)
class Conversion:
    """One tensor to write. `source`: its name in the folder, "" where `vector` holds the values.

    `heads` > 0: rows of so many heads are interleaved; `plus_one`: 1 is added.
    """

    source: str
    output: OutputTensor
    heads: int = 0
    plus_one: bool = False
    vector: tuple[float, ...] = ()


def plan_tensors(
    weights: Weights, architecture: str, blocks: int, hub: HubModel, progress: Progress
) -> list[Conversion]:
    """Every tensor of the folder under its GGUF name, in the order of use.

    Raises `CheckpointError` naming a tensor that has no GGUF name, or a dtype that has no type.
    """
    names = TensorNames(architecture, blocks)
    plan = [
        Conversion("", OutputTensor(name, (len(values),), "F32"), vector=tuple(values))
        for name, values in hub.vectors.items()
    ]
    taken: dict[str, str] = {}
    left_out = [source for source in weights if source.startswith(hub.unused)]
    if left_out:
        progress.note(
            f"{len(left_out)} tensors are left out, such as {left_out[0]}: no part of this model"
        )
    for source in weights:
        if source.startswith(hub.unused) or _NOT_WEIGHTS.fullmatch(source):
            continue
        name = names.find(source)
        if name in taken:
            raise CheckpointError(f"tensors {taken[name]} and {source} are both {name}")
        taken[name] = source
        plan.append(_conversion(weights, source, name, hub))
    if _OUTPUT in taken and _EMBEDDING in taken:
        output, embedding = taken[_OUTPUT], taken[_EMBEDDING]
        if _same(weights, output, embedding):
            progress.note(f"{output} is {embedding} and is stored once")
            plan = [row for row in plan if row.output.name != _OUTPUT]
        elif hub.tied_embeddings:
            raise CheckpointError(
                f"config.json ties {output} to {embedding}, but they differ; "
                "say tie_word_embeddings: false, or leave one of them out"
            )
    return sorted(plan, key=lambda row: _place(row.output.name))


class TensorNames:
    """Folder's tensor name -> GGUF's."""

    def __init__(self, architecture: str, blocks: int) -> None:
        kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
        self._map = get_tensor_name_map(kinds.get(architecture, MODEL_ARCH.LLAMA), blocks)
        self._architecture = architecture

    def find(self, source: str) -> str:
        """Raises `CheckpointError` for what has no name."""
        # Models with a head on top call the model below by its own name, those that also see have
        # a language_model; BERT's norms keep TensorFlow's words for weight and bias in old files.
        name = source.removeprefix(f"{self._architecture}.")
        name = _LANGUAGE_MODEL.sub(r"\1", name)
        name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
        found: str | None = self._map.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise CheckpointError(
                f"tensor {source} has no place in a GGUF of architecture {self._architecture}; "
                "leaving it out could change the answers"
            )
        return found


def _conversion(weights: Weights, source: str, name: str, hub: HubModel) -> Conversion:
    info = weights.info(source)
    if info.dtype not in _BLOCK_TYPES:
        raise CheckpointError(
            f"tensor {source} is {info.dtype}; only weights in F32, F16 or BF16 can be converted: "
            "take the checkpoint as it was before it was quantized"
        )
    if len(info.shape) not in {1, 2} or not info.nbytes:
        raise CheckpointError(f"tensor {source} has shape {list(info.shape)}, which has no use")
    kind = _BLOCK_TYPES[info.dtype]
    wide = len(info.shape) == 1 or not name.endswith(".weight") or name in _ALWAYS_F32
    if wide or name.endswith("_norm.weight"):
        kind = "F32"
    heads = hub.rope_heads.get(name.split(".")[-2], 0) if name.startswith("blk.") else 0
    if heads and info.shape[0] % (2 * heads):
        raise CheckpointError(
            f"tensor {source} has {info.shape[0]} rows, which are no {heads} heads of pairs"
        )
    plus_one = hub.plus_one and name.endswith("norm.weight")
    return Conversion(source, OutputTensor(name, info.shape, kind), heads, plus_one)


def _place(name: str) -> tuple[int, int, str]:
    block = _BLOCK.fullmatch(name)
    if block:
        return 1, int(block[1]), block[2]
    # The head after its norm.
    return (2 if name.startswith("output") else 0), int(name == _OUTPUT), name


def _same(weights: Weights, one: str, other: str) -> bool:
    first, second = weights.info(one), weights.info(other)
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    left, right = weights.read(one), weights.read(other)
    return all(
        np.array_equal(left[at : at + PIECE_BYTES], right[at : at + PIECE_BYTES])
        for at in range(0, len(left), PIECE_BYTES)
    )


def convert_pieces(weights: Weights, row: Conversion) -> Iterator[npt.NDArray[Any]]:
    """The bytes of one tensor, some rows at a time."""
    if not row.source:
        yield np.array(row.vector, "<f4")
        return
    info = weights.info(row.source)
    # A vector is a column here, so that heads of a bias are rows too.
    data = weights.read(row.source).view(NUMPY_DTYPES[info.dtype]).reshape(info.shape[0], -1)
    order = interleaved_rows(info.shape[0], row.heads) if row.heads else None
    step = max(1, PIECE_BYTES // (data.shape[1] * 4))
    for start in range(0, data.shape[0], step):
        rows = slice(start, start + step)
        piece = data[rows] if order is None else data[order[rows]]
        if row.output.block_type == "F32":
            piece = to_float32(piece, info.dtype)
            if row.plus_one:
                piece = piece + np.float32(1)
        yield piece
        if order is None:
            # A page that this piece shares with the next one goes with the next one.
            weights.release(row.source, 0, data[: rows.stop].nbytes)
    weights.release(row.source)


def to_float32(data: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    """F32, F16, BF16 (as uint16 bits) or F64 as float32, exactly but for F64."""
    if dtype == "BF16":
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data.astype(np.float32)


def interleaved_rows(rows: int, heads: int) -> npt.NDArray[np.intp]:
    """Where each row of a GGUF comes from: in each head, halves turned into neighbours.

    The other way round than `names.unpermute_rope_rows`.
    """
    order = np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2)
    return np.ascontiguousarray(order).reshape(rows)


def file_type(tensors: Sequence[OutputTensor]) -> str:
    """The block type that most elements of matrices have; F32 if there are none."""
    sizes: dict[str, int] = {}
    for tensor in tensors:
        if len(tensor.shape) > 1:
            sizes[tensor.block_type] = sizes.get(tensor.block_type, 0) + tensor.nbytes
    return max(sizes, key=lambda kind: (sizes[kind], kind), default="F32")
