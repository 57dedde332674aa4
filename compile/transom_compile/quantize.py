"""A GGUF file becomes another one in smaller block types: one walk over its tensors.

`quantization/` says which type each tensor gets and turns numbers into blocks; this streams rows
through it, on all cores, a few megabytes at a time. The same input gives the same bytes. Must not
know any architecture.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_VERSION

from transom_compile.gguf_output import (
    PIECE_BYTES,
    Entry,
    OutputTensor,
    copied_entries,
    entry,
    gguf_output,
)
from transom_compile.progress import Progress
from transom_compile.quantization.ggml import (
    FLOAT_TYPES,
    QuantizationError,
    check_quantizer,
    dequantize_rows,
    quantize_rows,
    requires_importance,
)
from transom_compile.quantization.imatrix import Importance, read_importance
from transom_compile.quantization.mix import (
    Matrix,
    ModelFacts,
    Scheme,
    find_scheme,
    may_quantize,
    plan_types,
)
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import GgufCheckpoint, open_checkpoint
from transom_models.architecture import ARCHITECTURE_KEY

_EMBEDDING = "token_embd.weight"
# A note that names this many tensors says enough.
_MOST_NAMED = 4

Blocks = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def quantize_gguf(
    source: Path,
    out: Path,
    scheme: str,
    *,
    imatrix: Path | None = None,
    progress: Progress,
) -> Path:
    """Write `source` to `out` in the mix that `scheme` names ("q4_k_m"); gives `out`.

    Raises `UnknownScheme`, `QuantizerMissing`, `QuantizationError`, `CheckpointError`.
    """
    mix = find_scheme(scheme)
    checkpoint = open_checkpoint(source)
    importance = read_importance(imatrix) if imatrix else None
    facts = _facts(checkpoint, importance)
    matrices = [Matrix(i.name, i.shape, i.block_type) for i in checkpoint.tensors.values()]
    types = plan_types(mix, matrices, facts)
    outputs = [OutputTensor(item.name, item.shape, types[item.name]) for item in matrices]
    weights = _importance_of(outputs, checkpoint, importance, progress)
    for kind in sorted(set(types.values())):
        check_quantizer(kind)
    _tell(mix, matrices, types, progress)
    entries = _entries(checkpoint, mix, importance)
    progress.step(f"quantize to {mix.name}", sum(i.nbytes for i in checkpoint.tensors.values()))
    with gguf_output(out, entries, outputs) as sink, Workers() as workers:
        for tensor in outputs:
            sink.write(
                tensor.name,
                requantized(checkpoint, tensor, weights.get(tensor.name), workers, progress),
            )
    return out


class Workers:
    """All cores, at most two pieces for each under way, results in order."""

    def __init__(self) -> None:
        self._count = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._count)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def map(
        self, work: Callable[[slice], tuple[int, Any]], pieces: Iterable[slice]
    ) -> Iterator[tuple[int, Any]]:
        waiting: deque[Future[tuple[int, Any]]] = deque()
        for piece in pieces:
            waiting.append(self._pool.submit(work, piece))
            if len(waiting) >= 2 * self._count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def requantized(
    checkpoint: GgufCheckpoint,
    tensor: OutputTensor,
    importance: Floats | None,
    workers: Workers,
    progress: Progress,
    change: Callable[[slice, Floats], Floats] | None = None,
) -> Iterator[Blocks]:
    """Rows of one tensor in the type of `tensor`, in order; the bits as they are if that is theirs.

    `change`: what to do to some rows' numbers on the way (then nothing is copied as it is).
    """
    info = checkpoint.tensors[tensor.name]
    blocks = checkpoint.read_blocks(tensor.name)
    step = max(1, PIECE_BYTES // (info.shape[-1] * 4))
    pieces = (slice(at, min(at + step, len(blocks))) for at in range(0, len(blocks), step))

    done_bytes = 0

    def work(rows: slice) -> tuple[int, Blocks]:
        part = blocks[rows]
        if change is None and info.block_type == tensor.block_type:
            return part.nbytes, part
        values = dequantize_rows(part, info.block_type)
        if change is not None:
            values = change(rows, values)
        return part.nbytes, quantize_rows(tensor.name, values, tensor.block_type, importance)

    for size, done in workers.map(work, pieces):
        yield done
        checkpoint.release(tensor.name, done_bytes, done_bytes + size)
        done_bytes += size
        progress.advance(size)
    checkpoint.release(tensor.name)


def _facts(checkpoint: GgufCheckpoint, importance: Importance | None) -> ModelFacts:
    metadata = checkpoint.metadata
    name = metadata.get(ARCHITECTURE_KEY)
    if not isinstance(name, str):
        raise CheckpointError(f"{checkpoint.path} does not name its architecture")
    if metadata.get("general.type", "model") != "model":
        raise CheckpointError(
            f"{checkpoint.path} is a GGUF of type {metadata['general.type']!r}, not a model"
        )
    if _number(metadata, "split.count", 1) > 1:
        raise CheckpointError(
            f"{checkpoint.path} is one part of a split GGUF; join the parts first "
            "(llama-gguf-split --merge)"
        )
    if _number(metadata, f"{name}.expert_count", 0) > 0:
        raise CheckpointError(f"{checkpoint.path} is a mixture of experts, not supported yet")
    return model_facts(metadata, name, has_importance=importance is not None)


def model_facts(metadata: Mapping[str, Any], name: str, *, has_importance: bool) -> ModelFacts:
    """What the mixes ask of a model of architecture `name`, from its metadata."""
    heads = _number(metadata, f"{name}.attention.head_count", 1)
    return ModelFacts(
        architecture=name,
        layers=_number(metadata, f"{name}.block_count", 0),
        heads=heads,
        kv_heads=_number(metadata, f"{name}.attention.head_count_kv", heads),
        has_importance=has_importance,
    )


def _number(metadata: Mapping[str, Any], key: str, default: int) -> int:
    value = metadata.get(key, default)
    if isinstance(value, np.ndarray) and value.size:
        # Heads layer by layer: the most of them, as llama.cpp's n_gqa takes the first that counts.
        value = int(value.max())
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _importance_of(
    outputs: Iterable[OutputTensor],
    checkpoint: GgufCheckpoint,
    importance: Importance | None,
    progress: Progress,
) -> dict[str, Floats]:
    """Tensor name -> its row of the importance matrix, for those that will be quantized."""
    found: dict[str, Floats] = {}
    without: list[str] = []
    for tensor in outputs:
        quantized = tensor.block_type not in FLOAT_TYPES
        if not quantized or checkpoint.tensors[tensor.name].block_type == tensor.block_type:
            continue
        values = importance.values.get(tensor.name) if importance else None
        if values is not None and len(values) == tensor.shape[-1]:
            found[tensor.name] = values
            continue
        if values is not None and tensor.name != _EMBEDDING:
            raise QuantizationError(
                f"the importance matrix has {len(values)} inputs for {tensor.name}, "
                f"which has {tensor.shape[-1]}; it was made for another model"
            )
        if requires_importance(tensor.block_type):
            raise QuantizationError(
                f"tensor {tensor.name}: {tensor.block_type} needs an importance matrix"
            )
        without.append(tensor.name)
    if importance and not found:
        raise QuantizationError("the importance matrix names no tensor of this model")
    if importance and without:
        progress.note(f"the importance matrix says nothing of {_listed(without)}")
    return found


def _tell(
    mix: Scheme, matrices: Iterable[Matrix], types: Mapping[str, str], progress: Progress
) -> None:
    """What a user would want to know before using the result."""
    changed = [item for item in matrices if types[item.name] != item.block_type]
    again = [item.name for item in changed if item.block_type not in FLOAT_TYPES]
    if again:
        kinds = sorted({item.block_type for item in changed if item.name in set(again)})
        progress.note(
            f"quantized again from {', '.join(kinds)}: {_listed(again)}; "
            "quality is lost twice, the original weights give a better file"
        )
    other = Counter(
        types[item.name]
        for item in matrices
        if may_quantize(item) and types[item.name] != mix.block_type
    )
    if other:
        parts = (f"{count} in {kind}" for kind, count in sorted(other.items()))
        progress.note(
            f"{mix.name} stores {', '.join(parts)}, the other matrices in {mix.block_type}"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _entries(
    checkpoint: GgufCheckpoint, mix: Scheme, importance: Importance | None
) -> dict[str, Entry]:
    entries = copied_entries(checkpoint)
    entries["general.quantization_version"] = entry(GGML_QUANT_VERSION)
    entries["general.file_type"] = entry(int(mix.file_type))
    for key in ("split.no", "split.count", "split.tensors.count"):
        entries.pop(key, None)
    if importance:
        # Not its path: the same input gives the same bytes wherever it lies.
        entries["quantize.imatrix.entries_count"] = entry(len(importance.values))
        entries["quantize.imatrix.chunks_count"] = entry(importance.chunks)
        if importance.dataset:
            entries["quantize.imatrix.dataset"] = entry(importance.dataset)
    return entries
