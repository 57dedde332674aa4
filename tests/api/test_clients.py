"""pytest tests/api/test_clients.py: real clients, each in an environment of its own.

A script of tests/api/clients or tests/api/npm uses its client as its own documents say, and
prints what it saw; here that is judged. Answers are greedy, so all clients have to see the same.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.api.client_table import CLIENTS, Client, pin
from tests.api.judging import (
    Expected,
    check_refusal,
    check_seen,
    check_tools,
    check_town,
    check_vectors,
    judge,
)
from tests.api.runner import Environment, Runner
from tests.e2e.commands import Server
from tests.fakes.pictures import png

PICTURES = 4
MODELS = ["caller", "counting", "minilm", "seeing", "smollm2"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(PICTURES):
        (folder / f"{seed}.png").write_bytes(png(seed))
    return folder


@pytest.fixture(scope="module")
def runner(environment: Environment, npm: str, client_server: Server, pictures: Path) -> Runner:
    return Runner(environment, npm, client_server.address, pictures)


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_client(client: Client, runner: Runner, reference: dict[str, Any]) -> None:
    found = runner.run(client.script, client.environment)
    said, tokens = reference["message"]["content"], reference["prompt_eval_count"]
    judge(client, found, Expected(said, tokens, MODELS, PICTURES))


def test_litellm_by_three_dialects(runner: Runner, reference: dict[str, Any]) -> None:
    found = runner.run("use_litellm.py", "litellm")
    assert found["versions"] == {"litellm": pin("litellm", "litellm")}
    said = reference["message"]["content"]
    routes = {"openai", "ollama_chat", "anthropic"}
    assert found["wholes"] == dict.fromkeys(routes, said)
    assert {route: "".join(row) for route, row in found["streams"].items()} == found["wholes"]
    assert all(len([piece for piece in row if piece]) > 1 for row in found["streams"].values())
    for route in routes:
        call, answer = found["calls"][route], found["answers"][route]
        check_tools({"call": call, "streamed_call": call, "said": answer})
        check_town(found["towns"][route])
        check_seen(found["all_seen"][route], PICTURES)
        check_refusal(found["all_missing"][route], "NotFoundError")
    assert set(found["all_vectors"]) == {"openai", "ollama"}
    for vectors in found["all_vectors"].values():
        check_vectors(vectors)


def test_instructor_by_its_modes(runner: Runner) -> None:
    found = runner.run("use_instructor.py", "instructor")
    assert found["versions"] == {"instructor": pin("instructor", "instructor")}
    for name in ("town", "response_town", "strict_town", "partial_town"):
        check_town(found[name])
    assert found["partials"] > 2
    assert found["finish"] == "stop"
    check_refusal(found["missing"], "InstructorRetryException")
