"""pytest tests/api/test_clients.py: real clients, each in an environment of its own.

A script of tests/api/clients or tests/api/npm uses its client as its own documents say, and
prints what it saw; here that is judged. Answers are greedy, so all clients have to see the same.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.api.client_table import CLIENTS, HERE, NPM, Client, pin, pinned
from tests.e2e.commands import Server, run_checked
from tests.fakes.pictures import png

SECONDS = 240
PICTURES = 4
MODELS = ["caller", "counting", "minilm", "seeing", "smollm2"]
TRAINED_CONTEXT = 8192
TALK = {
    "whole", "pieces", "prompt_tokens", "finish", "call", "streamed_call", "said", "town", "seen",
    "missing",
}  # fmt: skip


MissingTool = Callable[[str], NoReturn]
Environment = Callable[[str], Path]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(PICTURES):
        (folder / f"{seed}.png").write_bytes(png(seed))
    return folder


@dataclass(frozen=True)
class Runner:
    """Runs scripts against the server."""

    environment: Environment
    npm: str
    server: Server
    pictures: Path

    def run(self, script: str, environment: str | None) -> dict[str, Any]:
        """What the script printed last."""
        if environment is None:
            command: list[str | Path] = [self.npm, NPM / script]
        else:
            command = [self.environment(environment), HERE / "clients" / script]
        printed = run_checked(*command, self.server.address, self.pictures, timeout=SECONDS)
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return found


@pytest.fixture(scope="module")
def runner(environment: Environment, npm: str, client_server: Server, pictures: Path) -> Runner:
    return Runner(environment, npm, client_server, pictures)


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_client(client: Client, runner: Runner, reference: dict[str, Any]) -> None:
    found = runner.run(client.script, client.environment)
    assert found.pop("versions") == {client.package: pinned(client)}
    hung_up = {"after_cancelling"} if client.hangs_up else set()
    assert set(found) == TALK | client.also | hung_up

    said = reference["message"]["content"]
    assert found["whole"] == said
    pieces = [piece for piece in found["pieces"] if piece]
    assert "".join(pieces) == said
    assert len(pieces) > 1
    assert found["prompt_tokens"] == reference["prompt_eval_count"]
    assert found["finish"] in ("stop", "end_turn")
    assert found.get("response", said) == said
    assert "".join(found.get("response_pieces", [said])) == said

    check_tools(found)
    for name in ("town", "response_town"):
        check_town(found.get(name, found["town"]))
    for name in ("vectors", "float_vectors"):
        if name in found:
            check_vectors(found[name])
    check_seen(found["seen"])

    assert found.get("listed", MODELS) == MODELS
    if "shown" in found:
        assert found["shown"] in ("smollm2", ["completion", "tools"])
    assert "num_thread" in found.get("parameters", "num_thread")
    running = {"smollm2:latest": 1024, "caller:latest": 1024, "counting:latest": TRAINED_CONTEXT}
    assert running.items() <= found.get("running", running).items()
    assert found.get("context", TRAINED_CONTEXT) == TRAINED_CONTEXT

    check_refusal(found["missing"], client.missing)
    if "bad_field" in found:
        assert found["bad_field"].startswith("BadRequestError")
        assert "top_p" in found["bad_field"]
    # Tokens, or what they say.
    assert found.get("after_cancelling", 1) in (1, " ")


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
        check_seen(found["all_seen"][route])
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


def check_tools(found: dict[str, Any]) -> None:
    """A call with arguments, whole and streamed, and words once it was answered."""
    assert found["call"] == found["streamed_call"] == ["weather", {"city": "Oulu"}]
    assert "21 degrees" in found["said"]
    assert found.get("forced", "weather") == "weather"
    assert found.get("response_call", found["call"]) == found["call"]
    assert found.get("response_said", found["said"]) == found["said"]


def check_town(town: dict[str, Any]) -> None:
    """It went through the client's own model of it."""
    assert town["name"] in ("Oulu", "Rome")
    assert town["sky"]["colour"] in ("blue", "grey")
    assert isinstance(town["sky"]["is_clear"], bool)


def check_vectors(vectors: dict[str, float]) -> None:
    """Cats are nearer to kittens than to shares."""
    assert vectors["size"] == 384
    assert vectors["near"] > 0.5 > 0.2 > vectors["far"]


def check_seen(seen: list[str | None]) -> None:
    """Random weights say nothing, but to different pictures not the same."""
    assert len(seen) == PICTURES
    assert len(set(seen)) > 1


def check_refusal(refusal: str, error: str) -> None:
    assert refusal.startswith(f"{error}: "), refusal
    assert "nobody" in refusal
