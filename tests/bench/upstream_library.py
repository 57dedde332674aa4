"""SmolLM2 as upstream MLC would hand it to WebLLM: library and weights of the bench's other side.

    python -m tests.bench.upstream_library --gguf FILE --bundle DIR --out DIR

Weights are quantized anew from the GGUF file (q4f32_1), tokenizer and chat configuration are the
bundle's. The runtime is ours (`transom build runtime`), which is TVM's own. Prints the kernels.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from gguf import GGUFReader, dequantize
from tvm import ir, relax

from tests.bench.upstream_graph import GROUP, PER_WORD, ZERO, Llama, Shape, schedule, web_target
from transom_compile.kernels import sampling
from transom_compile.link import link_library

SHARD_BYTES = 32 << 20
Array = npt.NDArray[Any]


class Weights:
    """The tensors of a GGUF file as float32, by name."""

    def __init__(self, path: Path) -> None:
        self._reader = GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float32)

    def size(self, key: str) -> Any:
        field = self._reader.get_field(key)
        assert field is not None, key
        return field.contents()

    def shape(self) -> Shape:
        def of(key: str) -> Any:
            return self.size(f"llama.{key}")

        return Shape(
            layers=of("block_count"),
            hidden=of("embedding_length"),
            feed_forward=of("feed_forward_length"),
            heads=of("attention.head_count"),
            kv_heads=of("attention.head_count_kv"),
            head_dim=of("embedding_length") // of("attention.head_count"),
            vocabulary=len(self.size("tokenizer.ggml.tokens")),
            epsilon=of("attention.layer_norm_rms_epsilon"),
            rope_theta=of("rope.freq_base"),
        )


def parameters(weights: Weights, shape: Shape) -> Iterator[tuple[str, Array]]:
    """Every parameter of the nn.Module by its name."""

    def halves(name: str, heads: int) -> Array:
        """GGUF keeps rows of a head as pairs that turn together; TVM wants two halves."""
        rows = weights[name]
        pairs = rows.reshape(heads, shape.head_dim // 2, 2, -1)
        return pairs.swapaxes(1, 2).reshape(rows.shape)

    def quantized(name: str, rows: Array) -> Iterator[tuple[str, Array]]:
        groups = rows.reshape(rows.shape[0], -1, GROUP)
        scale = np.abs(groups).max(axis=-1, keepdims=True) / ZERO
        safe = np.where(scale == 0, 1, scale)
        levels = np.clip(np.rint(groups / safe) + ZERO, 0, 2 * ZERO).astype(np.uint32)
        nibbles = levels.reshape(rows.shape[0], -1, PER_WORD)
        shifts = np.arange(PER_WORD, dtype=np.uint32) * 4
        yield f"{name}.q_weight", np.bitwise_or.reduce(nibbles << shifts, axis=-1)
        yield f"{name}.q_scale", scale[..., 0].astype(np.float32)

    yield from quantized("embedding", weights["token_embd.weight"])
    for index in range(shape.layers):
        block, layer = f"blk.{index}", f"layers.{index}"
        yield f"{layer}.attn_norm", weights[f"{block}.attn_norm.weight"]
        qkv = [
            halves(f"{block}.attn_q.weight", shape.heads),
            halves(f"{block}.attn_k.weight", shape.kv_heads),
            weights[f"{block}.attn_v.weight"],
        ]
        yield from quantized(f"{layer}.qkv", np.concatenate(qkv))
        yield from quantized(f"{layer}.o", weights[f"{block}.attn_output.weight"])
        yield f"{layer}.ffn_norm", weights[f"{block}.ffn_norm.weight"]
        gate_up = [weights[f"{block}.ffn_{name}.weight"] for name in ("gate", "up")]
        yield from quantized(f"{layer}.gate_up", np.concatenate(gate_up))
        yield from quantized(f"{layer}.down", weights[f"{block}.ffn_down.weight"])
    yield "output_norm", weights["output_norm.weight"]


def write_shards(rows: Iterator[tuple[str, Array]], out: Path) -> list[dict[str, Any]]:
    """MLC's tensor-cache.json and its shards; gives what `_metadata` says of the parameters."""
    shards: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    data = b""
    for name, array in rows:
        if not shards or (data and len(data) + array.nbytes > SHARD_BYTES):
            shards.append({"format": "raw-shard", "records": []})
            data = b""
        row = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        place = {"format": "raw", "nbytes": array.nbytes, "byteOffset": len(data)}
        told.append(row)
        data += array.tobytes()
        path = f"params_shard_{len(shards) - 1}.bin"
        (out / path).write_bytes(data)
        shards[-1]["records"].append({**row, **place})
        shards[-1].update(dataPath=path, nbytes=len(data))
    metadata = {"ParamSize": len(told), "ParamBytes": sum(shard["nbytes"] for shard in shards)}
    cache = {"metadata": metadata, "records": shards}
    (out / "tensor-cache.json").write_text(json.dumps(cache))
    return told


