"""The clients that judge the server: their scripts, their versions, what each has to report.

Knows the folders of tests/api, and neither runs nor judges anything.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NPM = HERE / "npm"


@dataclass(frozen=True)
class Client:
    """A script, what runs it, and what it has to report beside TALK."""

    package: str
    environment: str | None
    """Of tests/api/environments; None for npm's."""
    script: str
    also: frozenset[str]
    missing: str
    """Its error for a model that is not there."""
    hangs_up: bool = True
    """Whether closing its stream closes the connection."""

    def __str__(self) -> str:
        return f"npm-{self.package}" if self.environment is None else self.package


OPENAI = {"response", "response_town", "vectors", "listed", "shown"}
CLIENTS = [
    Client(
        "openai", "openai", "use_openai.py",
        frozenset(OPENAI | {"response_pieces", "forced", "response_call", "response_said",
        "float_vectors", "bad_field"}), "NotFoundError",
    ),
    Client(
        "ollama", "ollama", "use_ollama.py",
        frozenset({"response", "vectors", "listed", "shown", "parameters", "running"}),
        "ResponseError",
    ),
    Client(
        "anthropic", "anthropic", "use_anthropic.py", frozenset({"forced", "listed", "shown"}),
        "NotFoundError",
    ),
    Client(
        "langchain-openai", "langchain-openai", "use_langchain_openai.py",
        frozenset({"response", "response_town", "vectors"}), "OpenAIModelNotFoundError",
    ),
    Client(
        "langchain-ollama", "langchain-ollama", "use_langchain_ollama.py",
        frozenset({"vectors"}), "ResponseError",
    ),
    Client(
        "llama-index-llms-openai-like", "llama-index-openai-like",
        "use_llama_index_openai_like.py", frozenset({"vectors"}), "NotFoundError",
        hangs_up=False,
    ),
    Client(
        "llama-index-llms-ollama", "llama-index-ollama", "use_llama_index_ollama.py",
        frozenset({"vectors", "context"}), "ResponseError",
    ),
    Client("openai", None, "use_openai.mjs", frozenset(OPENAI), "NotFoundError"),
    Client(
        "ollama", None, "use_ollama.mjs",
        frozenset({"response", "vectors", "listed", "shown", "running"}), "ResponseError",
    ),
    Client(
        "@anthropic-ai/sdk", None, "use_anthropic.mjs", frozenset({"listed", "shown"}),
        "NotFoundError",
    ),
]  # fmt: skip


def pin(environment: str, package: str) -> str:
    """The version that an environment asks for."""
    text = (HERE / "environments" / f"{environment}.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==(\S+)", text, re.M)
    assert found is not None
    return found[1]


def pinned(client: Client) -> str:
    """The version that should be there."""
    if client.environment is not None:
        return pin(client.environment, client.package)
    version: str = json.loads((NPM / "package.json").read_text())["dependencies"][client.package]
    return version
