"""llama.cpp's quantizer: `ggml_quantize_chunk` of the library inside the `xllamacpp` wheel.

Source of the signatures: ggml-org/llama.cpp, ggml/include/ggml.h. The library ends the process when
its own checks fail, so every argument is checked here first. Must not know models or files.
"""

import ctypes
import functools
import importlib.machinery
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from transom_models.errors import TransomError

PACKAGE = "xllamacpp"
FLOAT_TYPES = ("F32", "F16", "BF16")
Floats = npt.NDArray[np.float32]
Blocks = npt.NDArray[np.uint8]


class QuantizerMissing(TransomError):
    """llama.cpp's quantizer is not installed."""


class QuantizationError(TransomError):
    """A tensor cannot be stored in the block type asked for. Names the tensor."""


@functools.cache
def _library() -> ctypes.CDLL:
    # The module is only found, not imported: importing it would start llama.cpp's logging.
    spec = importlib.util.find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / f"{PACKAGE}{suffix}"
            if path.is_file():
                return _declared(ctypes.CDLL(str(path)))
    raise QuantizerMissing(
        f"quantizing needs llama.cpp's quantizer from the package {PACKAGE}; "
        "install it with: pip install 'transom[quantize]'"
    )


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    try:
        library.ggml_quantize_chunk.restype = ctypes.c_size_t
        library.ggml_quantize_chunk.argtypes = [
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_void_p,
        ]
        library.ggml_quantize_init.argtypes = [ctypes.c_int]
        library.ggml_quantize_init.restype = None
        library.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
        library.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    except AttributeError as error:
        raise QuantizerMissing(
            f"the installed {PACKAGE} does not offer llama.cpp's quantizer ({error}); "
            "install it with: pip install 'transom[quantize]'"
        ) from None
    return library


def check_quantizer(block_type: str) -> None:
    """Find the quantizer and let it make its tables. Raises `QuantizerMissing`."""
    if block_type not in FLOAT_TYPES:
        _library().ggml_quantize_init(GGMLQuantizationType[block_type])


def requires_importance(block_type: str) -> bool:
    """Whether the quantizer refuses this type without an importance matrix."""
    if block_type in FLOAT_TYPES:
        return False
    return bool(_library().ggml_quantize_requires_imatrix(GGMLQuantizationType[block_type]))


def quantize_rows(
    name: str, data: Floats, block_type: str, importance: Floats | None = None
) -> Blocks:
    """float32 [rows, cols] -> uint8 [rows, bytes per row]. May run in several threads at once.

    `importance`: float32 [cols], how much each input counts. Raises `QuantizationError`.
    """
    kind = GGMLQuantizationType[block_type]
    elements, block_bytes = GGML_QUANT_SIZES[kind]
    rows, cols = data.shape
    if cols % elements:
        raise QuantizationError(
            f"tensor {name}: rows of {cols} are no multiple of {block_type}'s block of {elements}"
        )
    if not np.isfinite(data).all():
        raise QuantizationError(f"tensor {name} holds a value that is not a finite number")
    if block_type in FLOAT_TYPES:
        return _floats(name, data, kind)
    if importance is None and requires_importance(block_type):
        raise QuantizationError(f"tensor {name}: {block_type} needs an importance matrix")
    if importance is not None and importance.shape != (cols,):
        raise ValueError(f"importance of {name} has shape {importance.shape}, not ({cols},)")
    source = np.ascontiguousarray(data, np.float32)
    blocks = np.empty((rows, cols // elements * block_bytes), np.uint8)
    weights = None if importance is None else np.ascontiguousarray(importance, np.float32)
    written = _library().ggml_quantize_chunk(
        kind,
        source.ctypes.data,
        blocks.ctypes.data,
        0,
        rows,
        cols,
        None if weights is None else weights.ctypes.data,
    )
    if written != blocks.nbytes:
        raise ValueError(f"{name}: the quantizer wrote {written} bytes, not {blocks.nbytes}")
    return blocks


def _floats(name: str, data: Floats, kind: GGMLQuantizationType) -> Blocks:
    with np.errstate(over="ignore"):
        blocks = np.ascontiguousarray(quants.quantize(data, kind))
    if kind is GGMLQuantizationType.F16 and not np.isfinite(blocks).all():
        raise QuantizationError(f"tensor {name} holds a value that is too large for F16")
    return blocks.view(np.uint8).reshape(data.shape[0], -1)


def dequantize_rows(blocks: Blocks, block_type: str) -> Floats:
    """uint8 [rows, bytes per row] -> float32 [rows, cols], exactly what the blocks mean."""
    kind = GGMLQuantizationType[block_type]
    if block_type == "F32":
        return blocks.view(np.float32)
    if block_type == "F16":
        return blocks.view(np.float16).astype(np.float32)
    if block_type == "BF16":
        # The upper half of a float32; gguf has a slower way for all types.
        return (blocks.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    values: Floats = quants.dequantize(blocks, kind)
    return values
