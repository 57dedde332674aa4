"""What the scripts of clients share: what they are told, what they ask for, and how they report.

Runs in each client's own environment, so it knows the standard library and pydantic, which all of
them bring. A script reports what it saw; tests/api/test_clients.py judges it.
"""

import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

ADDRESS = sys.argv[1]
PICTURES = sorted(Path(sys.argv[2]).glob("*.png"))
# More than any answer takes here, and less than the one that is cancelled would.
SECONDS = 60.0

QUESTION = "Name the seven colours of the rainbow in one line."
TOWN_QUESTION = "Which town, and what is its sky like? Answer in JSON."
WEATHER_QUESTION = "What is the weather in Oulu?"
WEATHER_ANSWER = "It is sunny in Oulu, 21 degrees."
WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city."}},
    "required": ["city"],
    "additionalProperties": False,
}
SENTENCES = ["A cat sat on the mat.", "A kitten rests on a rug.", "Shares fell sharply on Monday."]
COUNT = "1, 2, 3, 4, 5, 6, 7, 8, 9,"

_connections: list[str] = []


class Sky(BaseModel):
    """A model within the model, so that the schema has a reference in it."""

    colour: Literal["blue", "grey"]
    is_clear: bool


class Town(BaseModel):
    """A town and its sky."""

    name: Literal["Oulu", "Rome"]
    sky: Sky


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        is_here = not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1")
    elif event == "socket.getaddrinfo":
        is_here = arguments[0] in ("127.0.0.1", "::1", "localhost", None)
        address = arguments[0]
    else:
        return
    if not is_here:
        # Kept as well: some clients pass over it when a call home fails.
        _connections.append(str(address))
        raise OSError(f"this script stays on this machine: {address}")


sys.addaudithook(_stay_here)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Of two vectors that are not zero."""
    dot = sum(x * y for x, y in zip(one, other, strict=True))
    return float(dot / (sum(x * x for x in one) * sum(y * y for y in other)) ** 0.5)


def vectors_seen(vectors: Sequence[Sequence[float]]) -> dict[str, float]:
    """How near the vectors of SENTENCES are to each other."""
    first, near, far = vectors
    return {"size": len(first), "near": cosine(first, near), "far": cosine(first, far)}


def refused(ask: Callable[[], object]) -> str:
    """The class and the words of the error that `ask` ends with."""
    try:
        answer = ask()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"this should have been refused: {answer}")


def report(*packages: str, **findings: object) -> None:
    """Print the findings, with the versions that were found."""
    assert _connections == [], f"this client called home: {_connections}"
    print(json.dumps({"versions": {name: version(name) for name in packages}, **findings}))
