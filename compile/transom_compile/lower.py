"""Step 8 of the walk: from an architecture's graph to a model library (wasm).

Phases, each a named list of passes with a dump after it: `attach` (cache, samplers), `select`
(kernels for the marker operations, norms of one token within their products), `schedule` (what
TVM's own operators left), `lower` (memory plan, VM code), then code generation and the link. Knows
the order; each pass knows its own deed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tvm
from tvm import relax
from tvm.relax import transform
from tvm.s_tir import dlight
from tvm.target import Target

from transom_compile.graph import build_module, stored_parameters
from transom_compile.library_request import LibraryRequest
from transom_compile.link import link_library
from transom_compile.passes import tir_pipeline
from transom_compile.passes.attach_kv_cache import AttachKVCache
from transom_compile.passes.attach_metadata import AttachMetadata
from transom_compile.passes.attach_samplers import AttachSamplers
from transom_compile.passes.fuse_norms import FuseNorms
from transom_compile.passes.select_kernels import SelectKernels
from transom_models.architecture import (
    Architecture,
    CacheSpec,
    load_architecture,
)

# The width is what LLVM takes for wasm32 anyway; named, it is not warned about.
WASM_HOST = {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm", "vector-width": 128}


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
    clock = Clock(report, progress)
    target = Target({"kind": "webgpu", "host": WASM_HOST})
    architecture = load_architecture(request.architecture)
    cache = None
    # An encoder sees a text once and whole: nothing to keep, nothing to choose.
    if architecture.TASK == "chat":
        cache = architecture.cache_spec(request.config, request.context_window)
    module = clock.run("graph", lambda: _graph(request, architecture))
    phases = _phases(request, cache, target)
    for number, (name, passes) in enumerate(phases.items()):
        # One Target for all functions: tvmjs precompiles the pipelines of one device module only.
        with target, tvm.transform.PassContext(opt_level=3):
            module = clock.run(name, partial(tvm.transform.Sequential(passes), module))
        if dump_dir is not None:
            dump(dump_dir / f"{number}-{name}.py", module.script())
    with target:
        executable = clock.run("codegen", lambda: _generate(module, target))
    shaders = _shaders(executable)
    report.kernels = shaders.count("@compute")
    if dump_dir is not None:
        dump(dump_dir / "kernels.wgsl", shaders)
    clock.run("link", lambda: _link(executable, runtime_dir, out))
    report.size_bytes = out.stat().st_size
    return report


def _graph(request: LibraryRequest, architecture: Architecture) -> Any:
    module = build_module(architecture, request.config, request.parameters, request.compute_dtype)
    names = ("embed", "prefill") if architecture.TASK == "chat" else ("encode", "prefill")
    for name in names:
        # A bound on n lets memory be planned ahead instead of allocated per call.
        bounded = module[name].with_attr("tir_var_upper_bound", {"n": request.prefill_chunk})
        module[name] = bounded.with_attr("tir_non_negative_var", ["n"])
    return module


def _phases(request: LibraryRequest, cache: CacheSpec | None, target: Any) -> dict[str, list[Any]]:
    """`cache` None: an encoder, without KV cache and samplers."""
    dtype, schedule = request.compute_dtype, request.schedule
    attach: list[Any] = []
    if cache is not None:
        attach.append(AttachKVCache(cache, dtype, schedule, target))
        attach.append(AttachSamplers(request.config.vocab_size))
    return {
        "attach": attach,
        "select": [FuseNorms(schedule), SelectKernels(schedule)],
        "schedule": schedule_passes(),
        "lower": [
            *memory_passes(),
            AttachMetadata(_metadata(request, cache)),
            transform.LowerAllocTensor(),
            transform.KillAfterLastUse(),
            transform.LowerRuntimeBuiltin(),
            transform.ComputePrimValue(),
            transform.VMShapeLower(),
            transform.AttachGlobalSymbol(),
        ],
    }


def schedule_passes() -> list[Any]:
    """What TVM's own operators left becomes kernels too."""
    return [
        transform.LegalizeOps(),
        transform.AnnotateTIROpPattern(),
        transform.FoldConstant(),
        transform.FuseOps(),
        transform.FuseTIR(),
        transform.DeadCodeElimination(),
        dlight.ApplyDefaultSchedule(dlight.gpu.Fallback()),
    ]


def memory_passes() -> list[Any]:
    """Calls with their outputs as arguments, and storage that is planned ahead for these."""
    return [
        transform.RewriteDataflowReshape(),
        transform.ToNonDataflow(),
        transform.RemovePurityChecking(),
        transform.CallTIRRewrite(),
        transform.StaticPlanBlockMemory(),
    ]


def _metadata(request: LibraryRequest, cache: CacheSpec | None) -> dict[str, object]:
    """`_metadata` in MLC's shape, as WebLLM reads it, and what only Transom reads."""
    metadata: dict[str, object] = {
        "model_type": request.architecture,
        "quantization": "+".join(sorted({spec.block_type for spec in request.parameters})).lower(),
        "context_window_size": request.context_window,
        "sliding_window_size": -1,
        "attention_sink_size": -1,
        "prefill_chunk_size": request.prefill_chunk,
        "tensor_parallel_shards": 1,
        "pipeline_parallel_stages": 1,
        "disaggregation": False,
        "kv_state_kind": "none" if cache is None else "kv_cache",
        "max_batch_size": 1,
        "active_vocab_size": request.config.vocab_size,
        "model_task": "embedding" if cache is None else "chat",
        "params": [
            {
                "name": stored.name,
                "shape": list(stored.shape),
                "dtype": stored.dtype,
                "preprocs": [],
                "pipeline_stages": [0],
            }
            for stored in stored_parameters(request.parameters)
        ],
        "transom": {
            "compute_dtype": request.compute_dtype,
            "schedule": request.schedule,
            "tvm": version("apache-tvm"),
        },
    }
    if cache is not None:
        metadata["kv_cache"] = {
            "num_hidden_layers": cache.layers,
            "num_attention_heads": cache.query_heads,
            "num_key_value_heads": cache.kv_heads,
            "head_dim": cache.head_dim,
        }
    return metadata


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


def dump(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Clock:
    """Times each phase into the report and announces it."""

    def __init__(self, report: LibraryReport, progress: Callable[[str], None]) -> None:
        self._report, self._progress = report, progress

    def run(self, phase: str, deed: Callable[[], Any]) -> Any:
        self._progress(phase)
        started = time.monotonic()
        result = deed()
        self._report.seconds[phase] = time.monotonic() - started
        return result
