"""pytest tests/api/test_schemathesis.py: schemathesis asks a real server by its own document, and
finds no 5xx, no status, no body and no frame that the document does not tell of."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.e2e.commands import Server, serve
from tests.fakes.tiny_bert import tiny_bert
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.store import Store

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CASES = 5000
# Of each route; those without anything to vary have one.
EXAMPLES = 125
SECONDS = 900
# Left out: what a schema says cannot be all that is asked of a body, keys are asked for elsewhere
# (tests/pyserver/test_api_keys.py), and nobody made the things that other routes are asked for.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "frames_conform",
)
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model of each kind, all tiny and random."""
    folder = tmp_path_factory.mktemp("schemathesis") / "models"
    store = Store(folder)
    short = {**OPTIONS, "num_predict": 4, "num_ctx": 256}
    put_native(store, "tiny", template=TEMPLATE, parameters=short)
    put_native(store, "bert", tiny_bert().to_bytes(), parameters={"num_thread": 1})
    reranker = tiny_bert(pooling=4, scores=True).to_bytes()
    put_native(store, "reranker", reranker, parameters={"num_thread": 1})
    return folder


def read(server: Server, path: str) -> Any:
    with urlopen(f"{server.address}{path}") as answer:
        return json.loads(answer.read())


def what_there_is(server: Server) -> dict[str, list[str]]:
    """Digests of a model's manifests, and of its blobs."""
    with urlopen(f"{server.address}/v2/tiny/manifests/latest") as answer:
        index = answer.headers["Docker-Content-Digest"]
        inner = json.loads(answer.read())["manifests"][0]["digest"]
    manifest = read(server, f"/v2/tiny/manifests/{inner}")
    blobs = [row["digest"] for row in (manifest["config"], *manifest["layers"])]
    return {"manifests": [index, inner], "digests": blobs}


def answers(server: Server) -> dict[str, int]:
    """How many the server gave by itself, by status."""
    with urlopen(f"{server.address}/metrics") as answer:
        text = answer.read().decode()
    found: dict[str, int] = {}
    for status, count in re.findall(r'^transom_requests_total{.*status="(\d+)"} (\d+)', text, re.M):
        found[status] = found.get(status, 0) + int(count)
    return found


@pytest.mark.slow
def test_no_case_finds_a_fault(
    environment: Callable[[str], Path], store: Path, tmp_path: Path
) -> None:
    schemathesis = environment("schemathesis").with_name("schemathesis")
    with serve(store, tmp_path / "log") as server:
        told = {
            "TRANSOM_CASES": json.dumps(what_there_is(server)),
            "SCHEMATHESIS_HOOKS": str(HOOKS),
        }
        command = [schemathesis, "run", f"{server.address}/openapi.json", "--phases", "fuzzing"]
        command += ["--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES)]
        command += ["--generation-deterministic", "--workers", "2", "--no-shrink"]
        command += ["--continue-on-failure", "--warnings", "off", "--request-timeout", "60"]
        done = subprocess.run(
            [str(word) for word in command],
            env={**os.environ, **told},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        counted = answers(server)
        # It is as it was.
        assert read(server, "/healthz") == {"status": "ok"}
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None
    assert int(generated[1]) >= CASES, done.stdout[-2000:]
    # By the server's own count, too; and a good part of them was answered, not refused.
    assert sum(counted.values()) >= CASES
    assert counted["200"] >= CASES / 3, counted
    assert [status for status in counted if status.startswith("5")] == []
