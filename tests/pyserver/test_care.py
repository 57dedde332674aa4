"""pytest tests/pyserver/test_care.py: verify, gc and du, as a person and a program read them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pyserver.bundles import TinyBundle, write_bundle
from tests.pyserver.registry import running_registry
from transom_cli.gc import Span
from transom_cli.main import run
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import Store

RunCli = Callable[..., tuple[int, str, str]]
TINY = ModelName.parse("tiny")
SHARD = "params_shard_0.bin"


@pytest.fixture
def cli(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCli:
    def run_cli(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    monkeypatch.setenv("TRANSOM_MODELS", str(filled.root))
    return run_cli


@pytest.fixture
def tuned(filled: Store, tmp_path: Path) -> TinyBundle:
    """A second model that shares all but its weights with the first."""
    other = write_bundle(tmp_path / "tuned", seed=b"tuned")
    import_bundle(filled, other.folder, ModelName.parse("me/tuned:v1"), other.files)
    return other


def damage(store: Store, digest: Digest) -> None:
    path = store.blob_path(digest)
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))


def on_disk(store: Store) -> int:
    return sum(path.stat().st_size for path in (store.root / "blobs" / "sha256").iterdir())


# verify


def test_a_sound_store(cli: RunCli, filled: Store) -> None:
    code, out, err = cli("verify")
    blobs = len(list((filled.root / "blobs" / "sha256").iterdir()))
    assert code == 0
    assert out.startswith(f"1 model, {blobs} blobs, ")
    assert out.endswith(": all as promised\n")
    assert err.startswith("hashing (")
    *events, report = map(json.loads, cli("verify", "tiny", "--json")[1].splitlines())
    assert {event["event"] for event in events} == {"phase", "progress"}
    assert report.pop("bytes") == on_disk(filled)
    ended = {"event": "report", "models": 1, "blobs": blobs, "problems": [], "removed": []}
    assert report == ended


@pytest.mark.usefixtures("tuned")
def test_a_bad_blob_is_named_with_every_model_that_needs_it(
    cli: RunCli, filled: Store, bundle: TinyBundle
) -> None:
    shared = Digest.of(bundle.contents["tokenizer.json"])
    own = Digest.of(bundle.contents[SHARD])
    damage(filled, shared)
    filled.blob_path(own).unlink()
    code, out, _ = cli("verify")
    assert code == 1
    lines = out.splitlines()
    bad = {line.split()[2]: line for line in lines if line.startswith("bad: ")}
    assert set(bad) == {str(shared), str(own)}
    assert bad[str(own)] == f"bad: blob {own} is missing (needed by tiny)"
    assert "(needed by " in bad[str(shared)]
    needed = bad[str(shared)].partition("(needed by ")[2].removesuffix(")").split(", ")
    assert sorted(needed) == ["me/tuned:v1", "tiny"]
    assert "`transom pull tiny`" in out
    assert lines[-1].endswith(": 2 problems")
    report = json.loads(cli("verify", "--json")[1].splitlines()[-1])
    problems = {problem["subject"]: problem for problem in report["problems"]}
    assert problems[f"blob {own}"]["models"] == ["tiny"]
    assert problems[f"blob {own}"]["reason"] == "is missing"
    assert sorted(problems[f"blob {shared}"]["models"]) == ["me/tuned:v1", "tiny"]


@pytest.mark.usefixtures("tuned")
def test_one_model_alone(cli: RunCli, filled: Store, bundle: TinyBundle) -> None:
    damage(filled, Digest.of(bundle.contents[SHARD]))
    assert cli("verify", "me/tuned:v1")[0] == 0
    assert cli("verify", "tiny")[0] == 1
    assert cli("verify", "me/tuned:v1", "tiny")[0] == 1
    assert cli("verify", "none")[0] == 2


def test_a_bad_blob_that_nobody_needs_has_a_way_out(cli: RunCli, filled: Store) -> None:
    damage(filled, filled.put_bytes(b"nobody's"))
    code, out, _ = cli("verify")
    assert code == 1
    assert "no model needs it; `transom gc --grace 0` removes it" in out
    assert cli("gc", "--grace", "0")[0] == 0
    assert cli("verify")[0] == 0


def test_a_mended_model_is_sound(cli: RunCli, filled: Store, bundle: TinyBundle) -> None:
    damage(filled, Digest.of(bundle.contents[SHARD]))
    assert cli("verify")[0] == 1
    import_bundle(filled, bundle.folder, TINY, bundle.files)
    assert cli("verify")[0] == 0


def test_repair_removes_what_is_damaged_and_nothing_else(
    cli: RunCli, filled: Store, bundle: TinyBundle
) -> None:
    before = {path.name for path in (filled.root / "blobs" / "sha256").iterdir()}
    shard = Digest.of(bundle.contents[SHARD])
    damage(filled, shard)
    assert "`transom verify --repair`, then `transom pull tiny`" in cli("verify")[1]
    code, out, _ = cli("verify", "--repair")
    assert code == 1
    assert out.endswith("removed 1 damaged blob\n")
    assert {path.name for path in (filled.root / "blobs" / "sha256").iterdir()} == before - {
        shard.hex
    }
    (problem,) = json.loads(cli("verify", "--repair", "--json")[1].splitlines()[-1])["problems"]
    assert problem["reason"] == "is missing"
    assert "--repair" not in problem["way_out"]


def test_repair_then_pull_mends_a_model(
    cli: RunCli, filled: Store, bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out that verify tells is one."""
    there = tmp_path / "there"
    import_bundle(Store(there), bundle.folder, TINY, bundle.files)
    damage(filled, Digest.of(bundle.contents[SHARD]))
    with running_registry(there) as registry:
        monkeypatch.setenv("TRANSOM_REGISTRY", registry.host)
        assert cli("pull", "tiny")[0] == 0
        assert cli("verify", "--repair")[0] == 1, "a pull does not read what is there"
        assert cli("pull", "tiny")[0] == 0
        assert cli("verify")[0] == 0