def build_library(shape: Shape, told: list[dict[str, Any]], runtime: Path, out: Path) -> str:
    """The wasm; gives its WGSL."""
    target = web_target()
    model = Llama(shape, target)
    with target:
        module, _ = model.export_tvm(spec=model.spec())
    module = _bounded(module, shape)
    module = schedule(module, target)
    # WebLLM looks them up, and a greedy answer never calls them: any will do.
    unused: tuple[Any, ...] = (
        sampling.apply_logit_bias(shape.vocabulary),
        sampling.apply_penalty(shape.vocabulary),
        sampling.apply_bitmask(shape.vocabulary),
    )
    for made in unused:
        module[str(made.attrs["global_symbol"])] = made
    module = _with_metadata(module, shape, told)
    transform = relax.transform
    lower = [
        transform.RewriteDataflowReshape(),
        transform.ToNonDataflow(),
        transform.RemovePurityChecking(),
        transform.CallTIRRewrite(),
        transform.StaticPlanBlockMemory(),
        transform.LowerAllocTensor(),
        transform.KillAfterLastUse(),
        transform.LowerRuntimeBuiltin(),
        transform.ComputePrimValue(),
        transform.VMShapeLower(),
        transform.AttachGlobalSymbol(),
    ]
    with target, tvm.transform.PassContext(opt_level=3):
        module = tvm.transform.Sequential(lower)(module)
        executable = relax.build(module, target, relax_pipeline=None)

    def link(output: str, objects: Sequence[str], *_: object, **__: object) -> None:
        link_library([Path(path) for path in objects], Path(output), runtime)

    link.object_format = "o"  # type: ignore[attr-defined]
    executable.export_library(str(out), fcompile=link)
    sources: list[str] = []

    def walk(part: Any) -> None:
        for imported in part.imports:
            if imported.kind == "webgpu":
                sources.append(str(imported.inspect_source()))
            walk(imported)

    walk(executable.mod)
    return "\n".join(sources)


def _bounded(module: Any, shape: Shape) -> Any:
    for name in ("embed", "prefill"):
        bounded = module[name].with_attr("tir_var_upper_bound", {"n": shape.prefill_chunk})
        module[name] = bounded.with_attr("tir_non_negative_var", ["n"])
    return module


def _with_metadata(module: Any, shape: Shape, told: list[dict[str, Any]]) -> Any:
    metadata = {
        "model_type": "llama",
        "quantization": "q4f32_1",
        "context_window_size": shape.context_window,
        "sliding_window_size": -1,
        "attention_sink_size": -1,
        "prefill_chunk_size": shape.prefill_chunk,
        "tensor_parallel_shards": 1,
        "pipeline_parallel_stages": 1,
        "disaggregation": False,
        "kv_state_kind": "kv_cache",
        "max_batch_size": 1,
        "active_vocab_size": shape.vocabulary,
        "model_task": "chat",
        "params": [{**row, "preprocs": [], "pipeline_stages": [0]} for row in told],
    }
    builder = relax.BlockBuilder(module)
    with builder.function("_metadata", []):
        builder.emit_func_output(ir.StringImm(json.dumps(metadata)))
    return builder.finalize()


def find_runtime() -> Path:
    command = [str(Path(sys.executable).with_name("transom")), "build", "runtime"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Path(printed.splitlines()[-1].rpartition(": ")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description="SmolLM2 as upstream MLC would compile it.")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    weights = Weights(options.gguf)
    shape = weights.shape()
    told = write_shards(parameters(weights, shape), options.out)
    shaders = build_library(shape, told, find_runtime(), options.out / "library.wasm")
    shutil.copy(options.bundle / "tokenizer.json", options.out)
    config = json.loads((options.bundle / "mlc-chat-config.json").read_text())
    config.update(
        quantization="q4f32_1",
        context_window_size=shape.context_window,
        prefill_chunk_size=shape.prefill_chunk,
    )
    (options.out / "mlc-chat-config.json").write_text(json.dumps(config))
    print(f"{shaders.count('@compute')} kernels, {len(shaders)} characters of WGSL")


if __name__ == "__main__":
    main()
