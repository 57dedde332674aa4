"""The cases: requests as data, what the scripted engine says to each, what has to come back.

`README.md` has the words of the files. Knows no server and no browser.
"""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.contract.api.answers import Answer, at

HERE: Final = Path(__file__).parent
JSON_TYPE: Final = {"Content-Type": "application/json"}
# What a file says once for its cases, and what a case says itself.
_WORDS: Final = frozenset(
    "name like ask path headers body without raw says steps only why alone browser".split()
)
CHECKS: Final = frozenset(
    "status refuses is missing text thought calls finish told kinds type head".split()
)
ENDLESS: Final = "endless"
_QUESTION: Final = [{"role": "user", "content": f"@{ENDLESS}"}]
# `{0.id}`: out of the answer to step 0; `{fill:99}`: so many letters.
_REFERENCE: Final = re.compile(r"\{(\d+)\.([^{}]+)\}")
_FILL: Final = re.compile(r"\{fill:(\d+)\}")


@dataclass(frozen=True, slots=True)
class Step:
    """One request; `body` is JSON, `raw` a text instead; `expected` are the checks by their
    words."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    raw: str | None
    says: Any
    expected: Mapping[str, Any]
    in_browser: Mapping[str, Any] | None
    """Checks instead of equality, where a browser has to differ."""


@dataclass(frozen=True, slots=True)
class Case:
    """One or several requests. `only`: the one place that can be asked. `alone`: beside no other
    one, as it looks at what is loaded."""

    name: str
    steps: tuple[Step, ...]
    only: str | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """As it goes over the wire."""

    method: str
    path: str
    headers: Mapping[str, str] = field(hash=False)
    body: str | None


@cache
def read_models() -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((HERE / "models.json").read_text())
    return found


@cache
def read_cases() -> tuple[Case, ...]:
    """All, in the order of files and lines. A word that nobody knows is an error, as is a name
    that is there twice."""
    found = []
    for file in sorted((HERE / "cases").glob("*.json")):
        written = json.loads(file.read_text())
        assert written.keys() <= {"about", "requests", "cases"}, file
        for row in written["cases"]:
            found.append(_case(row, written.get("requests", {}), file.stem))
    names = [case.name for case in found]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}
    return tuple(found)


def scripts() -> dict[str, Any]:
    """What the engine says, by the names that prompts have."""
    return {
        ENDLESS: {"tokens": "Hello, you there!", "waits": True},
        **_said(),
    }


def endless(*, stream: bool) -> list[Request]:
    """One of each kind, of an answer that says something and never ends."""
    return [
        Request(
            method, path, JSON_TYPE, json.dumps({"model": "fake/plain", "stream": stream, **rest})
        )
        for method, path, rest in (
            ("POST", "/v1/chat/completions", {"messages": _QUESTION}),
            ("POST", "/v1/completions", {"prompt": f"@{ENDLESS}"}),
            ("POST", "/v1/messages", {"messages": _QUESTION, "max_tokens": 99}),
            ("POST", "/v1/responses", {"input": f"@{ENDLESS}"}),
            ("POST", "/api/chat", {"messages": _QUESTION}),
            ("POST", "/api/generate", {"prompt": f"@{ENDLESS}"}),
        )
    ]


def _said() -> dict[str, Any]:
    return {
        _script_name(case.name, number): step.says
        for case in read_cases()
        for number, step in enumerate(case.steps)
        if step.says is not None
    }


def requested(step: Step, before: Sequence[Answer]) -> Request:
    """The request of a step, with what it takes out of the answers before it."""

    def filled(text: str) -> str:
        text = _REFERENCE.sub(lambda match: str(at(before[int(match[1])].value, match[2])), text)
        return _FILL.sub(lambda match: "x" * int(match[1]), text)

    body = None if step.raw is None else filled(step.raw)
    if step.body is not None:
        body = json.dumps(_mapped(step.body, filled), ensure_ascii=False)
    return Request(step.method, filled(step.path), step.headers, body)


def run(case: Case, ask: Callable[[Request], Answer]) -> list[Answer]:
    """The answers to its steps, one after the other."""
    for request in unloading() if case.alone else ():
        ask(request)
    found: list[Answer] = []
    for step in case.steps:
        found.append(ask(requested(step, found)))
    return found


def unloading() -> list[Request]:
    """What makes a place let go of all models."""
    bodies = [json.dumps({"model": name, "keep_alive": 0}) for name in read_models()]
    return [Request("POST", "/api/chat", JSON_TYPE, body) for body in bodies]


def _case(row: Mapping[str, Any], likes: Mapping[str, Any], subject: str) -> Case:
    name = f"{subject}-{row['name']}"
    rows = row.get("steps") or [row]
    unknown = {word for each in (row, *rows) for word in each} - _WORDS - CHECKS
    assert not unknown, f"{name}: {unknown}"
    assert ("only" in row) == ("why" in row), name
    steps = tuple(
        _step(each, likes, _script_name(name, number)) for number, each in enumerate(rows)
    )
    return Case(name, steps, row.get("only"), row.get("alone", False))


def _step(row: Mapping[str, Any], likes: Mapping[str, Any], script: str) -> Step:
    like = likes[row["like"]] if "like" in row else row["ask"]
    method, path, body, headers = (*like, None, None)[:4]
    body = copy.deepcopy(body)
    if "body" in row:
        is_more = isinstance(body, dict) and isinstance(row["body"], dict)
        body = {**body, **row["body"]} if is_more else row["body"]
    for field_name in row.get("without", ()):
        del body[field_name]
    body = _mapped(body, lambda text: text.replace("@@", f"@{script}"))
    raw = row.get("raw")
    is_named = f"@{script}" in json.dumps(body)
    assert row.get("says") is None or is_named, f"{script}: its request has no @@"
    return Step(
        method,
        row.get("path", path),
        {**(JSON_TYPE if method == "POST" else {}), **(headers or {}), **row.get("headers", {})},
        None if raw is not None else body,
        raw,
        row.get("says"),
        {word: row[word] for word in row if word in CHECKS},
        row.get("browser"),
    )


def _script_name(name: str, number: int) -> str:
    return name if number == 0 else f"{name}/{number}"


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of it whose texts are changed; names stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return {k: _mapped(v, change) for k, v in value.items()} if isinstance(value, dict) else value
