"""pytest tests/pyserver/test_completion.py: what a shell offers, and what the script for it is."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from transom_cli.main import VERBS, run
from transom_models.name import ModelName
from transom_server.store import Store


def offered(store: Store, words: str) -> list[str]:
    """What bash would show after these words."""
    program = "from transom_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "TRANSOM_MODELS": store.location,
            "_TRANSOM_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_verbs_and_names_are_offered(filled: Store) -> None:
    filled.copy_model(ModelName.parse("tiny"), ModelName.parse("me/tuned:v1"))
    assert offered(filled, "transom ver") == ["verify", "verify-model"]
    assert offered(filled, "transom verify ") == ["me/tuned:v1", "tiny"]
    assert offered(filled, "transom verify me/tuned:") == ["me/tuned:v1"]
    assert offered(filled, "transom verify tiny m") == ["me/tuned:v1"]
    assert offered(filled, "transom du t") == ["tiny"]
    assert offered(filled, "transom gc --dr") == ["--dry-run"]
    assert offered(filled, "transom completion f") == ["fish"]


def test_a_store_that_is_not_there_offers_nothing(store: Store) -> None:
    assert offered(store, "transom verify ") == []
    assert not store.root.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_TRANSOM_COMPLETE={shell}_complete" in script
    assert run(["completion", "csh"]) == 2


def test_bash_itself_completes_a_name_with_a_colon(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled.copy_model(ModelName.parse("tiny"), ModelName.parse("tiny:v1"))
    assert run(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    program = tmp_path / "transom"
    source = "from transom_cli.main import main; main()"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(source)}\n")
    program.chmod(0o755)
    asked = f"""
. {shlex.quote(str(script))}
case "$COMP_WORDBREAKS" in *:*) exit 3;; esac
COMP_WORDS=(transom verify tiny:) COMP_CWORD=2
_transom_completion {shlex.quote(str(program))}
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-i", "-c", asked],
        env={**os.environ, "TRANSOM_MODELS": filled.location},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["tiny:v1"]), done.stderr


def test_ls_is_no_verb_of_its_own() -> None:
    assert "ls" not in VERBS
