"""What a JSON schema and a grammar may have, before an engine works on them. Pure.

An engine compiles them between two tokens of everybody's answers, so what takes seconds is refused.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from transom_api.fields import InvalidField

# The largest schemas of published tools have hundreds; a list of all countries has 250.
MAX_SCHEMA_VALUES: Final = 10_000
# What an engine can hold; larger whole numbers are not compared with anything.
MAX_NUMBER: Final = 2**63 - 1
# Published grammars, of whole programming languages, are below 20 KiB.
MAX_GRAMMAR_BYTES: Final = 64 * 1024
# Each alternative may be a path to follow for every token of the vocabulary, as those of a choice.
MAX_ALTERNATIVES: Final = 1024


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises `InvalidField`. Not by calling itself: a body may be nested as deep as Python goes."""
    left: list[object] = [schema]
    seen = 0
    while left:
        value = left.pop()
        seen += 1
        if seen > MAX_SCHEMA_VALUES:
            raise InvalidField(None, f"the JSON schema has more than {MAX_SCHEMA_VALUES} values")
        if isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, float) and not math.isfinite(value):
            raise InvalidField(None, "the JSON schema has a number that is not finite")
        elif isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise InvalidField(None, "the JSON schema has a number of more than 64 bits")


def check_grammar(text: str) -> None:
    """llama.cpp's GBNF, as a request brings it. Raises `InvalidField`."""
    if len(text.encode()) > MAX_GRAMMAR_BYTES:
        raise InvalidField(None, f"the grammar has more than {MAX_GRAMMAR_BYTES} bytes")
    if text.count("|") > MAX_ALTERNATIVES:
        raise InvalidField(None, f"the grammar has more than {MAX_ALTERNATIVES} alternatives")
