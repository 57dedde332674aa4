"""`transom import`: MLC's models and our bundles into the store, progress, one line per error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.mlc_model import write_mlc_model
from tests.pyserver.bundles import write_bundle
from transom_cli.main import run
from transom_models.name import ModelName
from transom_server.store import Store

RunCli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """What TRANSOM_MODELS names in every test."""
    return Store(tmp_path / "models")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> RunCli:
    def run_cli(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_cli


def test_an_mlc_model_is_kept_under_its_folder_s_name(
    cli: RunCli, store: Store, tmp_path: Path
) -> None:
    folder = write_mlc_model(tmp_path / "Model-q4f16_1-MLC")
    code, out, err = cli("import", folder)
    assert (code, err) == (0, "")
    model = store.get_index(ModelName.parse("Model-q4f16_1-MLC"))
    assert out == f"Model-q4f16_1-MLC is in the store\nindex {model.digest}\n"
    assert store.verify().problems == ()
    shutil.rmtree(folder)
    assert store.verify().problems == (), "the store has copies of its own"


def test_again_under_another_name_copies_nothing(cli: RunCli, store: Store, tmp_path: Path) -> None:
    folder = write_mlc_model(tmp_path / "a")
    assert cli("import", folder, "--json")[0] == 0
    blobs = {path: path.stat().st_ino for path in (store.root / "blobs").rglob("*")}
    code, out, _ = cli("import", folder, "--name", "b", "--json")
    assert code == 0
    assert {path: path.stat().st_ino for path in (store.root / "blobs").rglob("*")} == blobs
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["phase"] for line in lines if line["event"] == "phase"] == [
        "md5",
        "digest",
        "keep",
    ]
    assert lines[-1] == {
        "event": "report",
        "name": "b",
        "index": str(store.get_index(ModelName.parse("a")).digest),
        "notes": [],
    }


def test_a_bundle_of_ours_needs_its_checkpoint(cli: RunCli, store: Store, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    ((digest, source),) = bundle.files.items()
    code, _, err = cli("import", bundle.folder, "--name", "tiny")
    assert code == 2, "the checkpoint lies elsewhere"
    assert f"lacks the GGUF that it was made from ({digest}); name that file with --source" in err
    assert store.list_models() == []
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF of something else")
    code, _, err = cli("import", bundle.folder, "--name", "tiny", "--source", other)
    assert code == 2
    assert f"({digest}); {other} is another one" in err
    assert store.list_models() == []
    assert cli("import", bundle.folder, "--name", "tiny", "--source", source)[0] == 0
    assert store.verify().sound
    assert store.has_blob(digest)
    assert source.exists()


def test_options_that_do_not_fit_are_refused(cli: RunCli, tmp_path: Path) -> None:
    folder = write_mlc_model(tmp_path / "model")
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"GGUF\3\0\0\0")
    assert "nothing for --source to complete" in cli("import", folder, "--source", gguf)[2]
    bundle = write_bundle(tmp_path / "bundle").folder
    assert "nothing for --library to add" in cli("import", bundle, "--library", gguf)[2]
    assert f"`transom compile {gguf} --name NAME`" in cli("import", gguf)[2]


def test_nothing_is_left_of_a_model_that_is_refused(
    cli: RunCli, store: Store, tmp_path: Path
) -> None:
    folder = write_mlc_model(tmp_path / "model")
    (folder / "params_shard_0.bin").write_bytes(bytes(64))
    code, out, err = cli("import", folder)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "fetch it again" in err
    assert not store.root.exists()
    code, out, _ = cli("import", folder, "--json")
    assert json.loads(out.splitlines()[-1])["event"] == "error"


def test_a_folder_whose_name_is_no_model_s_needs_one(tmp_path: Path) -> None:
    folder = write_mlc_model(tmp_path / "my model")
    assert run(["import", str(folder)]) == 2


def test_what_is_not_there_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
