"""`--plan`: says what a compile then does, for every kind of source, and does nothing itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType

from tests.fakes.fake_compiler import FAKE_COMPILER
from tests.fakes.tiny_folder import save_folder
from tests.fakes.tiny_gguf import TinyGguf, tiny_llama
from transom_compile import library_builds
from transom_compile.cli import run_plan
from transom_compile.memory_estimate import Sizes, contexts, estimate_memory
from transom_compile.pipeline import CompileError, CompileOptions, compile_bundle
from transom_compile.plan import plan_compile
from transom_compile.prepare import Recipe
from transom_compile.progress import Silent
from transom_compile.rates import ELSEWHERE, read_rates, remember_rates
from transom_models.architecture import CacheSpec
from transom_models.digest import Digest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)


@pytest.fixture
def options(tmp_path: Path) -> CompileOptions:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "runtime.json").touch()
    return CompileOptions(runtime_dir=runtime)


def test_what_a_plan_says_is_what_a_compile_does(
    tiny_llama_path: Path, tmp_path: Path, options: CompileOptions
) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan = plan_compile(tiny_llama_path, options)
    assert sorted(tmp_path.rglob("*")) == before
    libraries = [library for variant in plan.variants for library in variant.libraries]
    assert [library.cached for library in libraries] == [False] * 6
    assert plan.licence == "apache-2.0"
    assert (plan.context_window, plan.trained_context) == (256, 256)
    assert (plan.steps, plan.made_bytes, plan.reused) == ((), None, ())

    report = compile_bundle(tiny_llama_path, tmp_path / "out", options, Silent())
    assert plan.stored_bytes == report.stored_bytes
    assert plan.shard_count == len(list((tmp_path / "out").glob("params_shard_*.bin")))
    again = plan_compile(tiny_llama_path, options)
    assert again.reused == ("6 of 6 libraries, from the cache",)
    assert "libraries" in plan.seconds
    assert "libraries" not in again.seconds


def test_a_quantization_is_planned_to_the_byte(
    write_gguf: Callable[[TinyGguf], Path], tmp_path: Path, options: CompileOptions
) -> None:
    """llama.cpp's mix decides per tensor; plan, quantizer and cache must agree."""
    f16 = dict.fromkeys(
        [tensor.name for tensor in tiny_llama().tensors if len(tensor.dims) == 2],
        GGMLQuantizationType.F16,
    )
    path = write_gguf(tiny_llama(kinds=f16))
    options = replace(options, recipe=Recipe(quantize="q4_0"))
    plan = plan_compile(path, options)
    assert plan.steps == ("quantize",)
    report = compile_bundle(path, tmp_path / "out", options, Silent())
    assert plan.stored_bytes == report.stored_bytes
    made = (tmp_path / "out" / "model.gguf").stat().st_size
    assert plan.made_bytes is not None
    assert 0 < made - plan.made_bytes < 32_000, "a header and padding"
    assert plan_compile(path, options).reused == ("6 of 6 libraries, from the cache",)


@pytest.mark.parametrize("scheme", [None, "q8_0"])
def test_a_folder_is_planned_to_the_byte(
    tmp_path: Path, options: CompileOptions, scheme: str | None
) -> None:
    """Its libraries too: config.json has doubles, a GGUF floats, and the cache must not care."""
    folder = tmp_path / "llama"
    save_folder(folder, "llama")
    options = replace(options, recipe=Recipe(quantize=scheme))
    plan = plan_compile(folder, options)
    assert plan.format == "Hugging Face folder"
    assert plan.steps == ("convert", "quantize")[: 1 if scheme is None else 2]
    report = compile_bundle(folder, tmp_path / "out", options, Silent())
    assert plan.stored_bytes == report.stored_bytes
    assert plan_compile(folder, options).reused == ("6 of 6 libraries, from the cache",)


