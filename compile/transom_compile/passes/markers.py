"""Marker operations (`transom.linear`, …) as `graph` emits them, taken apart for the passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import ir, relax

PREFIX = "transom."
FEW_ROWS = "few_rows"
"""Attribute of a Relax function: 1 where its symbolic number of tokens stays at eight or fewer."""


@dataclass(frozen=True)
class Marker:
    """A marker call: its tensors, and after them the fields that hold its attributes.

    `few_rows`: whether the function that calls it says so.
    """

    name: str
    tensors: Sequence[Any]
    fields: Sequence[Any]
    out: Any
    few_rows: bool = False

    @property
    def attributes(self) -> Sequence[Any]:
        """Strings and numbers."""
        return [
            str(field.value) if isinstance(field, ir.StringImm) else field.value
            for field in self.fields
        ]

    @property
    def outs(self) -> list[Any]:
        """Types of the results, of which there may be several."""
        is_many = isinstance(self.out, relax.TupleType)
        return list(self.out.fields) if is_many else [self.out]

    def shape(self, index: int) -> Any:
        return self.tensors[index].ty.shape.values

    def dtype(self, index: int) -> str:
        return str(self.tensors[index].ty.dtype)


def marker_of(value: Any) -> Marker | None:
    """The marker that an expression calls, or None if it is something else."""
    if not isinstance(value, relax.Call) or value.op != ir.Op.get("relax.call_dps_packed"):
        return None
    function, arguments = value.args
    if not isinstance(function, relax.ExternFunc):
        return None
    symbol = str(function.global_symbol)
    if not symbol.startswith(PREFIX):
        return None
    tensors = [field for field in arguments.fields if isinstance(field.ty, relax.TensorType)]
    rest = [field for field in arguments.fields if not isinstance(field.ty, relax.TensorType)]
    return Marker(symbol.removeprefix(PREFIX), tensors, rest, value.ty_args[0])
