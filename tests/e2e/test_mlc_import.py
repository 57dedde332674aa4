"""A model as MLC's users publish theirs comes into the store and answers, token for token.

The model is a stand-in (`mlc_folder.py` says how it is made); unmodified WebLLM runs our bundles in
`test_webllm.py`, so both directions are walked.
"""

import json
from pathlib import Path

import pytest

from tests.e2e import node_engine
from tests.e2e.commands import Compiled, Prompt, transom
from tests.e2e.mlc_folder import publish_as_mlc, take_out

LIBRARY = "library-f32.wasm"
TOKENS = 8

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(1500)]


def test_an_imported_model_answers_as_it_did_before(
    compiled: Compiled,
    web_build: Path,
    llvmpipe: dict[str, str],
    prompts: list[Prompt],
    tmp_path: Path,
) -> None:
    published = publish_as_mlc(compiled.bundle, LIBRARY, tmp_path / "SmolLM2-q4f32_1-MLC")
    store = tmp_path / "models"
    done = transom("import", published, "--name", "theirs", "--json", store=store)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["event"] == "report"
    assert report["notes"] == []

    messages = list(prompts[0].messages)
    imported = take_out(store, "theirs", tmp_path / "imported")
    answers = []
    for bundle in (compiled.bundle, imported):
        run = node_engine.generate(bundle, LIBRARY, [messages], TOKENS, tmp_path, llvmpipe)
        answers.append(run.answers[0])
    ours, theirs = answers
    assert theirs["promptTokenIds"] == ours["promptTokenIds"] == list(prompts[0].token_ids)
    assert theirs["tokenIds"] == ours["tokenIds"]
    print(f"\nimported from MLC's format: {theirs['text']!r}")
