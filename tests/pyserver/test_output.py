"""pytest tests/pyserver/test_output.py: words, tables, and what long work says to whom."""

import json
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

import click
import pytest

from transom_cli import output
from transom_cli.main import run
from transom_models.digest import Digest
from transom_models.errors import TransomError


@dataclass(frozen=True)
class Told:
    """A `Status` as transfers tell it."""

    text: str
    digest: Digest | None = None
    total: int | None = None
    completed: int | None = None


A, B = Digest.of(b"a"), Digest.of(b"b")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert output.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (86400 * 8, "1 week ago")],
)
def test_ages(age: float, text: str) -> None:
    assert output.age_text(1000.0, 1000.0 + age) == text


def test_a_table_ends_numbers_at_one_edge_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.print_table(("NAME", "SIZE"), [("a", "1.0 kB"), ("\x1b[2Jb", "10.0 kB")], right=["SIZE"])
    assert capsys.readouterr().out == "NAME      SIZE\na       1.0 kB\n\ufffd[2Jb  10.0 kB\n"


def test_without_a_terminal_each_phase_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with output.long_work() as work:
        work.report(Told("pulling manifest"))
        for done in range(0, 3000, 500):
            work.report(Told("pulling a", A, 2500, done))
            work.report(Told("pulling b", B, 10, 0))
        work.report(Told("success"))
        work.end({"name": "x"})
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "pulling manifest\npulling a (2.5 kB)\npulling b (10 B)\nsuccess\n"


def test_event_lines_tell_rate_and_time_left_of_each_blob() -> None:
    lines: list[dict[str, Any]] = []
    now = 100.0
    events = output._EventLines(lambda line: lines.append(json.loads(line)), lambda: now)
    events.report(Told("pulling a", A, 1000, 600))
    events.report(Told("pulling b", B, 10, 0))
    now += 2
    events.report(Told("pulling a", A, 1000, 800))
    events.report(Told("pulling b", B, 10, 10))
    assert lines == [
        {"event": "phase", "phase": "pulling a", "digest": str(A), "total_bytes": 1000},
        {"event": "phase", "phase": "pulling b", "digest": str(B), "total_bytes": 10},
        {
            "event": "progress",
            "phase": "pulling a",
            "digest": str(A),
            "done_bytes": 800,
            "total_bytes": 1000,
            # What was there before is no speed of this transfer's.
            "bytes_per_second": 100,
            "seconds_left": 2.0,
        },
        {
            "event": "progress",
            "phase": "pulling b",
            "digest": str(B),
            "done_bytes": 10,
            "total_bytes": 10,
            "bytes_per_second": 5,
            "seconds_left": 0.0,
        },
    ]


def test_event_lines_are_few_but_the_end_is_told() -> None:
    lines: list[dict[str, Any]] = []
    events = output._EventLines(lambda line: lines.append(json.loads(line)), lambda: 1.0)
    for done in range(101):
        events.report(Told("verifying", A, 100, done))
    assert [line.get("done_bytes") for line in lines] == [None, 100]


def test_on_a_terminal_there_are_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with output.long_work() as work:
        work.report(Told("pulling manifest"))
        work.report(Told("pulling [a]", A, 4_000_000, 1_000_000))
        work.report(Told("pulling [a]", A, 4_000_000, 4_000_000))
    err = capsys.readouterr().err
    assert "pulling manifest" in err
    assert "pulling [a]" in err, "a name is no markup"
    assert "4.0/4.0" in err


def test_of_many_finished_blobs_the_last_ones_are_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for name, value in {"TERM": "xterm", "FORCE_COLOR": "1", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    with output.long_work() as work:
        for number in range(300):
            digest = Digest.of(b"%d" % number)
            work.report(Told(f"pulling {number:03}", digest, 10, 0))
            for _ in range(2):
                work.report(Told(f"pulling {number:03}", digest, 10, 10))
    last = capsys.readouterr().err.rpartition("pulling 296")[2]
    assert [f"pulling {number}" in last for number in (295, 297, 298, 299)] == [
        False,
        True,
        True,
        True,
    ]


@click.command()
@output.json_option(output.LINES)
@click.option("--how", default="")
def verb(as_json: bool, how: str) -> None:
    """A verb that ends in every way."""
    with output.long_work(as_json) as work:
        work.report(Told("working"))
        if how == "error":
            raise TransomError("two\nlines \x1b[31m")
        if how in ("ctrl-c", "thread"):
            os.kill(os.getpid(), signal.SIGINT if how == "ctrl-c" else signal.SIGTERM)
            threading.Event().wait(10)
        work.end({"name": "x"})


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transom_cli.main.load_verb", lambda name: verb)


@pytest.mark.usefixtures("cli")
def test_the_last_line_says_how_it_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"event": "report", "name": "x"}
    assert run(["list", "--json", "--how", "error"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out.splitlines()[-1]) == {
        "event": "error",
        "message": "two lines \ufffd[31m",
    }
    assert printed.err == "error: two lines \ufffd[31m\n"


@pytest.mark.usefixtures("cli")
@pytest.mark.parametrize("how", ["ctrl-c", "thread"])
def test_ctrl_c_and_a_polite_kill_are_130(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run(["list", "--how", how]) == 130
    assert capsys.readouterr().err.split("\n") == ["working", "", "error: interrupted", ""]
    assert run(["list", "--json", "--how", how]) == 130
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["message"] == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_of_a_cancelled_thread_is_an_interrupt() -> None:
    def work_there() -> None:
        with output.long_work() as work:
            work.cancelled.set()
            raise TransomError("cancelled")

    with pytest.raises(KeyboardInterrupt):
        work_there()


def test_other_threads_may_work_too(capsys: pytest.CaptureFixture[str]) -> None:
    def work_there() -> None:
        with output.long_work() as work:
            work.report(Told("there"))

    thread = threading.Thread(target=work_there)
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "there\n"
