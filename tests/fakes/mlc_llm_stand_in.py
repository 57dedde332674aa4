"""A stand-in for `mlc_llm`, which no test can install: its command line, and files of its shape.

It compiles nothing. `install` makes a package and its metadata in a folder for PYTHONPATH; run as
`python -m mlc_llm …` it notes how it was called in `calls.json` beside itself and writes what the
real one would. Its words are those of mlc-llm's command line at commit 79d603f0 (July 2026).
"""

import argparse
import json
import sys
from pathlib import Path

from tests.fakes.mlc_model import mlc_config, tensor_cache, tokenizer, wasm

MAIN = "import sys; from tests.fakes.mlc_llm_stand_in import main; main(sys.argv[1:])\n"


def install(folder: Path, version: str = "0.20.0") -> Path:
    """A site folder that holds mlc_llm and says which version it is."""
    (folder / "mlc_llm").mkdir(parents=True)
    (folder / "mlc_llm" / "__init__.py").touch()
    (folder / "mlc_llm" / "__main__.py").write_text(MAIN)
    metadata = folder / f"mlc_llm_nightly_cpu-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: mlc-llm-nightly-cpu\nVersion: {version}\n"
    )
    (metadata / "top_level.txt").write_text("mlc_llm\n")
    return folder


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    deeds = parser.add_subparsers(dest="deed", required=True)
    for deed in ("convert_weight", "gen_config", "compile"):
        words = deeds.add_parser(deed)
        words.add_argument("source", type=Path)
        words.add_argument("--quantization", choices=["q4f16_1", "q4f32_1"])
        words.add_argument("--output", "-o", type=Path, required=True)
        if deed == "gen_config":
            words.add_argument("--conv-template", choices=["LM", "chatml"], required=True)
            words.add_argument("--context-window-size", type=int)
            words.add_argument("--prefill-chunk-size", type=int)
            words.add_argument("--max-batch-size", type=int)
        if deed == "compile":
            words.add_argument("--device", choices=["webgpu"], required=True)
            words.add_argument("--overrides", default="")
    options = parser.parse_args(arguments)
    note = Path(sys.path[0] or ".") / "calls.json"
    for place in map(Path, sys.path):
        if (place / "mlc_llm" / "__main__.py").is_file():
            note = place / "calls.json"
            break
    calls = json.loads(note.read_text()) if note.is_file() else []
    note.write_text(json.dumps([*calls, arguments]))
    out: Path = options.output
    if options.source.name == "unknown" and options.deed == "convert_weight":
        sys.exit("ValueError: Unknown model type: perceptron")
    if options.deed == "convert_weight":
        out.mkdir(exist_ok=True)
        shard = bytes(range(64))
        (out / "params_shard_0.bin").write_bytes(shard)
        (out / "ndarray-cache.json").write_text(json.dumps(tensor_cache(shard)))
    elif options.deed == "gen_config":
        config = mlc_config() | {"context_window_size": options.context_window_size or 4096}
        config["conv_template"]["stop_token_ids"] = [0]
        (out / "mlc-chat-config.json").write_text(json.dumps(config))
        (out / "tokenizer.json").write_text(json.dumps(tokenizer()))
    else:
        assert options.source.is_file()
        out.write_bytes(wasm("TVMFFIFunctionCall", tail=b"enable f16;"))
