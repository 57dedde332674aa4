"""pytest tests/api/test_clients_in_page.py: the clients of those who made the dialects, answered by
a page's service worker.

The scripts are those that judge the server (`test_clients.py`), unchanged: `page_relay.py` gives
the page an address. Service worker, house and API worker with Python are those that are shipped;
the engine is scripted, so that it takes seconds. LEFT_OUT has what is not asked here.
"""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.api.client_table import CLIENTS, Client
from tests.api.conftest import QUESTION, MissingTool, ask_without_client
from tests.api.judging import Expected, judge
from tests.api.page_models import MODELS, contract
from tests.api.page_relay import Relay, relaying
from tests.api.runner import Environment, Runner
from tests.contract.api.page_build import build_page, find_chromium
from tests.e2e.browser import WITHOUT_WEBGPU, serve_folder
from tests.fakes.pictures import png
from tests.fakes.sounds import wav

OFFICIAL: Final = [
    client
    for client in CLIENTS
    if client.package in ("openai", "ollama", "anthropic", "@anthropic-ai/sdk")
]
"""Python's and npm's."""
STATE: Final = """async () => {
    const { engine } = window.contract;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return engine.aborted;
}"""
ABORT_LOOKS: Final = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that no page answers by nature, and what its whole answer says then."""

    method: str
    target: str
    body: dict[str, Any] | None
    status: int
    says: str

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


def showing(part: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "text", "text": "What is in this?"}
    message = {"role": "user", "content": [text, part]}
    return {"model": "smollm2", "max_tokens": 20, "messages": [message]}


PNG: Final = base64.b64encode(png(0)).decode()
WAV: Final = base64.b64encode(wav(seconds=0.1)).decode()
SERVERS: Final = "a page cannot do this, a Transom server can; ask one"
BLOB: Final = f"/api/blobs/sha256:{'0' * 64}"
LEFT_OUT: Final = [
    # A page has no store that others could fill; its models come by the page itself.
    Refusal("POST", "/api/create", {"model": "mine", "from": "smollm2"}, 501, SERVERS),
    Refusal("POST", "/api/copy", {"source": "smollm2", "destination": "mine"}, 501, SERVERS),
    Refusal("DELETE", "/api/delete", {"model": "smollm2"}, 501, SERVERS),
    Refusal("POST", "/api/pull", {"model": "smollm2"}, 501, SERVERS),
    Refusal("POST", "/api/push", {"model": "smollm2"}, 501, SERVERS),
    Refusal("HEAD", BLOB, None, 501, ""),
    Refusal("POST", BLOB, {}, 501, SERVERS),
    # The page's engines run no model that scores documents,
    Refusal(
        "POST", "/v1/rerank", {"model": "smollm2", "query": "a", "documents": ["b"]}, 501, SERVERS
    ),
    # and none that sees or hears: scripts get no pictures here.
    Refusal(
        "POST",
        "/v1/chat/completions",
        showing({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}),
        400,
        "smollm2 sees no images; leave them out",
    ),
    Refusal(
        "POST",
        "/v1/messages",
        showing(
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PNG},
            }
        ),
        400,
        "smollm2 sees no images; leave them out",
    ),
    Refusal(
        "POST",
        "/api/chat",
        {
            "model": "smollm2",
            "messages": [{"role": "user", "content": "What is in this?", "images": [PNG]}],
        },
        400,
        "smollm2 sees no images; leave them out",
    ),
    Refusal(
        "POST",
        "/v1/chat/completions",
        showing({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
        400,
        "smollm2 hears no sound; leave it out",
    ),
]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, missing_tool: MissingTool) -> Iterator[Relay]:
    """A page that answers by itself, and no server behind it."""
    chromium = find_chromium(missing_tool)
    folder = tmp_path_factory.mktemp("clients-page")
    build_page(folder, missing_tool)
    (folder / "contract.json").write_text(json.dumps(contract()))
    profile = tmp_path_factory.mktemp("profile")
    with (
        serve_folder(folder) as address,
        relaying(chromium, profile, f"{address}/?where=browser", WITHOUT_WEBGPU) as relay,
    ):
        relay.evaluate(
            """async () => {
                while (window.contract === undefined) {
                    await new Promise((resolve) => setTimeout(resolve, 20));
                }
                await window.contract.house.ready;
            }"""
        )
        yield relay
        assert relay.complaints == []
        assert [each for each in relay.answered if not each.by.startswith("browser; ")] == []


@pytest.fixture(scope="module")
def runner(
    environment: Environment, npm: str, relay: Relay, tmp_path_factory: pytest.TempPathFactory
) -> Runner:
    return Runner(environment, npm, relay.address, tmp_path_factory.mktemp("no-pictures"))


@pytest.mark.parametrize("client", OFFICIAL, ids=str)
def test_an_official_client(client: Client, runner: Runner, relay: Relay) -> None:
    answer = ask_without_client(relay.address, QUESTION)
    expected = Expected(
        answer["message"]["content"], answer["prompt_eval_count"], sorted(MODELS), pictures=0
    )
    aborted, answered = relay.evaluate(STATE), len(relay.answered)
    judge(client, runner.run(client.script, client.environment), expected)
    assert len(relay.answered) > answered
    # It hung up once, and the engine heard of it.
    for _ in range(ABORT_LOOKS):
        if relay.evaluate(STATE) > aborted:
            break
    assert relay.evaluate(STATE) == aborted + 1


@pytest.mark.parametrize("refusal", LEFT_OUT, ids=str)
def test_what_only_a_server_does_is_refused(refusal: Refusal, relay: Relay) -> None:
    request = urllib.request.Request(
        relay.address + refusal.target,
        None if refusal.body is None else json.dumps(refusal.body).encode(),
        {"Content-Type": "application/json"},
        method=refusal.method,
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=120)
    with refused.value as error:
        assert error.code == refusal.status
        assert error.headers["Transom-Served-By"].startswith("browser; ")
        body = error.read()
    if refusal.method == "HEAD":
        assert body == b""
        return
    said = json.loads(body)["error"]
    # Ollama's errors are texts.
    assert refusal.says in (said if isinstance(said, str) else said["message"])
