"""Reads generated WGSL as text: what each kernel asks of a device."""

import re
from dataclasses import dataclass

ITEM_BYTES = {"f32": 4, "i32": 4, "u32": 4, "f16": 2}
_KERNEL = re.compile(r"@compute @workgroup_size\(([\d, ]+)\)\s*fn (\w+)\(")
_WORKGROUP = re.compile(r"var<workgroup> \w+ : array<(?:vec(\d)<(\w+)>|(\w+)), (\d+)>;")


@dataclass(frozen=True)
class Shader:
    """One kernel's module."""

    name: str
    text: str
    invocations: int
    """In a workgroup."""

    @property
    def workgroup_bytes(self) -> int:
        found = _WORKGROUP.findall(self.text)
        assert len(found) == self.text.count("var<workgroup>"), "a declaration this cannot read"
        return sum(
            int(lanes or 1) * ITEM_BYTES[item or plain] * int(count)
            for lanes, item, plain, count in found
        )

    @property
    def storage_buffers(self) -> int:
        return self.text.count("var<storage")

    @property
    def has_barrier(self) -> bool:
        return "workgroupBarrier" in self.text


def shaders(source: str) -> dict[str, Shader]:
    """Kernels of a device module's source by name, without TVM's suffix."""
    found = {}
    # Each kernel is written as a module of its own under two headers of this form.
    for text in re.split(r"(?=// Function: (?:\w+)\n//-+\n// Function: )", source):
        match = _KERNEL.search(text)
        if match is None:
            continue
        invocations = 1
        for extent in match[1].split(","):
            invocations *= int(extent)
        name = match[2].removesuffix("_kernel")
        found[name] = Shader(name, text, invocations)
    assert len(found) == source.count("@compute"), "a kernel was not told from the next"
    return found
