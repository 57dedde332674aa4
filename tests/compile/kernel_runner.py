"""Builds a library of kernels, runs each on a real WebGPU driver, gives the numbers back.

Goes the way of `lower.py` (same passes, same code generation, same link), so that what is compared
with NumPy is what is shipped. Knows no kernel: the cases bring functions, arguments and shapes.
"""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import tvm
from tvm.target import Target

from tests.e2e.node_engine import QUICKLY, mesa_environment
from transom_build.runtime import build_runtime
from transom_compile import lower
from transom_compile.library_request import LibraryRequest
from transom_models.architecture import CacheSpec

ROOT = Path(__file__).resolve().parents[2]
NODE_SCRIPT = Path(__file__).with_name("kernel_runner.mjs")
NODE_LIMIT_SECONDS = 1000
UNWRITTEN = 0xFF
"""What outputs are filled with before the call: NaN in f32 and f16, -1 in int32."""

NO_MODEL = LibraryRequest("none", SimpleNamespace(vocab_size=1), (), "float32", "gpu", 16, 16)
NO_CACHE = CacheSpec(layers=1, query_heads=1, kv_heads=1, head_dim=2, rope=None)
"""Lowering wants to describe a model in the metadata; there is none here."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Out:
    """An argument that the kernel fills; every element must be written."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def blank(self) -> Array:
        count = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        return np.full(count, UNWRITTEN, np.uint8).view(self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class InOut:
    """An argument that the kernel changes in place."""

    start: Array


@dataclass(frozen=True)
class View:
    """An input that starts `skip` elements into a larger buffer."""

    array: Array
    skip: int = 5


@dataclass(frozen=True)
class Case:
    """One call. `function` names a kernel of the library; `returns` is for functions that allocate
    their results (the library's own, with kernels called one after another)."""

    name: str
    function: str
    args: Sequence[Array | Out | InOut | View | int | float]
    returns: Sequence[Out] = ()


@dataclass
class Answers:
    """Outputs of each case, in the order of its `Out`, `InOut` and `returns`."""

    adapter: str
    outputs: dict[str, list[Array]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> list[Array]:
        assert name not in self.errors, self.errors[name]
        return self.outputs[name]


def target() -> Any:
    return Target({"kind": "webgpu", "host": lower.WASM_HOST})


def module_of(kernels: Mapping[str, Any]) -> Any:
    """Scheduled PrimFuncs under their new names."""
    return tvm.IRModule(
        {name: made.with_attr("global_symbol", name) for name, made in kernels.items()}
    )


def generate(module: Any) -> Any:
    """Relax functions lowered, all code generated, as `lower.build_library` does."""
    goal = target()
    passes = lower._phases(NO_MODEL, NO_CACHE, goal)["lower"]
    with goal, tvm.transform.PassContext(opt_level=3):
        module = tvm.transform.Sequential(passes)(module)
    with goal:
        return lower._generate(module, goal)


def run(
    module: Any, cases: Sequence[Case], folder: Path, missing_tool: Callable[[str], NoReturn]
) -> Answers:
    """Compile `module`, run all cases in one Node process on Mesa's llvmpipe."""
    driver = find_driver(missing_tool)
    runtime = build_runtime().directory
    folder.mkdir(parents=True, exist_ok=True)
    lower._link(generate(module), runtime, folder / "library.wasm")
    _write_cases(cases, folder)
    run_node(NODE_SCRIPT, folder, {**driver, **QUICKLY})
    return _read_answers(cases, folder)


def find_driver(missing_tool: Callable[[str], NoReturn]) -> dict[str, str]:
    """Variables that make Node's WebGPU run on Mesa's llvmpipe."""
    driver = mesa_environment()
    if driver is None:
        missing_tool("no Mesa 25 in the user's cache folder: run .ci/mesa")
    if shutil.which("node") is None or not (ROOT / "node_modules" / "webgpu").exists():
        missing_tool("no node_modules here: npm ci")
    return driver


@functools.cache
def build_entries() -> None:
    """`dawn.mjs`, which the scripts run on."""
    subprocess.run(["npm", "run", "--silent", "build:node"], check=True, cwd=ROOT)


def run_node(script: Path, folder: Path, driver: dict[str, str]) -> None:
    build_entries()
    done = subprocess.run(
        ["node", str(script), str(folder)],
        env={**os.environ, **driver},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=NODE_LIMIT_SECONDS,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script.name} ended with {done.returncode}\n{done.stderr[-4000:]}")


def _write_cases(cases: Sequence[Case], folder: Path) -> None:
    rows = []
    with (folder / "inputs.bin").open("wb") as file:

        def put(array: Array, skip: int = 0) -> dict[str, Any]:
            data = np.ascontiguousarray(array)
            start = file.tell()
            file.write(data.tobytes())
            row = {"shape": list(data.shape), "dtype": data.dtype.name, "skip": skip}
            return {**row, "start": start, "stop": file.tell()}

        for case in cases:
            arguments: list[dict[str, Any]] = []
            for argument in case.args:
                match argument:
                    case Out():
                        arguments.append(put(argument.blank()))
                    case InOut():
                        arguments.append(put(argument.start))
                    case View():
                        arguments.append(put(argument.array, argument.skip))
                    case int() | float():
                        arguments.append({type(argument).__name__: argument})
                    case _:
                        arguments.append(put(argument))
            written = [i for i, one in enumerate(case.args) if isinstance(one, Out | InOut)]
            row = {"name": case.name, "call": case.function, "args": arguments}
            rows.append({**row, "written": written, "returned": len(case.returns)})
    (folder / "cases.json").write_text(json.dumps(rows))


def _read_answers(cases: Sequence[Case], folder: Path) -> Answers:
    results = json.loads((folder / "results.json").read_text())
    answers = Answers(results["adapter"], errors=results["errors"])
    data = (folder / "outputs.bin").read_bytes()
    start = 0
    for case in cases:
        outputs = []
        for one in [*case.args, *case.returns]:
            if isinstance(one, Out | InOut):
                like = one.start if isinstance(one, InOut) else one
                count = int(np.prod(like.shape))
                array = np.frombuffer(data, like.dtype, count, start).reshape(like.shape)
                start += array.nbytes
                outputs.append(array)
        answers.outputs[case.name] = outputs
    assert start == len(data), "the outputs are not the ones asked for"
    return answers
