"""The table of texts that the page's reader of Modelfiles is held to as well."""

import json
from pathlib import Path
from typing import Any

import pytest

from transom_models.modelfile import (
    PARAMETERS,
    Modelfile,
    ModelfileError,
    parse_modelfile,
    write_modelfile,
)

ROOT = Path(__file__).resolve().parents[2]
TABLE = json.loads((ROOT / "tests/models/modelfile_cases.json").read_text())


def said(modelfile: Modelfile) -> dict[str, Any]:
    """As the table has it: without what no line gives."""
    fields = {
        "base": modelfile.base,
        "adapters": list(modelfile.adapters),
        "draft": modelfile.draft,
        "template": modelfile.template,
        "system": modelfile.system,
        "parameters": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in modelfile.parameters.items()
        },
        "licenses": list(modelfile.licenses),
        "messages": [list(message) for message in modelfile.messages],
        "requires": modelfile.requires,
        "platforms": list(modelfile.platforms),
    }
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


@pytest.mark.parametrize("case", TABLE["texts"], ids=lambda case: repr(case["text"][:40]))
def test_a_text_is_read_as_the_table_says(case: dict[str, Any]) -> None:
    if "gives" in case:
        assert said(parse_modelfile(case["text"])) == case["gives"]
        return
    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(case["text"])
    assert caught.value.line == case["line"]
    assert case["says"] in str(caught.value)


@pytest.mark.parametrize("case", TABLE["spellings"], ids=lambda case: repr(case["value"]))
def test_a_value_is_spelled_as_the_table_says(case: dict[str, Any]) -> None:
    modelfile = Modelfile(base="m", system=case["value"])
    if case["written"] is None:
        with pytest.raises(ModelfileError, match="cannot spell"):
            write_modelfile(modelfile)
        return
    assert write_modelfile(modelfile) == f"FROM m\nSYSTEM {case['written']}\n"


def test_the_page_has_the_same_parameters() -> None:
    kinds = {int: "integer", float: "number", bool: "boolean", list: "texts"}
    assert TABLE["parameters"] == {
        name: {
            "kind": kinds[row.kind],
            "usual": row.default,
            **({"least": row.minimum, "most": row.maximum} if row.kind in (int, float) else {}),
        }
        for name, row in PARAMETERS.items()
    }
