"""pytest tests/pyserver/test_smollm2.py: a real model, real words, the official `ollama` client."""

from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.store import Store

pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "What is 2+2? Answer short."}]
SYSTEM = "You are a pirate. Say arr."
# What the template in the GGUF makes of the question, written by hand.
OWN_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
PROMPT = (
    "<|im_start|>system\n{system}<|im_end|>\n"
    "<|im_start|>user\nWhat is 2+2? Answer short.<|im_end|>\n"
    "<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def client(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ollama.Client]:
    folder = tmp_path_factory.mktemp("smollm2") / "models"
    store, weights = Store(folder), smollm2.read_bytes()
    parameters = {**OPTIONS, "num_ctx": 1024, "num_predict": 40}
    put_native(store, "smollm2", weights, parameters=parameters)
    put_native(
        store,
        "pirate",
        weights,
        system=SYSTEM,
        parameters=parameters,
    )
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as server:
        client = ollama.Client(server.url, timeout=300)
        yield client
        client._client.close()


def test_it_answers(client: ollama.Client) -> None:
    parts = list(client.chat("smollm2", QUESTION, stream=True))
    text = "".join(part.message.content or "" for part in parts)
    assert "4" in text
    last = parts[-1]
    assert (last.done, last.done_reason) == (True, "stop")
    assert 1 <= len(parts) - 1 <= (last.eval_count or 0)
    whole = client.chat("smollm2", QUESTION)
    assert (whole.message.content, whole.eval_count) == (text, last.eval_count)


def test_an_answer_comes_in_pieces(client: ollama.Client) -> None:
    # Tokens that come together on a busy machine are one piece, of a few at most.
    options = {"num_predict": 100, "temperature": 0}
    parts = list(client.generate("smollm2", "1 2 3 4 5", raw=True, stream=True, options=options))
    assert parts[-1].eval_count == 100
    assert len(parts) > 3


def test_the_template_makes_the_prompt_that_it_should(client: ollama.Client) -> None:
    chat = client.chat("smollm2", QUESTION)
    raw = client.generate("smollm2", PROMPT.format(system=OWN_SYSTEM), raw=True)
    assert raw.response == chat.message.content
    assert raw.prompt_eval_count == chat.prompt_eval_count


def test_the_system_layer_is_honoured(client: ollama.Client) -> None:
    layered = client.chat("pirate", QUESTION)
    said = client.chat("smollm2", [{"role": "system", "content": SYSTEM}, *QUESTION])
    raw = client.generate("smollm2", PROMPT.format(system=SYSTEM), raw=True)
    assert layered.message.content == said.message.content == raw.response
    assert layered.message.content != client.chat("smollm2", QUESTION).message.content


def test_a_seed_repeats_and_another_one_differs(client: ollama.Client) -> None:
    def say(seed: int) -> str | None:
        options = {"temperature": 1.5, "seed": seed}
        return client.chat("smollm2", QUESTION, options=options).message.content

    assert say(7) == say(7) != say(8)


def test_ps_tells_the_truth_and_zero_lets_go(client: ollama.Client) -> None:
    client.chat("smollm2", QUESTION, keep_alive="5m")
    (row,) = (model for model in client.ps().models if model.model == "smollm2:latest")
    # The file is 98 MB, mapped; the KV cache of 1024 tokens is 24 MiB.
    assert 90_000_000 < (row.size or 0) < 500_000_000
    assert row.context_length == 1024
    client.generate("smollm2", keep_alive=0)
    assert "smollm2:latest" not in [model.model for model in client.ps().models]
