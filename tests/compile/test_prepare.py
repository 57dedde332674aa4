"""From what the user names to the GGUF that walks: order of the steps, and nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType

from tests.fakes.tiny_gguf import TinyGguf, tiny_llama
from transom_compile import adapter, quantize
from transom_compile.hub import convert
from transom_compile.pipeline import CompileOptions, compile_bundle
from transom_compile.prepare import Recipe, check_recipe, made_steps, prepare_checkpoint
from transom_compile.progress import Phases, Progress, Silent
from transom_compile.recognise import CompileError


class Steps:
    """Stands in for converter, merger and quantizer: each writes who it is and what it got."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[list[str]] = []
        monkeypatch.setattr(convert, "convert_folder", self.convert)
        monkeypatch.setattr(adapter, "merge_adapter", self.merge)
        monkeypatch.setattr(quantize, "quantize_gguf", self.quantize)

    def _write(self, out: Path, text: str) -> Path:
        out.write_text(text)
        self.seen.append(sorted(path.name for path in out.parent.iterdir()))
        return out

    def convert(self, folder: Path, out: Path, *, progress: Progress) -> Path:
        return self._write(out, "converted")

    def merge(
        self, source: Path, adapter: Path, out: Path, *, scale: float, progress: Progress
    ) -> Path:
        return self._write(out, f"{source.read_text()} merged {adapter.name} {scale}")

    def quantize(
        self, source: Path, out: Path, scheme: str, *, imatrix: Path | None, progress: Progress
    ) -> Path:
        name = imatrix.name if imatrix else None
        return self._write(out, f"{source.read_text()} quantized {scheme} {name}")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def test_a_gguf_that_needs_nothing_is_used_where_it_lies(tmp_path: Path, steps: Steps) -> None:
    source = tmp_path / "a.gguf"
    source.write_text("mine")
    assert prepare_checkpoint(source, Recipe(), tmp_path, Phases(Silent())) == source
    assert steps.seen == []


def test_all_steps_in_order_one_temporary_file_at_a_time(tmp_path: Path, steps: Steps) -> None:
    source, workspace = tmp_path / "folder", tmp_path / "workspace"
    source.mkdir()
    workspace.mkdir()
    recipe = Recipe("q4_k_m", tmp_path / "imatrix", tmp_path / "lora", 0.5)
    phases = Phases(Silent())
    made = prepare_checkpoint(source, recipe, workspace, phases)
    assert made == workspace / "model.gguf"
    assert made.read_text() == "converted merged lora 0.5 quantized q4_k_m imatrix"
    assert list(workspace.iterdir()) == [made]
    assert steps.seen == [
        ["converted.gguf"],
        ["converted.gguf", "merged.gguf"],
        ["merged.gguf", "quantized.gguf"],
    ]
    assert tuple(phase.name for phase in phases.figures) == made_steps(source, recipe)


def test_the_user_s_own_file_is_never_deleted(tmp_path: Path, steps: Steps) -> None:
    source, workspace = tmp_path / "a.gguf", tmp_path / "workspace"
    source.write_text("mine")
    workspace.mkdir()
    made = prepare_checkpoint(source, Recipe("q8_0"), workspace, Phases(Silent()))
    assert made.read_text() == "mine quantized q8_0 None"
    assert source.read_text() == "mine"


def test_what_is_missing_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no file or folder"):
        check_recipe(tmp_path / "none.gguf", Recipe())
    (tmp_path / "a.gguf").touch()
    check_recipe(tmp_path / "a.gguf", Recipe())
    with pytest.raises(CompileError, match="--imatrix says how to quantize"):
        check_recipe(tmp_path / "a.gguf", Recipe(imatrix=tmp_path / "a.gguf"))


@pytest.mark.parametrize("where", ["quantize", "repack", "seal"])
def test_a_made_gguf_is_kept_with_the_bundle_or_not_at_all(
    write_gguf: Callable[[TinyGguf], Path], tmp_path: Path, where: str
) -> None:
    class Interrupting(Silent):
        def step(self, name: str, total_bytes: int | None = None) -> None:
            if name == where:
                raise KeyboardInterrupt

    names = [tensor.name for tensor in tiny_llama().tensors if len(tensor.dims) == 2]
    path = write_gguf(tiny_llama(kinds=dict.fromkeys(names, GGMLQuantizationType.F16)))
    options = CompileOptions(Path("none"), variants=(), recipe=Recipe("q4_1"))
    with pytest.raises(KeyboardInterrupt):
        compile_bundle(path, tmp_path / "out", options, Interrupting())
    assert list(tmp_path.iterdir()) == [path]

    report = compile_bundle(path, tmp_path / "out", options, Silent())
    native = report.bundle.files[report.bundle.index.manifests[0].digest].read_text()
    assert '"org.opencontainers.image.title":"model.gguf"' in native
    # Every tensor but the embedding, which the mix keeps wider.
    assert "Q4_1:14" in report.bundle.index.annotations["dev.transom.scheme"]
    assert report.source_bytes == (tmp_path / "out" / "model.gguf").stat().st_size
