"""pytest tests/api/test_client_documents.py: the blocks of docs/clients.md, run as they are.

Each in the environment of its client, with this server's address for the one in the document.
"""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.client_table import CLIENTS, NPM, pin, pinned
from tests.api.conftest import ask_without_client
from tests.e2e.commands import ROOT, Server, serve, transom

DOCUMENT = (ROOT / "docs" / "clients.md").read_text()
ADDRESS_IN_DOCUMENT = "http://127.0.0.1:11435"
QUESTION = "What is 2+2? Answer short."
SECONDS = 240
Environment = Callable[[str], Path]
SECTION = re.compile(r"^## (.+?)\n+```(python|js)\n(.*?)^```", re.M | re.S)
SNIPPETS = {title: (language, code) for title, language, code in SECTION.findall(DOCUMENT)}


def test_each_client_has_its_lines_and_its_version_in_the_documents() -> None:
    rows = {
        name: version for name, version in re.findall(r"^\| (.+?) \| (\d[\d.]*) \|", DOCUMENT, re.M)
    }
    expected = {
        f"`{client.package}`" if client.environment else f"npm's `{client.package}`": client
        for client in CLIENTS
    }
    assert rows == {name: pinned(client) for name, client in expected.items()} | {
        f"`{name}`": pin(name, name) for name in ("litellm", "instructor")
    }
    environments = {client.environment for client in CLIENTS if client.environment}
    npm = {f"npm's {client.package}" for client in CLIENTS if client.environment is None}
    assert set(SNIPPETS) == environments | npm | {"litellm", "instructor"}


def run_snippet(
    title: str, address: str, environment: Environment, key: str = "none"
) -> subprocess.CompletedProcess[str]:
    """A block of the document, with this server's address and a key in it."""
    language, code = SNIPPETS[title]
    assert ADDRESS_IN_DOCUMENT in code
    code = code.replace(ADDRESS_IN_DOCUMENT, address).replace('"none"', f'"{key}"')
    command = (
        [str(environment(title)), "-c", code]
        if language == "python"
        else ["node", "--input-type=module", "--eval", code]
    )
    return subprocess.run(
        command,
        cwd=NPM,
        env={**os.environ, "OLLAMA_API_KEY": key},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def answer(client_server: Server) -> str:
    """To the document's question, without any client."""
    found = ask_without_client(client_server.address, QUESTION)
    said = str(found["message"]["content"]).strip()
    assert "4" in said
    return said


@pytest.mark.parametrize("title", SNIPPETS)
@pytest.mark.usefixtures("npm")
def test_the_lines_of_the_document(
    title: str, client_server: Server, environment: Environment, answer: str
) -> None:
    done = run_snippet(title, client_server.address, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == answer


def test_a_wrong_key_is_the_clients_own_error(
    client_models: Path, environment: Environment, answer: str, tmp_path: Path
) -> None:
    settings = {"TRANSOM_CONFIG": str(tmp_path)}
    made = transom("key", "create", "laptop", store=client_models, environment=settings)
    assert made.returncode == 0, made.stderr
    key = made.stdout.split()[-1]
    errors = {
        "openai": "AuthenticationError",
        "anthropic": "AuthenticationError",
        "ollama": "ResponseError: unauthorized",
    }
    with serve(client_models, tmp_path / "log", environment=settings) as server:
        for title, error in errors.items():
            wrong = run_snippet(title, server.address, environment, "wrong")
            assert wrong.returncode != 0
            assert error in wrong.stderr
        right = [run_snippet(title, server.address, environment, key) for title in errors]
    assert [done.stdout.strip() for done in right] == [answer] * len(errors), right
    assert key not in (tmp_path / "log").read_text()
