"""The walk without TVM (no variants): what it writes, what it refuses, and that it cleans up."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGMLQuantizationType

from tests.fakes.fake_compiler import FAKE_COMPILER
from tests.fakes.tiny_gguf import TinyGguf, tiny_llama
from transom_compile import library_builds
from transom_compile.pipeline import CompileError, CompileOptions, compile_bundle
from transom_compile.progress import Silent
from transom_compile.repack import StoredTensor, dequantize
from transom_compile.sources.gguf import open_checkpoint
from transom_models.errors import TransomError

NO_LIBRARIES = CompileOptions(runtime_dir=Path("none"), variants=())


class Listener(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.total = 0
        self.done = 0

    def step(self, name: str, total_bytes: int | None = None) -> None:
        self.steps.append(name)
        self.total += total_bytes or 0

    def advance(self, count: int) -> None:
        self.done += count


def test_writes_a_bundle_and_says_how_far_it_is(tiny_llama_path: Path, tmp_path: Path) -> None:
    listener = Listener()
    report = compile_bundle(tiny_llama_path, tmp_path / "out", NO_LIBRARIES, listener)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "chat_template.jinja",
        "index.json",
        "manifests",
        "mlc-chat-config.json",
        "native-config.json",
        "params_shard_0.bin",
        "tensor-cache.json",
        "tokenizer.json",
    }
    assert listener.steps == ["read", "repack", "texts", "libraries", "seal"]
    assert [phase.name for phase in report.phases] == listener.steps
    assert all(phase.peak_rss_bytes > 0 for phase in report.phases)
    assert listener.total - 2000 < listener.done <= listener.total, "padding is not counted"
    assert all(path.is_file() for path in report.bundle.files.values())
    assert report.notes == ()


def test_shards_hold_the_checkpoint_s_numbers(tiny_llama_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_bundle(tiny_llama_path, out, NO_LIBRARIES, Silent())
    planes = read_planes(out)
    checkpoint = open_checkpoint(tiny_llama_path)

    def published(name: str) -> Any:
        info = checkpoint.tensors[name]
        kind = GGMLQuantizationType[info.block_type]
        return quants.dequantize(checkpoint.read_blocks(name), kind).reshape(info.shape)

    down = [StoredTensor(s, planes[f"blk.1.ffn_down.weight{s}"]) for s in (".q", ".s", ".m")]
    found = dequantize(down, "Q4_1", (64, 96))
    assert np.array_equal(found, published("blk.1.ffn_down.weight"))
    qkv = [StoredTensor(s, planes[f"blk.0.attn_qkv.weight{s}"]) for s in (".q", ".s", ".m")]
    query = dequantize(qkv, "Q4_1", (128, 64))[:64]
    # GGUF row 2i of a head is published row i, row 2i + 1 is row i + half.
    interleaved = query.reshape(4, 2, 8, 64).swapaxes(1, 2).reshape(64, 64)
    assert np.array_equal(interleaved, published("blk.0.attn_q.weight"))


def read_planes(out: Path) -> dict[str, Any]:
    planes = {}
    for shard in json.loads((out / "tensor-cache.json").read_bytes())["records"]:
        data = (out / shard["dataPath"]).read_bytes()
        for record in shard["records"]:
            raw = data[record["byteOffset"] : record["byteOffset"] + record["nbytes"]]
            array = np.frombuffer(raw, record["dtype"]).reshape(record["shape"])
            planes[record["name"]] = array
    return planes


def test_compiling_twice_gives_the_same_bytes(tiny_llama_path: Path, tmp_path: Path) -> None:
    first = compile_bundle(tiny_llama_path, tmp_path / "a", NO_LIBRARIES, Silent())
    second = compile_bundle(tiny_llama_path, tmp_path / "b", NO_LIBRARIES, Silent())
    assert first.bundle.index_digest == second.bundle.index_digest
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_an_earlier_bundle_is_replaced(tiny_llama_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compile_bundle(tiny_llama_path, out, NO_LIBRARIES, Silent())
    (out / "left-over").touch()
    compile_bundle(tiny_llama_path, out, NO_LIBRARIES, Silent())
    assert not (out / "left-over").exists()


def test_a_folder_that_is_no_bundle_is_not_touched(tiny_llama_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(CompileError, match="exists and is not a bundle"):
        compile_bundle(tiny_llama_path, out, NO_LIBRARIES, Silent())
    assert (out / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("context", [64, 100, 256])
def test_the_context_window_can_be_chosen(
    tiny_llama_path: Path, tmp_path: Path, context: int
) -> None:
    options = replace(NO_LIBRARIES, context=context)
    compile_bundle(tiny_llama_path, tmp_path / "out", options, Silent())
    config = json.loads((tmp_path / "out" / "mlc-chat-config.json").read_bytes())
    assert config["context_window_size"] == context
    assert config["prefill_chunk_size"] == min(512, context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 257}, "context of 257 tokens is not from 64 to the model's 256"),
        ({"context": 8}, "context of 8 tokens"),
        ({"prefill_chunk": 1}, "prefill chunk of 1"),
        ({"variants": ("f8",)}, "no variant 'f8'; choose from f32, f16"),
        ({"variants": ("f32",)}, "none holds no wasm runtime; run `transom build runtime`"),
    ],
)
def test_options_that_do_not_fit_are_named(
    tiny_llama_path: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CompileError, match=message):
        compile_bundle(
            tiny_llama_path, tmp_path / "out", replace(NO_LIBRARIES, **changes), Silent()
        )
    assert set(tmp_path.iterdir()) == {tiny_llama_path}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (TinyGguf(), "does not name its architecture"),
        (tiny_llama(metadata={"general.architecture": "gemma9"}), "'gemma9' is not supported yet"),
        (tiny_llama(without=["blk.0.attn_q.weight"]), "lacks tensor blk.0.attn_q.weight"),
        (tiny_llama(metadata={"tokenizer.ggml.pre": "new"}), "pre-tokenizer 'new'"),
        (TinyGguf(magic=b"PK\3\4"), "is not a GGUF file"),
    ],
)
def test_a_bad_checkpoint_leaves_nothing_behind(
    write_gguf: Callable[[TinyGguf], Path], tmp_path: Path, file: TinyGguf, message: str
) -> None:
    path = write_gguf(file)
    with pytest.raises(TransomError, match=message):
        compile_bundle(path, tmp_path / "out", NO_LIBRARIES, Silent())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["repack", "texts", "libraries", "seal"])
def test_an_interrupt_at_any_step_leaves_nothing_behind(
    tiny_llama_path: Path, tmp_path: Path, step: str
) -> None:
    class Interrupting(Silent):
        def step(self, name: str, total_bytes: int | None = None) -> None:
            if name == step:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_bundle(tiny_llama_path, tmp_path / "out", NO_LIBRARIES, Interrupting())
    assert list(tmp_path.iterdir()) == [tiny_llama_path]


def test_libraries_are_asked_for_by_variant(
    tiny_llama_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the compiler replaced: which libraries, in which manifest, under which annotation."""
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)
    (tmp_path / "runtime.json").touch()
    options = CompileOptions(runtime_dir=tmp_path)
    report = compile_bundle(tiny_llama_path, tmp_path / "out", options, Silent())
    assert [(library.file_name, library.cached) for library in report.libraries] == [
        ("library-f16.wasm", False),
        ("program-f16.json", False),
        ("library-f32.wasm", False),
        ("library-f32-fallback.wasm", False),
        ("program-f32.json", False),
        ("program-f32-fallback.json", False),
    ]
    assert [library.seconds for library in report.libraries] == [{"codegen": 0.5}] * 6
    assert (tmp_path / "out" / "library-f16.wasm").read_text() == "float16 gpu 256"
    assert [str(row.platform) for row in report.bundle.index.manifests] == [
        "native/gguf",
        "browser/webgpu/f16",
        "browser/webgpu/f32",
    ]
    assert "apache-tvm" in report.bundle.index.annotations["dev.transom.versions"]
    assert report.bundle.index.annotations["dev.transom.scheme"] == "Q4_1:14 F32:5 Q8_0:1"


