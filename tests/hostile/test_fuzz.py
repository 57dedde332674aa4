"""20,000 headers that lie: each opens or is refused by a named error, in bounded time and memory.

The seeds are the numbers from 0 on, so every run opens the same files; one of them again:
`python -m tests.hostile.fuzz gguf 1234 1 FOLDER`. What was ever found stands as a lie of its own in
`test_gguf.py` or `test_safetensors.py`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BATCH = 2500
COUNTS = {"gguf": 10_000, "safetensors": 8_000, "index": 2_000}
BATCHES = [
    (form, first, min(BATCH, count - first))
    for form, count in COUNTS.items()
    for first in range(0, count, BATCH)
]
# A batch that dies of a full machine should say so before pytest does.
TIMEOUT_SECONDS = 300

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's way to bound memory"
)


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
    )


def test_there_are_twenty_thousand() -> None:
    assert sum(count for _, _, count in BATCHES) == 20_000


@pytest.mark.slow
@pytest.mark.parametrize(("form", "first", "count"), BATCHES)
def test_lies_are_refused_by_name(form: str, first: int, count: int, tmp_path: Path) -> None:
    done = run(["-m", "tests.hostile.fuzz", form, str(first), str(count), str(tmp_path)])
    assert done.returncode == 0, f"died on the file in {tmp_path}: {done.stderr[-2000:]}"
    *findings, last = done.stdout.splitlines()
    assert findings == []
    word, refused, opened, growth = last.split()
    assert word == "done"
    assert int(growth) <= 200 * 1024 * 1024
    # Both happen, so neither "refuse all" nor "take all" passes.
    assert int(refused) > count // 4
    assert int(opened) > count // 50


SABOTAGE = """
import sys
from pathlib import Path
from tests.hostile import fuzz
if sys.argv[1] == "hang":
    fuzz.SECONDS = 0.2
def crash(path): raise KeyError("oops")
def hang(path):
    while True: pass
def hoard(path): bytearray(300 * 1024 * 1024)
def mumble(path): raise fuzz.TransomError("something is wrong")
fuzz.FORMATS["bad"] = (lambda seed: b"", globals()[sys.argv[1]], "case")
fuzz.run_batch("bad", 0, 1, Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("reader", "verdict"),
    [
        ("crash", "KeyError"),
        ("hang", "took more than"),
        ("hoard", "MemoryError"),
        ("mumble", "does not name the file"),
    ],
)
def test_a_bad_reader_is_found(reader: str, verdict: str, tmp_path: Path) -> None:
    """The harness itself: each thing it looks for, it finds."""
    done = run(["-c", SABOTAGE, reader, str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("finding bad 0: ")
    assert verdict in done.stdout
