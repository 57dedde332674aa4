"""Phase `codegen`: TIR to WGSL, TVM's pipeline without the simplification that undoes its own work.

TVM simplifies device functions once more *after* common subexpressions were named, which writes
each of them out again at every use: shaders many times as long, that some drivers compute as
written.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm.tirx import compilation_pipeline, transform

NAME = "transom"
"""The name `relax.build(tir_pipeline=…)` takes."""


def _pipeline() -> tuple[Any, Any, Any]:
    lower, finalize_host, _ = compilation_pipeline.get_tir_pipeline("s_tir")
    return lower, finalize_host, _finalize_device


def _finalize_device() -> Any:
    return tvm.transform.Sequential([transform.LowerWarpMemory(), transform.LowerIntrin()])


def register() -> str:
    """Make the pipeline known to TVM; returns its name. Calling twice changes nothing."""
    compilation_pipeline.register_tir_pipeline(NAME, _pipeline)
    return NAME
