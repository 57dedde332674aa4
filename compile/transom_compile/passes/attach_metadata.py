"""Phase `lower`: add `_metadata`, the JSON that engine and WebLLM read first of all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tvm
from tvm import ir, relax


@tvm.transform.module_pass(opt_level=0, name="AttachMetadata")
class AttachMetadata:
    """The given metadata and the scratch memory that each function was planned to use."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self.metadata = metadata

    def transform_module(self, module: Any, _context: Any) -> Any:
        usage = {
            global_var.name_hint: planned_bytes(function)
            for global_var, function in module.functions.items()
            if isinstance(function, relax.Function)
        }
        metadata = {**self.metadata, "memory_usage": dict(sorted(usage.items()))}
        builder = relax.BlockBuilder(module)
        with builder.function("_metadata", []):
            builder.emit_func_output(ir.StringImm(json.dumps(metadata, sort_keys=True)))
        return builder.finalize()


def planned_bytes(function: Any) -> int:
    """Bytes of scratch that `StaticPlanBlockMemory` gave a function (its storages live at once)."""
    total = 0

    def visit(node: Any) -> None:
        nonlocal total
        if isinstance(node, relax.Call) and node.op == ir.Op.get("relax.memory.alloc_storage"):
            (size,) = node.args[0].values
            total += int(size)

    relax.analysis.post_order_visit(function.body, visit)
    return total
