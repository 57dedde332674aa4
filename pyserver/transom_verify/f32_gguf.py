"""The same weights, every one an f32: the file on which llama.cpp computes exactly.

On a quantized file llama.cpp's CPU kernels round activations as well. On this one nothing is
rounded but f32 sums, so it is the oracle. Reads, dequantizes and writes with `gguf` alone: a
mistake of our own readers must not be in the oracle too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize

SLICE_ELEMENTS = 16 * 1024 * 1024
"""Elements dequantized at a time; an embedding of 262 144 rows would take gigabytes at once."""

_WRITTEN_BY_THE_WRITER = {"general.architecture", "general.file_type"}
_ALIGNMENT = "general.alignment"


def write_f32_gguf(source: Path, out: Path, advance: Callable[[int], None]) -> None:
    """Write `out`: metadata of `source`, its tensors as F32. `advance` hears of bytes written."""
    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(out, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in _WRITTEN_BY_THE_WRITER:
            continue
        if field.name == _ALIGNMENT:
            writer.add_custom_alignment(int(field.contents()))
            continue
        value = field.contents()
        is_array = field.types[0] == GGUFValueType.ARRAY
        if is_array and not value:
            # The writer refuses empty lists; llama.cpp takes a missing key for one.
            continue
        writer.add_key_value(
            field.name, value, field.types[0], field.types[-1] if is_array else None
        )
    writer.add_file_type(LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        shape = [int(extent) for extent in reversed(tensor.shape)]
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), 4 * tensor.n_elements)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in reader.tensors:
            _write_tensor(writer, tensor, advance)
    finally:
        writer.close()


def f32_bytes(source: Path) -> int:
    """Size of all tensors as F32."""
    return sum(4 * int(tensor.n_elements) for tensor in GGUFReader(source).tensors)


def is_f32(source: Path) -> bool:
    """Whether there is nothing to dequantize."""
    return all(
        tensor.tensor_type == GGMLQuantizationType.F32 for tensor in GGUFReader(source).tensors
    )


def _write_tensor(writer: Any, tensor: Any, advance: Callable[[int], None]) -> None:
    """One tensor, some rows at a time: `add_tensor` wants it whole."""
    rows = tensor.data.reshape(-1, tensor.data.shape[-1])
    elements_per_row = int(tensor.n_elements) // len(rows)
    step = max(1, SLICE_ELEMENTS // elements_per_row)
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    for start in range(0, len(rows), step):
        values = dequantize(rows[start : start + step], tensor.tensor_type)
        data = np.ascontiguousarray(values, np.dtype("<f4"))
        file.write(data.tobytes())
        advance(data.nbytes)
    writer.write_padding(file, 4 * int(tensor.n_elements))
