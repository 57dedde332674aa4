"""Step 8 of the walk: from an architecture's graph to a model library (wasm).

Phases, each a named list of passes with a dump after it: `attach` (cache, samplers), `select`
(kernels for the marker operations), `schedule` (what TVM's own operators left), `lower` (memory
plan, VM code), then code generation and the link. Knows the order; each pass knows its own deed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tvm
from tvm import relax
from tvm.relax import transform
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn.llm.kv_cache import PagedKVCache
from tvm.s_tir import dlight
from tvm.target import Target

from transom_compile.link import link_library
from transom_compile.passes import tir_pipeline
from transom_compile.passes.attach_kv_cache import AttachKVCache
from transom_compile.passes.attach_metadata import AttachMetadata
from transom_compile.passes.attach_samplers import AttachSamplers
from transom_compile.passes.select_kernels import SelectKernels
from transom_models.architecture import load_architecture

WASM_HOST = {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm"}


@dataclass(frozen=True)
class LibraryRequest:
    """All that a model library depends on besides tool versions; never weights, never names.

    `block_types` maps each parameter to its block type; `compute_dtype` is "float32" or "float16";
    `schedule` is "gpu" or "fallback" (no barriers, for software adapters).
    """

    architecture: str
    config: Any
    block_types: Mapping[str, str]
    compute_dtype: str
    schedule: str
    context_window: int
    prefill_chunk: int


@dataclass
class LibraryReport:
    """What one library cost: seconds by phase (in order), and what came out."""

    seconds: dict[str, float] = field(default_factory=dict)
    kernels: int = 0
    size_bytes: int = 0


def build_library(
    request: LibraryRequest,
    runtime_dir: Path,
    out: Path,
    *,
    dump_dir: Path | None = None,
    progress: Callable[[str], None] = lambda phase: None,
) -> LibraryReport:
    """Compile and link the library of `request` into `out`.

    `dump_dir` gets the IR after each phase and the WGSL. Raises what TVM raises: by now the request
    has been checked, so a failure here is ours.
    """
    report = LibraryReport()
    clock = _Clock(report, progress)
    target = Target({"kind": "webgpu", "host": WASM_HOST})
    module, parameters, cache = clock.run("graph", lambda: _export(request))
    phases = _phases(request, cache, target, _metadata(request, parameters, cache))
    for number, (name, passes) in enumerate(phases.items()):
        # One Target for all functions: tvmjs precompiles the pipelines of one device module only.
        with target, tvm.transform.PassContext(opt_level=3):
            module = clock.run(name, partial(tvm.transform.Sequential(passes), module))
        if dump_dir is not None:
            _dump(dump_dir / f"{number}-{name}.py", module.script())
    with target:
        executable = clock.run("codegen", lambda: _generate(module, target))
    shaders = _shaders(executable)
    report.kernels = shaders.count("@compute")
    if dump_dir is not None:
        _dump(dump_dir / "kernels.wgsl", shaders)
    clock.run("link", lambda: _link(executable, runtime_dir, out))
    report.size_bytes = out.stat().st_size
    return report


def _export(request: LibraryRequest) -> tuple[Any, Sequence[Any], Any]:
    architecture = load_architecture(request.architecture)
    graph = architecture.Graph(request.config, request.block_types, request.compute_dtype)
    width, dtype = request.config.embedding_length, request.compute_dtype
    packed = {"param_mode": "packed", "effect_mode": "none"}
    cache = nn.spec.Object(object_type=PagedKVCache)
    spec = {
        "embed": {"tokens": nn.spec.Tensor(["n"], "int32"), "$": packed},
        "prefill": {
            "embeddings": nn.spec.Tensor([1, "n", width], dtype),
            "cache": cache,
            "$": packed,
        },
        "decode": {"embeddings": nn.spec.Tensor([1, 1, width], dtype), "cache": cache, "$": packed},
    }
    module, parameters = graph.export_tvm(spec)
    for name in ("embed", "prefill"):
        # A bound on n lets memory be planned ahead instead of allocated per call.
        bounded = module[name].with_attr("tir_var_upper_bound", {"n": request.prefill_chunk})
        module[name] = bounded.with_attr("tir_non_negative_var", ["n"])
    return module, parameters, architecture.cache_spec(request.config)


def _phases(
    request: LibraryRequest, cache: Any, target: Any, metadata: Mapping[str, object]
) -> dict[str, list[Any]]:
    dtype, schedule = request.compute_dtype, request.schedule
    return {
        "attach": [
            AttachKVCache(cache, dtype, schedule, target),
            AttachSamplers(request.config.vocab_size),
        ],
        "select": [SelectKernels(schedule)],
        "schedule": [
            transform.LegalizeOps(),
            transform.AnnotateTIROpPattern(),
            transform.FoldConstant(),
            transform.FuseOps(),
            transform.FuseTIR(),
            transform.DeadCodeElimination(),
            dlight.ApplyDefaultSchedule(dlight.gpu.Fallback()),
        ],
        "lower": [
            transform.RewriteDataflowReshape(),
            transform.ToNonDataflow(),
            transform.RemovePurityChecking(),
            transform.CallTIRRewrite(),
            transform.StaticPlanBlockMemory(),
            AttachMetadata(metadata),
            transform.LowerAllocTensor(),
            transform.KillAfterLastUse(),
            transform.LowerRuntimeBuiltin(),
            transform.ComputePrimValue(),
            transform.VMShapeLower(),
            transform.AttachGlobalSymbol(),
        ],
    }


def _metadata(request: LibraryRequest, parameters: Sequence[Any], cache: Any) -> dict[str, object]:
    """`_metadata` in MLC's shape, as WebLLM reads it, and what only Transom reads."""
    return {
        "model_type": request.architecture,
        "quantization": "+".join(sorted(set(request.block_types.values()))).lower(),
        "context_window_size": request.context_window,
        "sliding_window_size": -1,
        "attention_sink_size": -1,
        "prefill_chunk_size": request.prefill_chunk,
        "tensor_parallel_shards": 1,
        "pipeline_parallel_stages": 1,
        "disaggregation": False,
        "kv_state_kind": "kv_cache",
        "max_batch_size": 1,
        "active_vocab_size": request.config.vocab_size,
        "model_task": "chat",
        "params": [
            {
                # A parameter without planes is stored under its own name.
                "name": name.removesuffix(".data"),
                "shape": [int(extent) for extent in parameter.shape],
                "dtype": str(parameter.dtype),
                "preprocs": [],
                "pipeline_stages": [0],
            }
            for name, parameter in parameters
        ],
        "kv_cache": {
            "num_hidden_layers": cache.layers,
            "num_attention_heads": cache.query_heads,
            "num_key_value_heads": cache.kv_heads,
            "head_dim": cache.head_dim,
        },
        "transom": {
            "compute_dtype": request.compute_dtype,
            "schedule": request.schedule,
            "tvm": version("apache-tvm"),
        },
    }


