"""pytest tests/pyserver/test_cli.py: verbs, exit codes, one line per error."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.pyserver.bundles import TinyBundle, write_bundle
from transom_cli import ask, chromium
from transom_cli.main import VERBS, load_verb, run
from transom_cli.output import size_text
from transom_models.manifest import Index
from transom_models.media_types import ANNOTATION_LICENSES
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import Store

RunCli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCli:
    """Run a command line on the store with the tiny model; exit code and both streams."""
    monkeypatch.setenv("TRANSOM_MODELS", str(filled.root))

    def run_cli(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_cli


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_each_verb_is_its_own(name: str) -> None:
    command = load_verb(name)
    assert command.get_short_help_str(limit=1000) == VERBS[name].help
    assert isinstance(command, click.Command)


def test_every_file_with_a_command_is_a_verb() -> None:
    import transom_cli

    folder = Path(transom_cli.__file__).parent
    with_command = {
        path.stem.replace("_", "-")
        for path in folder.glob("*.py")
        if "\ncommand = " in path.read_text()
        or "\ndef command(" in path.read_text()
        or " as command\n" in path.read_text()
    }
    assert with_command == set(VERBS)


def test_help_and_version(cli: RunCli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    assert all(f"  {name} " in out for name in VERBS)
    code, out, _ = cli("--version")
    assert code == 0
    assert out.startswith("transom, version ")
    code, _, err = cli()
    assert code == 2
    assert "Usage: transom" in err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["lst"], "No such command 'lst'. (see: transom --help)"),
        (["list", "--bad"], "No such option '--bad'. (see: transom list --help)"),
        (["serve", "--port", "x"], "TRANSOM_PORT: 'x' is not a port from 0 to 65535"),
        (["serve", "--open", "nothing"], "no model nothing in the store"),
        (["serve", "--open", "../a"], "'..' cannot be the namespace of a model name"),
        (["ask", "nothing", "q"], "no model nothing in the store"),
        (["ask", "../a", "q"], "'..' cannot be the namespace of a model name"),
        (["ask", "tiny", "q", "--chromium", "/none"], "--chromium: /none is not a program"),
        (["ask", "tiny"], "Missing argument 'QUESTION'. (see: transom ask --help)"),
        (["compile", "x.gguf", "--name", "../a"], "'..' cannot be the namespace of a model name"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    cli: RunCli, arguments: list[str], error: str
) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {error}"), err
    assert err.count("\n") == 1


def test_list(cli: RunCli, bundle: TinyBundle, filled: Store) -> None:
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    header, row = out.splitlines()
    assert header.split() == ["NAME", "ID", "SIZE", "MODIFIED", "PLATFORMS"]
    assert row.startswith(f"tiny  {filled.get_index(ModelName.parse('tiny')).digest.hex[:12]}  ")
    assert row.endswith("  just now  native/gguf, browser/webgpu/f16, browser/webgpu/f32")
    assert cli("ls") == (0, out, ""), "as Ollama's"
    (listed,) = json.loads(cli("list", "--json")[1])
    files = [path for path in (filled.root / "blobs" / "sha256").iterdir()]
    assert listed["size_bytes"] == sum(path.stat().st_size for path in files)
    assert listed["name"] == "tiny"
    assert listed["platforms"][0] == "native/gguf"
    assert listed["modified"].endswith("+00:00")


def test_list_of_names_that_begin_so(cli: RunCli, filled: Store) -> None:
    filled.put_index(ModelName.parse("other"), Index(()))
    assert [row["name"] for row in json.loads(cli("list", "TI", "--json")[1])] == ["tiny"]
    code, out, err = cli("list", "x\x1b[2J")
    assert (code, out) == (0, "")
    assert err.startswith("no models named x\ufffd[2J… in ")


def test_list_with_licences(cli: RunCli, filled: Store) -> None:
    stated = {ANNOTATION_LICENSES: "llama3.2"}
    filled.put_index(ModelName.parse("a"), Index((), stated))
    code, out, err = cli("list", "--licenses")
    assert (code, err) == (0, "")
    header, first, second = out.splitlines()
    assert header.split()[-1] == "LICENSE"
    assert first.endswith("  llama3.2 (not open)")
    assert second.endswith("  not stated")
    listed, _ = json.loads(cli("list", "--licenses", "--json")[1])
    assert listed["license"].pop("reason").startswith("the publisher's own terms")
    assert listed["license"] == {"id": "llama3.2", "open": False}


def test_a_damaged_model_does_not_hide_the_others(cli: RunCli, filled: Store) -> None:
    model = filled.get_index(ModelName.parse("tiny"))
    filled.put_index(ModelName.parse("other"), Index(()))
    filled.blob_path(model.index.manifests[0].digest).unlink()
    code, out, err = cli("list")
    assert code == 0
    assert "other" in out
    assert "model tiny is left out: no blob sha256:" in err


def test_a_store_that_cannot_be_read_is_said(cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/models")

    monkeypatch.setattr(Store, "list_models", refuse)
    assert cli("list") == (2, "", "error: Permission denied: /models\n")


def test_list_of_nothing(cli: RunCli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSOM_MODELS", str(tmp_path / "none"))
    code, out, err = cli("list")
    assert (code, out) == (0, "")
    assert "no models in" in err
    assert cli("list", "--json")[1] == "[]\n"
    assert not (tmp_path / "none").exists()


def test_list_into_a_closed_pipe_is_quiet(filled: Store, tmp_path: Path) -> None:
    for number in range(50):
        other = write_bundle(tmp_path / str(number), seed=bytes([number]))
        import_bundle(filled, other.folder, ModelName.parse(f"m{number}"), other.files)
    script = f"{sys.executable} -c 'from transom_cli.main import main; main()' list | true"
    done = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "TRANSOM_MODELS": str(filled.root)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (112_400_000, "112.4 MB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def serve(store: Store, *arguments: str) -> subprocess.Popen[str]:
    program = "from transom_cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--port", "0", *arguments],
        env={**os.environ, "TRANSOM_MODELS": str(store.root), "TRANSOM_WEB_DIR": "/none"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_address_and_stops_when_told(filled: Store, how: signal.Signals) -> None:
    with serve(filled) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}/v1/models") as response:
            assert json.load(response)["data"][0]["id"] == "tiny"
        process.send_signal(how)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ""
    assert "npm run build" in err
    assert "method=GET route=/v1/models status=200" in err
    assert "Traceback" not in err


def test_serve_removes_what_the_dead_left(filled: Store) -> None:
    stale = filled.root / ".tmp" / "0123.partial"
    stale.write_bytes(b"half")
    with serve(filled) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not stale.exists()
        process.terminate()
        process.communicate(timeout=20)


# Finding a browser


def program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_browser_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    chrome = program(tmp_path / "bin", "google-chrome")
    other = program(tmp_path / "other", "my-chromium")
    environ = {"PATH": str(tmp_path / "bin")}
    assert chromium.find_chromium(None, environ) == chrome
    preferred = program(tmp_path / "bin", "chromium")
    assert chromium.find_chromium(None, environ) == preferred
    assert chromium.find_chromium(None, {**environ, "CHROMIUM": str(other)}) == other
    assert chromium.find_chromium(str(other), {**environ, "CHROMIUM": "/none"}) == other
    assert chromium.find_chromium(None, {"PATH": str(tmp_path)}) is None
    with pytest.raises(chromium.NoChromium, match="CHROMIUM: /none"):
        chromium.find_chromium(None, {**environ, "CHROMIUM": "/none"})


def test_how_to_get_a_browser_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "brew install --cask chromium" in str(chromium.how_to_install())
    monkeypatch.setattr(sys, "platform", "linux")
    assert "apt-get install chromium" in str(chromium.how_to_install())


def test_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "--enable-unsafe-webgpu" in chromium.flags("hardware")
    assert "--no-sandbox" not in chromium.flags("hardware")
    assert chromium.SWIFTSHADER_FLAG not in chromium.flags("hardware")
    assert chromium.SWIFTSHADER_FLAG in chromium.flags("swiftshader")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--no-sandbox" in chromium.flags("hardware")


def test_progress_in_words() -> None:
    progress = {
        "phase": "weights",
        "doneBytes": 45_200_000,
        "totalBytes": 112_400_000,
        "bytesPerSecond": 30_100_000,
        "secondsLeft": 2.2,
        "pipelineFraction": 0.5,
    }
    assert ask.progress_text(progress) == (
        "weights, 45.2 MB of 112.4 MB, 30.1 MB/s, 2 s left, pipelines 50%"
    )
    nothing = {"totalBytes": 0, "bytesPerSecond": 0, "secondsLeft": None, "pipelineFraction": 0}
    assert ask.progress_text({"phase": "adapter", "doneBytes": 0, **nothing}) == "adapter"
