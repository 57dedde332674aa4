"""What a library or program is made from; apart from `lower`, so that a cached one needs no TVM."""

from dataclasses import dataclass
from typing import Any

from transom_models.architecture import ParameterSpec


@dataclass(frozen=True, slots=True)
class LibraryRequest:
    """All that a model library depends on besides tool versions; never weights, never names.

    `product`: "library" (wasm, for TVM's web runtime and WebLLM) or "program" (for our engine).
    `parameters` are those of the architecture, in order; `compute_dtype` is "float32" or "float16";
    `schedule` is "gpu" or "fallback" (no barriers, for software adapters).
    """

    architecture: str
    config: Any
    parameters: tuple[ParameterSpec, ...]
    compute_dtype: str
    schedule: str
    context_window: int
    prefill_chunk: int
    product: str = "library"
