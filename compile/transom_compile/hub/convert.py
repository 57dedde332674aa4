"""A Hugging Face folder becomes a GGUF file: config, tokenizer, model card and weights.

The metadata is what llama.cpp's own converter would have written as far as it matters, so that the
same file runs natively. Every check comes before the first byte is written; then one tensor at a
time streams through. Must not know any architecture: `architectures/` says what a config means.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_VERSION, LlamaFileType

from transom_compile.gguf_output import Entry, OutputTensor, entry, gguf_output
from transom_compile.hub.folder import open_weights, read_object
from transom_compile.hub.model_card import read_card
from transom_compile.hub.plan import CONFIG_FILE, find_architecture, read_pooling
from transom_compile.hub.tensors import Conversion, convert_pieces, file_type, plan_tensors
from transom_compile.hub.tokenizer import read_tokenizer
from transom_compile.names import match_names
from transom_compile.progress import Progress
from transom_compile.sources.checkpoint import CheckpointError, TensorInfo
from transom_models.architecture import (
    ARCHITECTURE_KEY,
    Architecture,
    HubModel,
)

_FILE_TYPES: Mapping[str, LlamaFileType] = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
}
_EMBEDDING = "token_embd.weight"


def convert_folder(folder: Path, out: Path, *, progress: Progress) -> Path:
    """Write the folder's model to the GGUF file `out`; gives `out`.

    Weights keep their bits (BF16, F16, F32), vectors are F32. The same folder gives the same bytes.
    Raises `TransomError`: `UnknownArchitecture`, `UnsupportedModel`, `UnsupportedTokenizer`,
    `CheckpointError`, each naming the file or the field.
    """
    config = read_object(folder / CONFIG_FILE)
    architecture = find_architecture(folder, config)
    if architecture.TASK == "embedding":
        config = {**config, **read_pooling(folder)}
    hub = architecture.from_hugging_face(config)
    weights = open_weights(folder)
    blocks = int(hub.metadata[f"{architecture.NAME}.block_count"])
    plan = plan_tensors(weights, architecture.NAME, blocks, hub, progress)
    outputs = [row.output for row in plan]
    rows = _embedding_rows(folder, outputs)
    entries = _general(folder, architecture, outputs, progress)
    entries |= {key: entry(value) for key, value in hub.metadata.items()}
    entries |= read_tokenizer(folder, config, rows, progress)
    check_model(architecture, hub, entries, outputs)
    total = sum(tensor.nbytes for tensor in outputs)
    progress.step("convert weights", total)
    with gguf_output(out, entries, outputs) as sink:
        for row in plan:
            sink.write(row.output.name, _counted(weights, row, progress))
    return out


def _counted(weights: Any, row: Conversion, progress: Progress) -> Any:
    for piece in convert_pieces(weights, row):
        yield piece
        progress.advance(piece.nbytes)


def _embedding_rows(folder: Path, outputs: Sequence[OutputTensor]) -> int:
    for tensor in outputs:
        if tensor.name == _EMBEDDING and len(tensor.shape) > 1:
            return tensor.shape[0]
    raise CheckpointError(f"{folder} has no token embedding")


def _general(
    folder: Path, architecture: Architecture, outputs: Sequence[OutputTensor], progress: Progress
) -> dict[str, Entry]:
    values: dict[str, Any] = {ARCHITECTURE_KEY: architecture.NAME, "general.type": "model"}
    values |= read_card(folder, progress)
    values["general.file_type"] = int(_FILE_TYPES[file_type(outputs)])
    values["general.quantization_version"] = GGML_QUANT_VERSION
    return {key: entry(value) for key, value in values.items()}


def check_model(
    architecture: Architecture,
    hub: HubModel,
    entries: Mapping[str, Entry],
    outputs: Sequence[OutputTensor],
) -> None:
    """Before a byte is written: the result is a model that the walk will take.

    Block types are left to the walk, since the file may yet be quantized.
    """
    values = {key: item.value for key, item in entries.items()}
    config = architecture.read_config(values, hub.vectors)
    infos = {
        tensor.name: TensorInfo(tensor.name, tensor.shape, "F32", 0, tensor.nbytes)
        for tensor in outputs
    }
    specs = architecture.parameters(config, dict.fromkeys(infos, "F32"))
    match_names(specs, infos, architecture.NAME, architecture.CONFIG_TENSORS)
