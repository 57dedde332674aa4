"""A request's body as JSON, within what a body may make of memory and time. Pure."""

import json
from typing import Any, Final, NoReturn

# Each is a value or more: an object of nothing takes three bytes on the wire and a hundred here. A
# million tokens of code or of numbers have fewer.
MAX_MARKS: Final = 2_000_000


def read_json(data: bytes) -> Any:
    """Raises `ValueError` with a text for people."""
    marks = data.count(b",") + data.count(b"[") + data.count(b"{")
    if marks > MAX_MARKS:
        raise ValueError(f"it has {marks} commas and brackets, over {MAX_MARKS}")
    try:
        body = json.loads(data, parse_constant=_refuse)
        if b"\\u" in data:
            # JSON can spell half a surrogate pair, which no UTF-8 can hold.
            json.dumps(body, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("it spells half a character, which no text can have") from None
    except ValueError as error:
        if str(error).startswith("Exceeds the limit"):
            raise ValueError("a number has thousands of digits") from None
        raise
    return body


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON value")
