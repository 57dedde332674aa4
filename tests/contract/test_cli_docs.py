"""`docs/cli.md` has every verb and no other, and each verb's help and `--json` are as it says."""

import re
from pathlib import Path

import pytest

from transom_cli.main import VERBS, load_verb, run

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
ROWS = {
    verb: (what, shape)
    for verb, what, shape in re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", TEXT, re.M)
}


def test_every_verb_is_documented_in_the_order_of_the_help() -> None:
    assert list(ROWS) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_and_json_are_what_the_document_says(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: transom {verb} ")
    has_json = any("--json" in parameter.opts for parameter in load_verb(verb).params)
    assert has_json == (not ROWS[verb][1].startswith("none")), ROWS[verb]
    if has_json:
        assert ROWS[verb][1].startswith(("document", "lines"))
