"""Runs kernels on llvmpipe as the steps of a program: WGSL, buffers and a grid, no TVM at run time.

For what `kernel_runner.py` cannot hold: kernels with subgroups, which TVM's runtime does not know.
The same code generation as `program.py`. Knows no kernel: the calls bring them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tests.compile.kernel_runner import Array, Out, find_driver, module_of, run_node, target
from transom_compile import program
from transom_compile.wgsl import shaders

NODE_SCRIPT = Path(__file__).with_name("wgsl_runner.mjs")


@dataclass(frozen=True)
class Call:
    """A kernel's tensors in the order of its parameters, and n, the rows of the call."""

    kernel: str
    args: Sequence[Array | Out]
    n: int = 1


@dataclass(frozen=True)
class Answers:
    subgroup_threads: int
    """That each subgroup of the adapter has at least."""
    outputs: dict[tuple[str, int], dict[str, Array]]

    def of(self, kernel: str, n: int) -> dict[str, Array]:
        """What a call wrote, by parameter."""
        return self.outputs[kernel, n]


def run(
    kernels: Mapping[str, Any],
    calls: Sequence[Call],
    folder: Path,
    missing_tool: Callable[[str], NoReturn],
) -> Answers:
    """All calls in one Node process."""
    driver = find_driver(missing_tool)
    made = shaders(program._source(module_of(kernels), target()))
    rows = []
    wanted = []
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "inputs.bin").open("wb") as file:
        for call in calls:
            prim_func, shader = kernels[call.kernel], made[call.kernel]
            args = dict(zip((p.name for p in prim_func.params), call.args, strict=True))
            buffers = []
            for binding in shader.bindings:
                arg, start = args[binding.name], file.tell()
                if isinstance(arg, Out):
                    wanted.append((call, binding.name, arg))
                assert isinstance(arg, Out) == binding.written, binding.name
                file.write((arg.blank() if isinstance(arg, Out) else arg).tobytes())
                buffers.append({"start": start, "stop": file.tell(), "written": binding.written})
            grid = [program._expression(e, {"n": call.n}) for e in program._grid(prim_func)]
            scalars = [{"n": call.n}[name] for name in shader.scalars[:-1]]
            row = {"shader": call.kernel, "buffers": buffers, "scalars": scalars, "grid": grid}
            rows.append(row)
    sources = {name: {"wgsl": one.text, "entry": one.entry} for name, one in made.items()}
    (folder / "calls.json").write_text(json.dumps({"shaders": sources, "calls": rows}))
    run_node(NODE_SCRIPT, folder, driver)
    data, start = (folder / "outputs.bin").read_bytes(), 0
    outputs: dict[tuple[str, int], dict[str, Array]] = {(c.kernel, c.n): {} for c in calls}
    for call, name, out in wanted:
        array = np.frombuffer(data, out.dtype, int(np.prod(out.shape)), start)
        outputs[call.kernel, call.n][name] = array.reshape(out.shape)
        start += array.nbytes
    assert start == len(data), "the outputs are not the ones asked for"
    results = json.loads((folder / "results.json").read_text())
    return Answers(results["subgroupMinSize"], outputs)
