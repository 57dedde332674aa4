"""A model as far as headers tell, after what a recipe will do to it: sizes and block types.

For plans. Reads no weight and makes no file. Never imports TVM.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transom_compile.binding import divide_large
from transom_compile.names import match_names, read_config_vectors
from transom_compile.prepare import Recipe, made_steps
from transom_compile.progress import Silent
from transom_compile.recognise import choose_window
from transom_compile.sources.checkpoint import CheckpointError, TensorInfo
from transom_compile.sources.gguf import open_checkpoint
from transom_models.architecture import (
    ARCHITECTURE_KEY,
    Architecture,
    CacheSpec,
    ParameterSpec,
    load_architecture,
)
from transom_models.licence import stated_licence


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What the walk would make libraries and shards of. `tensors`: those of the GGUF that walks,
    which is the source itself where `steps` is empty."""

    format: str
    source_bytes: int
    steps: tuple[str, ...]
    architecture: Architecture
    licence: str | None
    config: Any
    tensors: Mapping[str, TensorInfo]
    rows: tuple[ParameterSpec, ...]
    context_window: int

    @property
    def gguf_bytes(self) -> int:
        """Of the GGUF, less its header."""
        return sum(info.nbytes for info in self.tensors.values())

    @property
    def cache(self) -> CacheSpec | None:
        """What its KV cache holds; None for a model without one."""
        if self.architecture.TASK != "chat":
            return None
        return self.architecture.cache_spec(self.config, self.context_window)


def read_shape(source: Path, recipe: Recipe, context: int | None) -> ModelShape:
    """Look at a GGUF file or a Hugging Face folder. Raises what compiling it would raise first."""
    read = _read_folder if source.is_dir() else _read_gguf
    metadata, vectors, tensors, architecture, size = read(source)
    if recipe.quantize is not None:
        tensors = _quantized(tensors, metadata, architecture.NAME, recipe)
    config = architecture.read_config(metadata, vectors)
    types = {info.name: info.block_type for info in tensors.values()}
    rows = divide_large(architecture.parameters(config, types))
    match_names(rows, tensors, architecture.NAME, architecture.CONFIG_TENSORS)
    return ModelShape(
        format="Hugging Face folder" if source.is_dir() else "GGUF",
        source_bytes=size,
        steps=made_steps(source, recipe),
        architecture=architecture,
        licence=stated_licence(metadata),
        config=config,
        tensors=tensors,
        rows=rows,
        context_window=choose_window(context, config.context_length),
    )


_Read = tuple[
    Mapping[str, Any],
    Mapping[str, tuple[float, ...]],
    Mapping[str, TensorInfo],
    Architecture,
    int,
]


def _read_gguf(path: Path) -> _Read:
    checkpoint = open_checkpoint(path)
    name = checkpoint.metadata.get(ARCHITECTURE_KEY)
    if not isinstance(name, str):
        raise CheckpointError(f"{path} does not name its architecture ({ARCHITECTURE_KEY})")
    architecture = load_architecture(name)
    vectors = read_config_vectors(checkpoint, architecture.CONFIG_TENSORS)
    size = path.stat().st_size
    return checkpoint.metadata, vectors, checkpoint.tensors, architecture, size


def _read_folder(folder: Path) -> _Read:
    from transom_compile.hub.folder import open_weights
    from transom_compile.hub.plan import read_hub_model
    from transom_compile.hub.tensors import plan_tensors

    name, hub, licence = read_hub_model(folder)
    architecture = load_architecture(name)
    weights = open_weights(folder)
    blocks = int(hub.metadata[f"{name}.block_count"])
    planned = plan_tensors(weights, name, blocks, hub, Silent())
    tensors = {
        row.output.name: TensorInfo(
            row.output.name, row.output.shape, row.output.block_type, 0, row.output.nbytes
        )
        for row in planned
    }
    metadata = {**hub.metadata, "general.license": licence}
    if (embedding := tensors.get("token_embd.weight")) is not None:
        # Most files leave it to the tokenizer, which is not read here.
        metadata.setdefault(f"{name}.vocab_size", embedding.shape[0])
    size = sum(weights.info(name).nbytes for name in weights)
    return _as_stored(metadata), _as_stored(hub.vectors), tensors, architecture, size


def _as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a GGUF gives them back: its floats have 32 bits, and a library's key is made of them."""

    def stored(value: Any) -> Any:
        if isinstance(value, float):
            return float(np.float32(value))
        return tuple(map(stored, value)) if isinstance(value, list | tuple) else value

    return {key: stored(value) for key, value in values.items()}


def _quantized(
    tensors: Mapping[str, TensorInfo], metadata: Mapping[str, Any], name: str, recipe: Recipe
) -> Mapping[str, TensorInfo]:
    """The same tensors in the types that llama.cpp's mix gives them."""
    from transom_compile.gguf_output import OutputTensor
    from transom_compile.quantization.mix import Matrix, find_scheme, plan_types
    from transom_compile.quantize import model_facts

    assert recipe.quantize is not None
    matrices = [Matrix(info.name, info.shape, info.block_type) for info in tensors.values()]
    facts = model_facts(metadata, name, has_importance=recipe.imatrix is not None)
    types = plan_types(find_scheme(recipe.quantize), matrices, facts)
    return {
        info.name: TensorInfo(
            info.name,
            info.shape,
            types[info.name],
            0,
            OutputTensor(info.name, info.shape, types[info.name]).nbytes,
        )
        for info in tensors.values()
    }