def test_a_store_that_has_the_checkpoint_is_named(
    tiny_llama_path: Path, options: CompileOptions
) -> None:
    digest = Digest.of_file(tiny_llama_path)
    asked: list[int] = []

    def known(size: int) -> dict[Digest, str]:
        asked.append(size)
        return {digest: "tiny"}

    plan = plan_compile(tiny_llama_path, options, known)
    assert plan.reused == ("the checkpoint: the store has it, in tiny",)
    assert asked == [tiny_llama_path.stat().st_size]
    other = {Digest.of(b""): "other"}
    assert plan_compile(tiny_llama_path, options, lambda _: other).reused == ()


def test_without_a_runtime_or_a_licence_it_says_so(
    write_gguf: Callable[[TinyGguf], Path], tmp_path: Path
) -> None:
    path = write_gguf(tiny_llama(metadata={"general.license": None}))
    plan = plan_compile(path, CompileOptions(runtime_dir=tmp_path / "none"))
    assert [note.partition(":")[0] for note in plan.notes] == [
        "the wasm runtime is not built yet",
        "no licence is stated; what may be done with the model is not known",
    ]
    assert plan.variants[0].libraries[0].cached is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 257}, "context of 257 tokens"),
        ({"variants": ("f8",)}, "no variant 'f8'"),
        ({"recipe": Recipe(imatrix=Path("x"))}, "needs --quantize"),
        ({"recipe": Recipe(adapter=Path("nowhere"))}, "no file or folder nowhere"),
    ],
)
def test_what_cannot_be_compiled_cannot_be_planned(
    tiny_llama_path: Path, options: CompileOptions, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(CompileError, match=message):
        plan_compile(tiny_llama_path, replace(options, **changes))  # type: ignore[arg-type]


def test_for_people_and_for_machines(
    tiny_llama_path: Path, options: CompileOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_plan(tiny_llama_path, options) == 0
    text = capsys.readouterr().out
    for word in ("apache-2.0", "library-f16.wasm to be built", "256", "by another machine"):
        assert word in text
    assert run_plan(tiny_llama_path, options, as_json=True) == 0
    (line,) = capsys.readouterr().out.splitlines()
    plan = json.loads(line)
    assert plan["event"] == "plan"
    assert plan["memory"][-1]["context"] == 256
    assert plan["memory"][-1]["f32"]["kv_bytes"] == 2 * plan["memory"][-1]["f16"]["kv_bytes"]


def test_memory_by_hand() -> None:
    cache = CacheSpec(layers=2, query_heads=4, kv_heads=1, head_dim=8, rope=None)
    sizes = Sizes(1000, width=32, vocabulary=100, rows=(), cache=cache, prefill_chunk=64)
    memory = estimate_memory(sizes, 1000, 2)
    # 1000 tokens are 63 pages of 16, and one to spare.
    assert memory.kv_bytes == 2 * 2 * 1 * 8 * 1024 * 2
    assert memory.scratch_bytes == 64 * (4 * 32 + 2 * 5 * 8) * 2 + 2 * 100 * 4
    assert memory.total_bytes == 1000 + memory.kv_bytes + memory.scratch_bytes
    encoder = replace(sizes, cache=None)
    assert estimate_memory(encoder, 1000, 4).kv_bytes == 0
    assert contexts(5000) == [1024, 2048, 4096, 5000]
    assert contexts(512) == [512]


def test_rates_of_this_machine_replace_those_of_another(tmp_path: Path) -> None:
    assert read_rates() == ELSEWHERE
    remember_rates({"repack": 5e8}, None)
    remember_rates({"convert": 3e8}, 4.0)
    rates = read_rates()
    assert rates.bytes_per_second["repack"] == 5e8
    assert rates.bytes_per_second["quantize"] == ELSEWHERE.bytes_per_second["quantize"]
    assert rates.library_seconds == 4.0
    assert set(rates.measured) == {"repack", "convert", "libraries"}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"bytes_per_second": {"repack": "x"}}', "\xff", '{"bytes_per_second"']
)
def test_damaged_rates_count_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "rates.json").write_text(text, encoding="latin-1")
    assert read_rates() == ELSEWHERE


def test_no_rate_is_zero_or_endless(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rates.json").write_text(
        '{"bytes_per_second": {"repack": 0, "convert": -1, "merge": Infinity}, '
        '"library_seconds": -2}'
    )
    assert read_rates() == ELSEWHERE