def _generate(module: Any, target: Any) -> Any:
    pipeline = tir_pipeline.register()
    return relax.build(module, target, relax_pipeline=None, tir_pipeline=pipeline)


def _shaders(executable: Any) -> str:
    """The WGSL of all device modules, for the dump and the kernel count."""
    texts = []

    def walk(module: Any) -> None:
        for imported in module.imports:
            if imported.kind == "webgpu":
                texts.append(str(imported.inspect_source()))
            walk(imported)

    walk(executable.mod)
    return "\n".join(texts)


def _link(executable: Any, runtime_dir: Path, out: Path) -> None:
    def link(output: str, objects: Sequence[str], *_: object, **__: object) -> None:
        link_library([Path(path) for path in objects], Path(output), runtime_dir)

    # Plain relocatable wasm objects, not bitcode for a second compiler to read.
    link.object_format = "o"  # type: ignore[attr-defined]
    unfinished = out.with_suffix(".unfinished.wasm")
    executable.export_library(str(unfinished), fcompile=link)
    unfinished.replace(out)


def _dump(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class _Clock:
    """Times each phase into the report and announces it."""

    def __init__(self, report: LibraryReport, progress: Callable[[str], None]) -> None:
        self._report, self._progress = report, progress

    def run(self, phase: str, deed: Callable[[], Any]) -> Any:
        self._progress(phase)
        started = time.monotonic()
        result = deed()
        self._report.seconds[phase] = time.monotonic() - started
        return result
