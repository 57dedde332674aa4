"""Constraints in an engine's words."""

import pytest

from transom_api.chat import Constraint
from transom_api.constraints import grammar_of, schema_of
from transom_api.fields import InvalidField


def grammar(regex: str) -> str:
    found = grammar_of(Constraint("regex", text=regex))
    assert found is not None
    return found.removeprefix("root ::= ")


def test_json_is_held_by_a_schema() -> None:
    assert schema_of(Constraint("json_object")) == {"type": "object"}
    assert schema_of(Constraint("json_schema", {"type": "array"})) == {"type": "array"}
    assert schema_of(None) is None
    assert grammar_of(Constraint("json_object")) is None


def test_a_grammar_is_left_as_it_is() -> None:
    assert grammar_of(Constraint("grammar", text='root ::= "a"')) == 'root ::= "a"'
    assert schema_of(Constraint("grammar", text='root ::= "a"')) is None


def test_one_of_some_texts() -> None:
    choices = Constraint("choice", choices=("yes", 'a "b"\n\\é'))
    assert grammar_of(choices) == 'root ::= "yes" | "a \\"b\\"\\n\\\\é"'


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        ("ab", '"a" "b"'),
        ("^a$", '"a"'),
        ("a|b", '"a" | "b"'),
        ("(a|)+", '("a" | "")+'),
        ("(?:a)?(?P<n>b)*?", '("a")? ("b")*'),
        (r"\d{2,4}-\w+", '[0-9]{2,4} "-" [A-Za-z0-9_]+'),
        (r"[^a\]\-z\d]", r"[^a\]\x2Dz0-9]"),
        (r"[\w-]", r"[A-Za-z0-9_\x2D]"),
        ("[]a]", r"[\]a]"),
        ("[a-f^]", r"[a-f\x5E]"),
        (r"\D", "[^0-9]"),
        (r"\.\n\x41é", r'"." "\n" "A" "é"'),
        (".", r"[^\n]"),
        ("{", '"{"'),
        ("", '""'),
    ],
)
def test_a_regular_expression_becomes_a_grammar(regex: str, expected: str) -> None:
    assert grammar(regex) == expected


@pytest.mark.parametrize(
    "regex",
    [
        "(a", "a)", "[a", "*", "a**", "(?=a)", r"(a)\1", r"\b", "a{2000}", "a{3,2}", "a^b", "\\",
        r"[\D]", "(" * 100 + ")" * 100, "a" * 20_000,
    ],
)  # fmt: skip
def test_what_has_no_grammar_is_refused(regex: str) -> None:
    with pytest.raises(InvalidField, match="regular expression"):
        grammar(regex)