def test_a_fine_tune_takes_its_libraries_from_the_cache(
    write_gguf: Callable[[TinyGguf], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)
    options = CompileOptions(runtime_dir=tmp_path / "runtime")
    options.runtime_dir.mkdir()
    (options.runtime_dir / "runtime.json").touch()
    base = compile_bundle(write_gguf(tiny_llama()), tmp_path / "base", options, Silent())
    monkeypatch.setattr(library_builds, "COMPILER", ("no compiler may start",))
    tuned = compile_bundle(write_gguf(tiny_llama(seed=1)), tmp_path / "tuned", options, Silent())
    assert all(library.cached for library in tuned.libraries)
    assert tuned.bundle.index_digest != base.bundle.index_digest


def test_a_bad_library_is_one_error_and_leaves_nothing(
    tiny_llama_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_COMPILER", "refuse")
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)
    (tmp_path / "runtime.json").touch()
    with pytest.raises(TransomError, match="no linker here"):
        compile_bundle(
            tiny_llama_path, tmp_path / "out", CompileOptions(runtime_dir=tmp_path), Silent()
        )
    assert set(tmp_path.iterdir()) == {tiny_llama_path, tmp_path / "runtime.json"}


def test_smollm2_without_libraries(smollm2: Path, tmp_path: Path) -> None:
    report = compile_bundle(smollm2, tmp_path / "out", NO_LIBRARIES, Silent())
    # What the page downloads for the weights, and how they are cut; a change breaks sharing.
    shards = sorted((tmp_path / "out").glob("params_shard_*.bin"))
    assert [shard.stat().st_size for shard in shards] == [30_081_024, 33_246_720, 33_249_024]
    assert report.bundle.index.annotations["org.opencontainers.image.licenses"] == "apache-2.0"
    assert report.notes == ()
