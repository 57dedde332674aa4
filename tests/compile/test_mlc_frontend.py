"""`--frontend mlc`: how MLC's compiler is called, against a stand-in for it (the real one compiles
for minutes and comes from an index that no test reaches)."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.mlc_llm_stand_in import install
from tests.fakes.tiny_gguf import CHATML
from transom_compile.cli import run_mlc
from transom_compile.mlc.errors import MlcFailed
from transom_compile.mlc.frontend import compile_bundle_with_mlc, find_mlc
from transom_compile.pipeline import CompileOptions
from transom_compile.prepare import Recipe
from transom_compile.progress import Silent
from transom_compile.recognise import CompileError
from transom_models.errors import TransomError

OPTIONS = CompileOptions(Path("none"), context=2048, recipe=Recipe(quantize="q4f16_1"))
ROOT = Path(__file__).resolve().parents[2]

Install = Callable[..., Path]


@pytest.fixture
def install_mlc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    def installed(version: str = "0.20.0") -> Path:
        site = install(tmp_path / "site", version)
        monkeypatch.setenv("PYTHONPATH", ":".join([str(site), str(ROOT), *filter(None, sys.path)]))
        return site

    return installed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "perceptron-1B"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["PerceptronForCausalLM"]}')
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    return folder


def test_weights_config_library_in_that_order(
    folder: Path, install_mlc: Install, tmp_path: Path
) -> None:
    site, out = install_mlc(), tmp_path / "out"
    report = compile_bundle_with_mlc(folder, out, OPTIONS, Silent())
    calls = json.loads((site / "calls.json").read_text())
    assert [call[0] for call in calls] == ["convert_weight", "gen_config", "compile"]
    assert "--context-window-size=2048" in calls[1]
    assert "--max-batch-size=1" in calls[1]
    assert "prefill_chunk_size=512;max_batch_size=1;context_window_size=2048" in calls[2]
    assert [phase.name for phase in report.phases] == ["mlc convert", "mlc config", "mlc compile"]
    assert (report.compiler.package, report.compiler.version) == ("mlc-llm-nightly-cpu", "0.20.0")
    assert str(report.bundle.index.manifests[0].platform) == "browser/webgpu/f16"
    assert all(path.is_file() for path in report.bundle.files.values())


def test_the_prompt_is_the_folder_s_own(folder: Path, install_mlc: Install, tmp_path: Path) -> None:
    """MLC wrote a template by name, whose stop tokens are another model's."""
    install_mlc()
    out = tmp_path / "out"
    report = compile_bundle_with_mlc(folder, out, OPTIONS, Silent())
    assert (out / "chat_template.jinja").read_text() == CHATML
    config = json.loads((out / "mlc-chat-config.json").read_text())
    assert "conv_template" not in config
    assert config["eos_token_id"] == 2
    assert any("WebLLM" in note for note in report.notes)


def test_the_folder_is_complete(folder: Path, install_mlc: Install, tmp_path: Path) -> None:
    """By titles, as a static host serves it and as `transom import` reads it."""
    install_mlc()
    out = tmp_path / "out"
    assert run_mlc(folder, OPTIONS, out=out) == 0
    manifest = json.loads((out / "manifests" / "f16.json").read_text())
    for row in (manifest["config"], *manifest["layers"]):
        assert (out / row["annotations"]["org.opencontainers.image.title"]).is_file()


def test_report_for_machines(
    folder: Path, install_mlc: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install_mlc()
    assert run_mlc(folder, OPTIONS, out=tmp_path / "out", json=True) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["compiler"] == {"package": "mlc-llm-nightly-cpu", "version": "0.20.0"}


def test_what_mlc_says_is_passed_on_and_nothing_is_left(
    folder: Path, install_mlc: Install, tmp_path: Path
) -> None:
    site = install_mlc()
    unknown = folder.rename(tmp_path / "unknown")
    with pytest.raises(MlcFailed, match=r"convert_weight ended with 1: .*Unknown model type"):
        compile_bundle_with_mlc(unknown, tmp_path / "out", OPTIONS, Silent())
    assert set(tmp_path.iterdir()) == {site, unknown}


@pytest.mark.parametrize("version", ["0.0.1", "0.21.0", "1.0", "nightly"])
def test_a_version_that_is_not_known_is_refused(install_mlc: Install, version: str) -> None:
    install_mlc(version)
    with pytest.raises(MlcFailed, match=r"from 0\.1 to 0\.20"):
        find_mlc()


@pytest.mark.parametrize("version", ["0.1.dev0", "0.19.0", "0.20.dev1047"])
def test_versions_that_are_known(install_mlc: Install, version: str) -> None:
    install_mlc(version)
    assert find_mlc().version == version


def test_without_mlc_it_says_how_to_get_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MlcFailed, match=r"has no mlc_llm.*TRANSOM_MLC_PYTHON"):
        compile_bundle_with_mlc(folder, tmp_path / "out", OPTIONS, Silent())
    monkeypatch.setenv("TRANSOM_MLC_PYTHON", str(tmp_path / "no" / "python"))
    with pytest.raises(MlcFailed, match="does not run"):
        find_mlc()


def test_what_it_cannot_take(folder: Path, install_mlc: Install, tmp_path: Path) -> None:
    install_mlc()
    (tmp_path / "a.gguf").touch()
    with pytest.raises(CompileError, match="Hugging Face folders only"):
        compile_bundle_with_mlc(tmp_path / "a.gguf", tmp_path / "out", OPTIONS, Silent())
    options = CompileOptions(Path("none"), recipe=Recipe(adapter=tmp_path))
    with pytest.raises(CompileError, match="not for --frontend mlc"):
        compile_bundle_with_mlc(folder, tmp_path / "out", options, Silent())
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(TransomError, match="no chat template"):
        compile_bundle_with_mlc(folder, tmp_path / "out", OPTIONS, Silent())
