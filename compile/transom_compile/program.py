"""Step 8 of the walk, second product: a program, which the page runs without TVM's runtime.

The same graph, kernels and passes as the library (`lower.py`). Where that generates code for a
virtual machine, this writes down what the machine would do: for each function the list of its
dispatches, each with its kernel, the buffers that it binds, and its grid. One JSON file;
`docs/formats/program.md` says it field by field.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tvm
from tvm import ir, relax, s_tir, tirx
from tvm.relax import transform
from tvm.target import Target

from transom_compile.graph import stored_parameters
from transom_compile.kernels.attention import PAGE_SIZE
from transom_compile.kernels.linear_spec import SUBGROUP_THREADS
from transom_compile.kernels.paged_cache import SLOTS
from transom_compile.library_request import LibraryRequest
from transom_compile.lower import (
    WASM_HOST,
    Clock,
    LibraryReport,
    dump,
    memory_passes,
    schedule_passes,
)
from transom_compile.passes import tir_pipeline
from transom_compile.passes.fuse_norms import FuseNorms
from transom_compile.passes.hand_on_norms import HandOnNorms
from transom_compile.passes.select_kernels import INSTEAD, SelectKernels
from transom_compile.program_graph import MAX_ROWS, ProgramSizes, build_program_module
from transom_compile.wgsl import Shader, shaders
from transom_models.architecture import CacheSpec, load_architecture

FORWARD = ("decode", "batch", "prefill")
FORMAT = "transom.program.v1"
ITEM_BYTES = {"float32": 4, "float16": 2, "int32": 4, "uint32": 4}


def build_program(
    request: LibraryRequest,
    out: Path,
    *,
    dump_dir: Path | None = None,
    progress: Callable[[str], None] = lambda phase: None,
) -> LibraryReport:
    """Write the program of `request` to `out`. Raises what TVM raises, as `build_library` does."""
    report = LibraryReport()
    clock = Clock(report, progress)
    target = Target({"kind": "webgpu", "host": WASM_HOST})
    architecture = load_architecture(request.architecture)
    sizes = ProgramSizes(request.context_window, request.prefill_chunk)
    make = partial(
        build_program_module,
        architecture,
        request.config,
        request.parameters,
        request.compute_dtype,
        request.schedule,
        sizes,
    )
    module = clock.run("graph", make)
    phases: dict[str, list[Any]] = {
        "select": [
            FuseNorms(request.schedule),
            HandOnNorms(request.schedule),
            SelectKernels(request.schedule, alternatives=True),
        ],
        "schedule": schedule_passes(),
        # Choosers change shared buffers as they go, so they are not written as dataflow.
        "lower": [transform.ConvertToDataflow(min_size=1), *memory_passes()],
    }
    for number, (name, passes) in enumerate(phases.items()):
        with target, tvm.transform.PassContext(opt_level=3):
            module = clock.run(name, partial(tvm.transform.Sequential(passes), module))
        if dump_dir is not None:
            dump(dump_dir / f"{number}-{name}.py", module.script())
    source = clock.run("codegen", lambda: _generate(module, target))
    if dump_dir is not None:
        dump(dump_dir / "kernels.wgsl", source)
    cache = architecture.cache_spec(request.config, request.context_window)
    document = _document(request, sizes, cache, module, shaders(source))
    # Sorted and without blanks: the same request gives the same bytes.
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    out.write_text(text)
    report.kernels = len(document["kernels"])
    report.size_bytes = len(text)
    return report


def _generate(module: Any, target: Any) -> str:
    """The WGSL of all kernels that are called."""
    called = {
        binding.value.op
        for function in module.functions.values()
        if isinstance(function, relax.Function)
        for block in function.body.blocks
        for binding in block.bindings
        if isinstance(binding.value, relax.Call) and isinstance(binding.value.op, ir.GlobalVar)
    }
    called |= {
        module.get_global_var(_instead(module[kernel]))
        for kernel in called
        if _instead(module[kernel])
    }
    kernels = tvm.IRModule(
        {kernel: module[kernel].with_attr("global_symbol", kernel.name_hint) for kernel in called}
    )
    return _source(kernels, target)


def _source(kernels: Any, target: Any) -> str:
    """The WGSL of scheduled PrimFuncs."""
    with target:
        built = tvm.tirx.build(
            kernels, target=target, pipeline=tir_pipeline.register_for_programs()
        )
    (device,) = built.imports
    return str(device.inspect_source())


def _document(
    request: LibraryRequest,
    sizes: ProgramSizes,
    cache: CacheSpec,
    module: Any,
    sources: dict[str, Shader],
) -> dict[str, Any]:
    storages: list[int] = []
    functions = {}
    for global_var, function in module.functions.items():
        if isinstance(function, relax.Function):
            name = global_var.name_hint
            walk = _Walk(module, sources, storages, name in FORWARD)
            functions[name] = walk.read(function)
    steps = [step for function in functions.values() for step in function["steps"]]
    used = {step["kernel"] for step in (*steps, *(step.get("instead", step) for step in steps))}
    params = stored_parameters(request.parameters)
    itemsize = ITEM_BYTES[request.compute_dtype]
    return {
        "format": FORMAT,
        "compiler": f"apache-tvm {version('apache-tvm')}",
        "compute_dtype": request.compute_dtype,
        "schedule": request.schedule,
        "context_window": request.context_window,
        "prefill_chunk": request.prefill_chunk,
        "page_size": PAGE_SIZE,
        "pages_per_slot": sizes.pages_per_slot,
        "slots": SLOTS,
        "rows": MAX_ROWS,
        "vocabulary": request.config.vocab_size,
        "layers": cache.layers,
        "memory": {
            "weights": sum(_bytes_of(p.shape, p.dtype) for p in params),
            "kv_bytes_per_token": cache.layers * 2 * cache.kv_heads * cache.head_dim * itemsize,
            "scratch": sum(storages),
        },
        "params": [{"name": p.name, "shape": list(p.shape), "dtype": p.dtype} for p in params],
        "storages": storages,
        "kernels": {name: _kernel(sources[name]) for name in sorted(used)},
        "functions": functions,
    }


def _kernel(shader: Shader) -> dict[str, Any]:
    found = {
        "entry": shader.entry,
        "wgsl": shader.text,
        "writes": [int(binding.written) for binding in shader.bindings],
        "scalars": list(shader.scalars),
    }
    return {**found, "subgroup_size": SUBGROUP_THREADS} if shader.by_subgroup else found


def _instead(prim_func: Any) -> str:
    """The name of the kernel that does the same with subgroups; "" for none."""
    return str(prim_func.attrs.get(INSTEAD, ""))


def _bytes_of(shape: tuple[int, ...], dtype: str) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count * ITEM_BYTES[dtype]


@dataclass
class _Walk:
    """Reads one lowered function, binding by binding.

    A value is where it lives: `["param", i]` (a weight), `["shared", name]` or `["storage", i]`.
    Functions run one after another, so that all use the same storages.
    """

    module: Any
    sources: dict[str, Shader]
    storages: list[int]
    makes_logits: bool
    """What it returns is the shared buffer `logits`; else nobody asks for it."""
    _most: int = 1
    _places: dict[Any, Any] = field(default_factory=dict)
    _own: int = 0
    _steps: list[dict[str, Any]] = field(default_factory=list)

    def read(self, function: Any) -> dict[str, Any]:
        bounds = (function.attrs or {}).get("tir_var_upper_bound")
        self._most = 1 if bounds is None else int(bounds["n"])
        params = list(function.params)
        weights = [p for p in params if isinstance(p.ty, relax.TupleType)]
        for param in params:
            self._places[param] = ["weights"] if param in weights else ["shared", param.name]
        for block in function.body.blocks:
            for binding in block.bindings:
                self._bind(binding.var, binding.value)
        return {"most": self._most, "steps": self._steps}

    def _bind(self, var: Any, value: Any) -> None:
        if isinstance(value, relax.Var):
            self._places[var] = self._places[value]
        elif isinstance(value, relax.TupleGetItem):
            of, index = self._places[value.tuple_value], int(value.index)
            self._places[var] = ["param", index] if of == ["weights"] else of[index]
        elif isinstance(value, relax.Tuple):
            self._places[var] = [self._places[field] for field in value.fields]
        elif isinstance(value, relax.Call):
            self._call(var, value)
        else:
            raise ValueError(f"a program has no {type(value).__name__}")

    def _call(self, var: Any, call: Any) -> None:
        op = call.op
        if isinstance(op, ir.GlobalVar):
            self._dispatch(op.name_hint, list(call.args))
            return
        name = str(op.global_symbol) if isinstance(op, relax.ExternFunc) else str(op.name)
        if name == "relax.memory.alloc_storage":
            (size,) = call.args[0].values
            self._places[var] = ["storage", self._storage(int(size))]
        elif name == "relax.memory.alloc_tensor":
            if int(call.args[1].value) != 0:
                raise ValueError("a tensor begins inside its storage")
            self._places[var] = self._places[call.args[0]]
        elif name == "relax.builtin.alloc_tensor":
            self._places[var] = self._result(var)
        elif name == "vm.builtin.reshape" or name == "relax.reshape":
            self._places[var] = self._places[call.args[0]]
        elif name not in ("relax.memory.kill_tensor", "relax.memory.kill_storage"):
            raise ValueError(f"a program cannot call {name}")

    def _result(self, var: Any) -> list[Any]:
        if self.makes_logits:
            return ["shared", "logits"]
        size = ITEM_BYTES[str(var.ty.dtype)]
        for extent in var.ty.shape.values:
            size *= int(extent.value) if isinstance(extent, tirx.IntImm) else self._most
        return ["storage", self._storage(size)]

    def _storage(self, size: int) -> int:
        """A function's k-th storage is the k-th of all, as large as the largest of them."""
        index = self._own
        self._own += 1
        if index == len(self.storages):
            self.storages.append(0)
        # GPU buffers are of whole words.
        self.storages[index] = max(self.storages[index], -(-size // 4) * 4)
        return index

    def _dispatch(self, name: str, args: list[Any]) -> None:
        prim_func, shader = self.module[name], self.sources[name]
        tensors = dict(zip((p.name for p in prim_func.params), args, strict=True))
        extents = self._extents(prim_func, args)
        scalars = []
        for scalar in shader.scalars[:-1]:
            scalars.append(extents[scalar] if scalar in extents else _number(tensors[scalar]))
        if shader.scalars[-1] != "packGridDimX":
            raise ValueError(f"{name} does not end with its grid")
        step: dict[str, Any] = {
            "kernel": name,
            "buffers": [self._places[tensors[b.name]] for b in shader.bindings],
            "scalars": scalars,
            "grid": [_expression(extent, extents) for extent in _grid(prim_func)],
        }
        instead = _instead(prim_func)
        if instead:
            other, own = self.sources[instead], self.module[instead]
            if (other.bindings, other.scalars) != (shader.bindings, shader.scalars):
                raise ValueError(f"{instead} does not take what {name} takes")
            grid = [_expression(extent, self._extents(own, args)) for extent in _grid(own)]
            step["instead"] = {"kernel": instead, "grid": grid}
        self._steps.append(step)

    def _extents(self, prim_func: Any, args: list[Any]) -> dict[str, Any]:
        """Sizes that the kernel leaves open, by this call: numbers, or "n" as the function has."""
        found: dict[str, Any] = {}
        for param, arg in zip(prim_func.params, args, strict=True):
            if not tirx.is_buffer_var(param):
                continue
            for own, given in zip(param.ty.shape, arg.ty.shape.values, strict=True):
                if isinstance(own, tirx.Var):
                    found[own.name] = _expression(given, {"n": "n"})
        return found


def _number(value: Any) -> int | float:
    found: int | float = value.value.value
    return found


def _grid(prim_func: Any) -> list[Any]:
    """The extents of blockIdx.x and .y."""
    extents: dict[str, Any] = {}
    node = prim_func.body
    # Bindings are the outermost loops of a scheduled kernel, around its one block.
    while node is not None:
        if isinstance(node, s_tir.SBlockRealize):
            node = node.block.body
        elif isinstance(node, tirx.For) and node.thread_binding is not None:
            extents[str(node.thread_binding.thread_tag)] = node.extent
            node = node.body
        else:
            node = None
    return [extents.get(f"blockIdx.{axis}", tirx.const(1, "int32")) for axis in "xy"]


def _expression(value: Any, names: dict[str, Any]) -> Any:
    """A number, "n", or [operator, left, right]."""
    if isinstance(value, int | str | list):
        return value
    if isinstance(value, tirx.IntImm):
        return int(value.value)
    if isinstance(value, tirx.Var):
        return names.get(value.name, value.name)
    if isinstance(value, tirx.Cast):
        return _expression(value.value, names)
    operators = {tirx.Add: "+", tirx.Sub: "-", tirx.Mul: "*", tirx.FloorDiv: "//"}
    for kind, sign in operators.items():
        if isinstance(value, kind):
            left, right = (_expression(side, names) for side in (value.a, value.b))
            if isinstance(left, int) and isinstance(right, int):
                return {"+": left + right, "-": left - right, "*": left * right}.get(
                    sign, left // right if right else 0
                )
            return [sign, left, right]
    raise ValueError(f"a grid of {value} cannot be told in a program")
