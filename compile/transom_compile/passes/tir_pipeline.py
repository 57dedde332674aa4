"""Phase `codegen`: TIR to WGSL, TVM's pipeline but for when common subexpressions are named.

TVM simplifies device functions once more *after* it has named them, which writes each of them out
again at every use: shaders many times as long, that some drivers compute as written. `register`
leaves that out. TVM also names them while host and device are one function, so that a kernel may be
handed a product of sizes that only its host knows. A program has no host: `register_for_programs`
names them last, in device functions (TVM's own attention kernels, which programs have not, do not
survive that).
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm.tirx import compilation_pipeline, transform

NAME = "transom"
"""The name `relax.build(tir_pipeline=…)` takes."""
PROGRAM_NAME = "transom-program"


def register() -> str:
    """Make the pipeline known to TVM; returns its name. Calling twice changes nothing."""
    compilation_pipeline.register_tir_pipeline(NAME, _pipeline)
    return NAME


def register_for_programs() -> str:
    """The same for kernels that are launched without a host function."""
    compilation_pipeline.register_tir_pipeline(PROGRAM_NAME, _program_pipeline)
    return PROGRAM_NAME


def _pipeline() -> tuple[Any, Any, Any]:
    lower, finalize_host, _ = compilation_pipeline.get_tir_pipeline("s_tir")
    return lower, finalize_host, _finalize_device


def _finalize_device() -> Any:
    return tvm.transform.Sequential([transform.LowerWarpMemory(), transform.LowerIntrin()])


def _program_pipeline() -> tuple[Any, Any, Any]:
    lower, finalize_host, _ = compilation_pipeline.get_tir_pipeline("s_tir")

    def lower_unnamed(module: Any, context: Any) -> Any:
        config = {**dict(context.config), "tirx.disable_cse_tir": True}
        with tvm.transform.PassContext(opt_level=context.opt_level, config=config):
            return lower(module)

    named_later = tvm.transform.module_pass(lower_unnamed, opt_level=0, name="LowerUnnamed")
    return named_later, finalize_host, _finalize_program_device


def _finalize_program_device() -> Any:
    return tvm.transform.Sequential(
        [transform.LowerWarpMemory(), transform.CommonSubexprElim(), transform.LowerIntrin()]
    )