def test_ctrl_c_ends_a_long_verify_at_once(filled: Store) -> None:
    huge = filled.root / "blobs" / "sha256" / Digest.of(b"").hex
    with huge.open("wb") as file:
        # No disk holds this; reading its zeros takes hours.
        file.truncate(2**42)
    process = subprocess.Popen(
        [sys.executable, "-c", "from transom_cli.main import main; main()", "verify"],
        env={**os.environ, "TRANSOM_MODELS": str(filled.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("hashing (4.4 TB)")
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        print(f"ended after {time.monotonic() - started:.2f} s")
    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "error: interrupted"


# gc


def test_garbage_goes_when_its_grace_is_over(cli: RunCli, filled: Store) -> None:
    old, young = filled.put_bytes(b"old"), filled.put_bytes(b"young")
    past = time.time() - 3600 * 25
    os.utime(filled.blob_path(old), (past, past))
    assert cli("gc", "--dry-run")[1].startswith("would remove 1 blob, 3 B\n")
    assert filled.has_blob(old)
    code, out, err = cli("gc")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "removed 1 blob, 3 B",
        "left 1 blob, 5 B that no model needs, but which came only now (--grace 0 takes them too)",
    ]
    assert (filled.has_blob(old), filled.has_blob(young)) == (False, True)
    assert json.loads(cli("gc", "--grace", "0", "--json")[1]) == {
        "dry_run": False,
        "removed": {"blobs": 1, "bytes": 5},
        "young": {"blobs": 0, "bytes": 0},
        "unfinished": 0,
    }
    assert filled.verify().sound
    assert cli("gc")[1] == "removed 0 blobs, 0 B\n"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30s", 30), ("15m", 900), ("1h", 3600), ("2d", 172_800)]
)
def test_spans(text: str, seconds: float) -> None:
    assert Span().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1w", "1.5h", "h", "9" * 10, "\u0663h", "1h\n"])
def test_spans_that_are_none(cli: RunCli, text: str) -> None:
    code, _, err = cli("gc", f"--grace={text}")
    assert code == 2
    assert "is not a time as 30s, 15m, 1h or 2d" in err


# du


def test_shared_bytes_are_stored_once(cli: RunCli, filled: Store, tuned: TinyBundle) -> None:
    filled.copy_model(TINY, ModelName.parse("again"))
    usage = json.loads(cli("du", "--json")[1])
    rows = {row["name"]: row for row in usage["models"]}
    assert usage["stored_bytes"] == on_disk(filled)
    assert usage["unused_bytes"] == 0
    assert rows["tiny"]["own_bytes"] == 0, "`again` has all of it, too"
    assert rows["again"]["total_bytes"] == rows["tiny"]["total_bytes"]
    for row in rows.values():
        assert row["total_bytes"] == row["shared_bytes"] + row["own_bytes"]
    freed = rows["me/tuned:v1"]["own_bytes"]
    assert freed >= len(tuned.contents[SHARD])
    assert usage["total_bytes"] > usage["stored_bytes"]
    before = on_disk(filled)
    filled.remove_model(ModelName.parse("me/tuned:v1"))
    assert before - on_disk(filled) == freed, "what `rm` frees is what du says"


@pytest.mark.usefixtures("tuned")
def test_du_for_people(cli: RunCli, filled: Store) -> None:
    filled.put_bytes(b"nobody's")
    code, out, err = cli("du", "tiny")
    assert (code, err) == (0, "")
    header, row, everything, unused = out.splitlines()
    assert header.split() == ["NAME", "TOTAL", "SHARED", "OWN"]
    assert row.split()[0] == "tiny"
    assert everything.startswith("all models: ")
    assert unused == "no model needs 8 B more; `transom gc` removes it"
    assert len(cli("du")[1].splitlines()) == 5
    assert cli("du", "none") == (
        2,
        "",
        "error: no model none in the store; `transom list` shows what is\n",
    )


def test_du_of_a_model_that_cannot_be_read(cli: RunCli, filled: Store) -> None:
    filled.blob_path(filled.get_index(TINY).index.manifests[0].digest).unlink()
    code, out, err = cli("du", "tiny")
    assert code == 0
    assert err.startswith("model tiny is left out: no blob sha256:")
    assert out.startswith("all models: ")
