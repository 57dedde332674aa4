"""The command line: one error line and exit code 2, a report for people or machines."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.processes import children
from transom_compile.bundle import Bundle
from transom_compile.cli import House, compile_command, run_compile
from transom_compile.pipeline import CompileOptions
from transom_compile.progress import Progress
from transom_models.errors import TransomError

NO_LIBRARIES = CompileOptions(runtime_dir=Path("none"), variants=())


def test_a_user_error_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.gguf"
    path.write_text("<!DOCTYPE html>")
    assert run_compile(path, NO_LIBRARIES, out=tmp_path / "out") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {path} is not a GGUF file (starts with b'<!DO')\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_or_forbidden_disk_is_one_line_too(
    tiny_llama_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run_compile(tiny_llama_path, NO_LIBRARIES, out=tmp_path / "file" / "out") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_json_report(
    tiny_llama_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run_compile(tiny_llama_path, NO_LIBRARIES, out=out, as_json=True) == 0
    *events, report = map(json.loads, capsys.readouterr().out.splitlines())
    assert report["event"] == "report"
    assert {line["event"] for line in events} >= {"phase", "progress"}
    assert report["folder"] == str(out)
    assert report["index"].startswith("sha256:")
    assert list(report["manifests"]) == ["native/gguf"]
    assert report["phases"][0]["name"] == "read"


def test_report_for_people(
    tiny_llama_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_compile(tiny_llama_path, NO_LIBRARIES, out=tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"bundle in {tmp_path / 'out'}\nindex sha256:")
    assert "repack" in captured.err


def test_a_name_hands_the_bundle_to_the_store_and_keeps_no_folder(
    tiny_llama_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kept = []

    def keep(bundle: Bundle, name: str, progress: Progress) -> None:
        assert all(path.is_file() for path in bundle.files.values())
        kept.append((name, bundle.folder))

    assert run_compile(tiny_llama_path, NO_LIBRARIES, name="tiny", keep=keep) == 0
    ((name, folder),) = kept
    assert name == "tiny"
    assert not folder.exists()


def test_a_store_that_refuses_is_a_user_error(
    tiny_llama_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def keep(bundle: Bundle, name: str, progress: Progress) -> None:
        raise TransomError(f"{name} is not a model name")

    assert run_compile(tiny_llama_path, NO_LIBRARIES, name="a b", keep=keep) == 2
    assert capsys.readouterr().err == "error: a b is not a model name\n"


def test_a_name_without_a_store_is_refused(tiny_llama_path: Path) -> None:
    assert run_compile(tiny_llama_path, NO_LIBRARIES, name="tiny") == 2


def test_the_command_s_options(tiny_llama_path: Path, tmp_path: Path) -> None:
    command = compile_command(House(find_runtime=lambda: tmp_path))
    result = CliRunner().invoke(
        command, [str(tiny_llama_path), "--out", str(tmp_path / "out"), "--variant", "f8"]
    )
    assert result.exit_code == 2
    assert "error: there is no variant 'f8'" in result.stderr
    assert "--prefill-chunk" in CliRunner().invoke(command, ["--help"]).stdout


# Waits in the middle of the walk. With a folder it writes there, else into "the store".
HALF_A_WALK = """
import sys, time
from pathlib import Path
from transom_compile import pipeline
from transom_compile.cli import run_compile
pipeline._write_texts = lambda *arguments: (print("here", flush=True), time.sleep(60))
options = pipeline.CompileOptions(Path("none"), variants=())
out = Path(sys.argv[2]) if len(sys.argv) > 2 else None
name = None if out is not None else "tiny"
sys.exit(run_compile(Path(sys.argv[1]), options, out=out, name=name, keep=lambda *arguments: None))
"""


def half_a_walk(temporary: Path, *arguments: Path) -> subprocess.Popen[str]:
    """A real process, in the middle of the walk."""
    child = subprocess.Popen(
        [sys.executable, "-c", HALF_A_WALK, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    return child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_compile_leaves_nothing_behind(
    tiny_llama_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    child = half_a_walk(tmp_path, tiny_llama_path, tmp_path / "out")
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert errors == "error: interrupted; nothing was kept\n"
    assert list(tmp_path.iterdir()) == [tiny_llama_path]


def test_what_a_killed_compile_left_goes_with_the_next_one(
    tiny_llama_path: Path, tmp_path: Path
) -> None:
    """One to a folder and one to the store's; those that live keep theirs."""
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    temporary.mkdir()
    home.mkdir()
    # Alike, but nobody's work.
    (home / ".out.lock").touch()
    (home / ".out.0123456789abcdef").mkdir()
    bystanders = set(home.iterdir())
    for arguments in ((tiny_llama_path, home / "out"), (tiny_llama_path,)):
        child = half_a_walk(temporary, *arguments)
        child.kill()
        child.communicate(timeout=30)
    left = {*home.iterdir(), *temporary.iterdir()} - bystanders
    assert len(left) == 4
    with half_a_walk(temporary, tiny_llama_path, home / "out") as one:
        with half_a_walk(temporary, tiny_llama_path) as other:
            living = {*home.iterdir(), *temporary.iterdir()} - bystanders
            assert len(living) == 4
            assert living.isdisjoint(left)
            assert run_compile(tiny_llama_path, NO_LIBRARIES, out=home / "out") == 0
            assert living < {*home.iterdir(), *temporary.iterdir()}
            other.terminate()
        one.terminate()
    assert list(temporary.iterdir()) == []
    assert set(home.iterdir()) == {*bystanders, home / "out"}


def test_a_killed_compile_ends_its_compilers(tiny_llama_path: Path, tmp_path: Path) -> None:
    """A compiler that hangs: it goes with whoever started it."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    (runtime / "runtime.json").touch()
    program = (
        "import sys; from pathlib import Path;"
        "from transom_compile import library_builds, pipeline;"
        "from tests.fakes.fake_compiler import FAKE_COMPILER;"
        "from transom_compile.cli import run_compile;"
        "library_builds.COMPILER = FAKE_COMPILER;"
        "options = pipeline.CompileOptions(Path(sys.argv[3]), variants=('f16',));"
        "source, out = Path(sys.argv[1]), Path(sys.argv[2]);"
        "sys.exit(run_compile(source, options, out=out, as_json=True))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tiny_llama_path), str(tmp_path / "out"), str(runtime)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TRANSOM_CACHE": str(tmp_path / "cache"),
            "FAKE_COMPILER": "hang",
        },
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "library-f16.wasm: graph" in line:
            break
    compilers = children(child.pid)
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert errors == "error: interrupted; nothing was kept\n"
    assert json.loads(output.splitlines()[-1])["event"] == "error"
    assert [pid for pid in compilers if Path(f"/proc/{pid}").exists()] == []
    assert set(tmp_path.iterdir()) == {tiny_llama_path, runtime}
