"""pytest tests/pyserver/test_create_folder.py: `transom create` from a safetensors folder.

Real conversion and llama.cpp's real quantizer, on a checkpoint that `transformers` wrote; only the
compiler's process is a stand-in.
"""

import json
from pathlib import Path

import pytest

from tests.fakes.fake_compiler import FAKE_COMPILER
from tests.fakes.tiny_folder import save_folder
from transom_cli import compile as compile_verb
from transom_cli.main import run
from transom_compile import library_builds
from transom_models import media_types
from transom_models.name import ModelName
from transom_server.model.model_details import look_at
from transom_server.model.model_texts import layers_of
from transom_server.store import Store

CARD = "---\nlicense: other\nlicense_name: my-licence\nlicense_link: LICENSE\n---\n# Tiny\n"
TERMS = "You may use this if you are nice."


@pytest.fixture
def folder(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Modelfiles are, beside a checkpoint `tiny`."""
    (tmp_path / "runtime.json").touch()
    monkeypatch.setenv("TRANSOM_MODELS", str(store.location))
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)
    monkeypatch.setattr(compile_verb, "built_runtime", lambda: tmp_path)
    save_folder(tmp_path / "tiny", "llama", dtype="float16")
    (tmp_path / "tiny" / "README.md").write_text(CARD)
    (tmp_path / "tiny" / "LICENSE").write_text(TERMS)
    return tmp_path


def create(folder: Path, name: str, text: str, *more: str) -> None:
    (folder / "Modelfile").write_text(text)
    assert run(["create", name, "-f", str(folder / "Modelfile"), *more]) == 0


def test_a_folder_becomes_a_model(
    folder: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    # With the browser's platforms, natively alone, and quantized first.
    create(folder, "both", "FROM tiny")
    create(folder, "native", "FROM ./tiny\nPLATFORM native")
    create(folder, "small", "FROM tiny\nPLATFORM native", "--quantize", "q8_0")
    both, native, small = (look_at(store, ModelName.parse(n)) for n in ("both", "native", "small"))
    assert both.platforms == ("native/gguf", "browser/webgpu/f16", "browser/webgpu/f32")
    assert native.platforms == small.platforms == ("native/gguf",)
    assert both.details.quantization_level == native.details.quantization_level == "F16"
    assert small.details.quantization_level == "Q8_0"
    # The terms travel with each, whatever was made of the weights.
    for view in (both, native, small):
        assert view.licence.id == "my-licence"
        assert view.licence.open is False
        assert view.licence.text == TERMS
    for row in both.model.index.manifests:
        (licence,) = layers_of(store.get_manifest(row), media_types.OLLAMA_LICENSE)
        assert store.read_manifest_bytes(licence.digest).decode() == TERMS
    # One conversion is like the other: the same GGUF.
    model = media_types.OLLAMA_MODEL
    first, second = (store.get_manifest(v.model.index.manifests[0]) for v in (both, native))
    assert layers_of(first, model)[0].digest == layers_of(second, model)[0].digest
    # A model of the store is quantized, too, and keeps what was said of it.
    create(folder, "brief", "FROM native\nSYSTEM Be brief.")
    create(folder, "smaller", "FROM brief\nPLATFORM native", "-q", "q4_0")
    smaller = look_at(store, ModelName.parse("smaller"))
    assert smaller.details.quantization_level == "Q4_0"
    assert smaller.texts.system == "Be brief."
    assert smaller.licence.text == TERMS
    assert store.verify().problems == ()
    capsys.readouterr()


def test_a_folder_that_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Modelfile").write_text("FROM cache")
    (folder / "cache").mkdir()
    assert run(["create", "x", "-f", str(folder / "Modelfile")]) == 2
    (folder / "Modelfile").write_text("FROM tiny\nPLATFORM native")
    assert run(["create", "x", "-f", str(folder / "Modelfile"), "-q", "nonsense"]) == 2
    config = json.loads((folder / "tiny" / "config.json").read_text())
    config["architectures"] = ["NothingForCausalLM"]
    config["model_type"] = "nothing"
    (folder / "tiny" / "config.json").write_text(json.dumps(config))
    assert run(["create", "x", "-f", str(folder / "Modelfile")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    assert "config.json" in errors[0]
    assert "nonsense" in errors[1]
    assert "nothing" in errors[2].lower()
