"""pytest tests/contract/api/test_mutated.py: bodies of the cases, each with something in it changed
by chance, are answered by the page's host as by the server: also where nobody thought of a case.
"""

import copy
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.api.asking import Request, read_cases, requested
from tests.contract.api.checking import check_same
from tests.contract.api.conftest import Ask

# Their engine fails on purpose, whatever it is asked.
FAILING = ("http-fails-", "http-breaks-", "http-broken-", "openai-held-engine-")
# A page knows less of a model that is not loaded.
BY_NATURE = ("/api/show",)
STEPS = [
    (case, case.steps[0])
    for case in read_cases()
    if case.only is None and not case.alone and case.steps[0].in_browser is None
    if isinstance(case.steps[0].body, dict) and case.steps[0].body
    if not case.name.startswith(FAILING) and case.steps[0].path not in BY_NATURE
]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 3.0, 10**20, "", "x", "fake/plain", "é\0🚂", [], [None], ["a"],
    {}, {"a": 1}, {"type": "text"}, {"type": "function", "name": "add"}, [{"role": "user"}],
)  # fmt: skip
CHANGES = 20
"""For each seed; a seed is a test."""


@pytest.mark.parametrize("seed", range(30))
def test_changed_bodies(seed: int, ask_server: Ask, ask_page: Ask) -> None:
    chance = random.Random(seed)
    for _ in range(CHANGES):
        case, step = chance.choice(STEPS)
        body = json.loads(requested(step, []).body or "{}")
        request = _request(step.method, step.path, dict(step.headers), changed(body, chance))
        server, page = ask_server(request), ask_page(request)
        # Whatever is wrong with a body is no fault of ours.
        assert server.status < 500, (request, server.text)
        if server.status == 404:
            # Each says in its own words which models there are.
            assert page.status == 404, (request, page.text)
            continue
        check_same(case, replace(step, expected={}), request, server, page)


def changed(body: Any, chance: random.Random) -> Any:
    """A copy with one value replaced, removed, or put in twice."""
    found = copy.deepcopy(body)
    places = list(_places(found))
    holder, key = chance.choice(places)
    what = chance.randrange(6)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    elif what == 2 and isinstance(holder, dict):
        holder[chance.choice(list(body))] = copy.deepcopy(holder[key])
    else:
        holder[key] = copy.deepcopy(chance.choice(ODD))
    return found


def _places(value: Any) -> Any:
    """Every holder of a value in it, and where it holds it."""
    rows = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(rows):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def _request(method: str, path: str, headers: dict[str, str], body: Any) -> Request:
    return Request(method, path, headers, json.dumps(body))
