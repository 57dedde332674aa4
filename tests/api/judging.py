"""What a client's script has to have seen, wherever its answers came from.

Knows neither server nor page.
"""

from dataclasses import dataclass
from typing import Any

from tests.api.client_table import Client, pinned

TRAINED_CONTEXT = 8192
TALK = {
    "whole", "pieces", "prompt_tokens", "finish", "call", "streamed_call", "said", "town", "seen",
    "missing",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expected:
    """What a place says without any client."""

    said: str
    prompt_tokens: int
    models: list[str]
    pictures: int
    """That scripts are given to show."""


def judge(client: Client, found: dict[str, Any], expected: Expected) -> None:
    """All that a script of `CLIENTS` printed."""
    assert found.pop("versions") == {client.package: pinned(client)}
    hung_up = {"after_cancelling"} if client.hangs_up else set()
    assert set(found) == TALK | client.also | hung_up

    said = expected.said
    assert found["whole"] == said
    pieces = [piece for piece in found["pieces"] if piece]
    assert "".join(pieces) == said
    assert len(pieces) > 1
    assert found["prompt_tokens"] == expected.prompt_tokens
    assert found["finish"] in ("stop", "end_turn")
    assert found.get("response", said) == said
    assert "".join(found.get("response_pieces", [said])) == said

    check_tools(found)
    for name in ("town", "response_town"):
        check_town(found.get(name, found["town"]))
    for name in ("vectors", "float_vectors"):
        if name in found:
            check_vectors(found[name])
    check_seen(found["seen"], expected.pictures)

    assert found.get("listed", expected.models) == expected.models
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


def check_seen(seen: list[str | None], pictures: int) -> None:
    """Random weights say nothing, but to different pictures not the same."""
    assert len(seen) == pictures
    assert pictures == 0 or len(set(seen)) > 1


def check_refusal(refusal: str, error: str) -> None:
    assert refusal.startswith(f"{error}: "), refusal
    assert "nobody" in refusal
