"""Match what an architecture asks for with what the checkpoint holds, and read one parameter.

Nothing is dropped in silence: a tensor that is missing, unused or of another shape stops the walk.
Must not know any architecture's names or any block layout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transom_compile.sources.checkpoint import Blocks, Checkpoint, TensorInfo
from transom_models.architecture import ParameterSpec, SourceTensor
from transom_models.block_type import INPUT_GROUP, block_type
from transom_models.errors import TransomError

# A message that names this many tensors says enough.
MOST_NAMED = 8
# Every converter writes norms and biases so, and the graph adds them in float32.
VECTOR_TYPE = "F32"
# Rope factors, one for each pair of a head: heads are far below twice this.
MAX_CONFIG_VECTOR = 4096


class TensorMismatch(TransomError):
    """The checkpoint's tensors are not those of its architecture."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which parameters to store, in order; every source exists and has the right shape."""

    rows: tuple[ParameterSpec, ...]


def match_names(
    specs: Sequence[ParameterSpec],
    tensors: Mapping[str, TensorInfo],
    architecture: str,
    config_tensors: Sequence[str] = (),
) -> Plan:
    """Check every parameter against the tensor table. Raises `TensorMismatch`,
    `UnsupportedBlockType`. `config_tensors` are those that the config was read from."""
    asked = [source for spec in specs for source in spec.sources]
    names = {source.name for source in asked}
    missing = [source.name for source in asked if source.name not in tensors]
    if missing:
        raise TensorMismatch(f"the checkpoint lacks {_listed(missing)}")
    unused = [name for name in tensors if name not in names and name not in config_tensors]
    if unused:
        # Any tensor may change the answers, so there is no list of names to wave through.
        raise TensorMismatch(
            f"the checkpoint has {_listed(unused)}, which Transom's {architecture} does not use "
            "yet; leaving it out would change the answers"
        )
    for source in asked:
        info = tensors[source.name]
        block_type(info.block_type, source.name)
        if info.shape != source.shape:
            raise TensorMismatch(
                f"tensor {source.name} has shape {list(info.shape)}, "
                f"but the metadata asks for {list(source.shape)}"
            )
        if len(info.shape) == 1 and info.block_type != VECTOR_TYPE:
            raise TensorMismatch(
                f"tensor {source.name} is {info.block_type}, "
                f"but Transom reads vectors as {VECTOR_TYPE} only"
            )
        if len(info.shape) > 1 and info.shape[-1] % INPUT_GROUP:
            # Quantized blocks see to it themselves; F16 and F32 come in any width.
            raise TensorMismatch(
                f"tensor {source.name} has an input axis of {info.shape[-1]}, "
                f"which is no multiple of {INPUT_GROUP}: Transom cannot run such a model yet"
            )
    return Plan(tuple(specs))


def read_parameter(checkpoint: Checkpoint, spec: ParameterSpec) -> Blocks:
    """uint8 [rows, bytes per row] of one parameter: its sources' rows, in order, un-permuted.

    A view of the file where nothing has to move, else the one copy.
    """
    parts = [_read_source(checkpoint, source) for source in spec.sources]
    # A vector is one row of blocks, a matrix many.
    blocks = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=len(spec.shape) - 2)
    return blocks[spec.first_row : spec.first_row + spec.shape[0]] if spec.whole else blocks


def release_parameter(checkpoint: Checkpoint, spec: ParameterSpec) -> None:
    """The sources of this parameter will not be read again."""
    for source in spec.sources:
        checkpoint.release(source.name)


def _read_source(checkpoint: Checkpoint, source: SourceTensor) -> Blocks:
    blocks = checkpoint.read_blocks(source.name)
    if not source.rope_heads:
        return blocks
    rows = blocks.reshape(source.shape[0], -1)
    return unpermute_rope_rows(rows, source.rope_heads).reshape(blocks.shape)


def read_config_vectors(
    checkpoint: Checkpoint, names: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Those of the named float32 vectors that the checkpoint holds, as plain numbers."""
    vectors = {}
    for name in names:
        if name not in checkpoint.tensors:
            continue
        info = checkpoint.tensors[name]
        if info.block_type != VECTOR_TYPE or len(info.shape) != 1:
            raise TensorMismatch(
                f"tensor {name} is {info.block_type} of shape {list(info.shape)}, "
                f"but Transom reads it as a vector of {VECTOR_TYPE}"
            )
        if info.shape[0] > MAX_CONFIG_VECTOR:
            raise TensorMismatch(
                f"tensor {name} has {info.shape[0]} elements, more than {MAX_CONFIG_VECTOR}"
            )
        values = checkpoint.read_blocks(name).reshape(-1).view(np.float32)
        vectors[name] = tuple(float(value) for value in values)
    return vectors


def unpermute_rope_rows(blocks: Blocks, heads: int) -> Blocks:
    """Rows from llama.cpp's interleaved rope order back to half-split ("neox") order.

    llama.cpp's converter turns the rows of a head from (2, half) into (half, 2): its rope pairs
    neighbours. Ours pairs row i with row i + half, as the published model does. Whole rows move, so
    block bits stay. Source: ggml-org/llama.cpp convert_hf_to_gguf.py, LlamaModel.permute.
    """
    rows, row_bytes = blocks.shape
    half = rows // heads // 2
    halves = blocks.reshape(heads, half, 2, row_bytes).swapaxes(1, 2)
    return np.ascontiguousarray(halves).reshape(rows, row_bytes)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    plural = "tensor" if len(names) == 1 else "tensors"
    return f"{plural} {', '.join(names[:MOST_NAMED])}{more}"
