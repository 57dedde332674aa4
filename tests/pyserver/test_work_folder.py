"""pytest tests/pyserver/test_work_folder.py: work in progress goes with whoever did it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from transom_server.store.scratch import sweep_scratch
from transom_server.store.work import WORK, remove_dead_work, work_folder

WORKER = """
import sys, time
from pathlib import Path
from transom_server.store.work import work_folder
with work_folder(Path(sys.argv[1])) as folder:
    (folder / "model.gguf").write_bytes(b"x" * 1000)
    print("ready", flush=True)
    time.sleep(60)
"""


def kept(scratch: Path) -> list[str]:
    return sorted(path.name for path in (scratch / WORK).iterdir())


def test_it_is_gone_at_the_end(tmp_path: Path) -> None:
    with work_folder(tmp_path) as first, work_folder(tmp_path) as second:
        assert first != second
        (first / "a").write_bytes(b"x")
        assert remove_dead_work(tmp_path) == 0
        assert (first / "a").is_file()
    assert kept(tmp_path) == []
    with pytest.raises(ZeroDivisionError), work_folder(tmp_path):
        raise ZeroDivisionError
    assert kept(tmp_path) == []


def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        # While it lives nobody touches its work.
        assert sweep_scratch(tmp_path, 0, dry_run=False) == 0
        assert len(kept(tmp_path)) == 2
        worker.send_signal(signal.SIGKILL)
    assert len(kept(tmp_path)) == 2
    assert sweep_scratch(tmp_path, 3600, dry_run=True) == 1
    assert len(kept(tmp_path)) == 2
    with work_folder(tmp_path):
        assert len(kept(tmp_path)) == 2  # its own
    assert kept(tmp_path) == []


def test_a_collection_removes_it_too(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WORKER, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        worker.kill()
    assert sweep_scratch(tmp_path, 3600, dry_run=False) == 1
    assert kept(tmp_path) == []
