"""Generated WGSL as text: one module a kernel, and what each binds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transom_compile.kernels.emit import SUBGROUP_LANE

_HEADER = re.compile(r"(?=// Function: (?:\w+)\n//-+\n// Function: )")
_KERNEL = re.compile(r"@compute @workgroup_size\(([\d, ]+)\)\s*fn (\w+)\(")
_STORAGE = re.compile(
    r"@group\(0\) @binding\((\d+)\) var<storage, (read|read_write)> (\w+)_ptr : array<"
)
_UNIFORM = re.compile(r"struct PODArgs \{([^}]*)\}\n@group\(0\) @binding\((\d+)\) var<uniform>")
_FIELD = re.compile(r"(\w+)\s*:\s*(\w+)")
_ENTRY_END = re.compile(r"\n\) \{\n")
_SUFFIX = "_kernel"


@dataclass(frozen=True)
class Binding:
    """A buffer that a kernel binds, by the name of its parameter."""

    name: str
    written: bool


@dataclass(frozen=True)
class Shader:
    """One kernel. `bindings` are numbered from 0; after them comes the uniform of `scalars`, all
    of 32 bits, in order."""

    name: str
    entry: str
    text: str
    workgroup: tuple[int, ...]
    bindings: tuple[Binding, ...]
    scalars: tuple[str, ...]
    by_subgroup: bool
    """Whether its threads hand values to each other: it needs the feature `subgroups`."""


def shaders(source: str) -> dict[str, Shader]:
    """Kernels of a device module's source by name, without TVM's suffix."""
    found = {}
    for text in _HEADER.split(source):
        match = _KERNEL.search(text)
        if match is None:
            continue
        name = match[2].removesuffix(_SUFFIX)
        by_subgroup = f"{SUBGROUP_LANE}()" in text
        storage = _STORAGE.findall(text)
        uniform = _UNIFORM.search(text)
        if (
            [int(number) for number, _, _ in storage] != list(range(len(storage)))
            or len(storage) != text.count("var<storage")
            or uniform is None
            or int(uniform[2]) != len(storage)
        ):
            raise ValueError(f"the bindings of {name} are not what TVM 0.27 writes")
        found[name] = Shader(
            name,
            match[2],
            _with_subgroups(text) if by_subgroup else text,
            tuple(int(extent) for extent in match[1].split(",")),
            tuple(Binding(parameter, access == "read_write") for _, access, parameter in storage),
            tuple(field for field, _ in _FIELD.findall(uniform[1])),
            by_subgroup,
        )
    if len(found) != source.count("@compute"):
        raise ValueError("a kernel was not told from the next")
    return found


def _with_subgroups(text: str) -> str:
    """TVM knows no subgroups: the lane comes as a parameter of the entry."""
    signature = f",\n  @builtin(subgroup_invocation_id) {SUBGROUP_LANE} : u32\n) {{\n"
    text, count = _ENTRY_END.subn(signature, text, count=1)
    if count != 1:
        raise ValueError("an entry is not as TVM 0.27 writes it")
    text = text.replace(f"{SUBGROUP_LANE}()", f"i32({SUBGROUP_LANE})")
    return f"enable subgroups;\n{text}"
