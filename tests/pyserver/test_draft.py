"""pytest tests/pyserver/test_draft.py: a small model guesses, the model checks; the answer stays.

Tiny random llamas: one drafts for itself and is always right, another one never is.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.tiny_gguf import TOKENS, tiny_llama
from transom_api.engine import (
    Done,
    GenerateRequest,
    LoadOptions,
    ModelFiles,
    Sampling,
    TokenEvent,
)
from transom_cli.main import run
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.modelfile import ModelfileError, parse_modelfile, write_modelfile
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.model.draft import DraftMismatch, check_draft
from transom_server.model.model_texts import layers_of
from transom_server.settings.config import Config
from transom_server.store import Store

LONG = {"llama.context_length": 4096}
Create = Callable[..., tuple[int, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    swapped = list(TOKENS)
    swapped[200] = "zz"
    for name, made in {
        "same": tiny_llama(metadata=LONG),
        "other": tiny_llama(seed=3, metadata=LONG),
        "strange": tiny_llama(seed=3, metadata={**LONG, "tokenizer.ggml.tokens": swapped}),
    }.items():
        (tmp_path / f"{name}.gguf").write_bytes(made.to_bytes())
    return tmp_path


def ask(folder: Path, draft: str | None, tokens: int | None = None) -> tuple[list[int], Done]:
    path = None if draft is None else str(folder / f"{draft}.gguf")
    options = LoadOptions(context_tokens=1024, parallel=1, threads=1, draft_tokens=tokens)
    engine = LlamaCpp(ModelFiles(str(folder / "same.gguf"), draft=path), options, lambda: False)
    try:
        request = GenerateRequest(
            "hello w", Sampling(temperature=0), max_tokens=40, ignore_eos=True
        )
        *events, done = engine.generate(request, lambda: False)
    finally:
        engine.close()
    assert isinstance(done, Done)
    found = [each for event in events if isinstance(event, TokenEvent) for each in event.token_ids]
    return found, done


def test_the_answer_stays_the_same(folder: Path) -> None:
    alone, plain = ask(folder, None)
    assert (plain.drafted_tokens, plain.accepted_tokens) == (0, 0)
    right, of_itself = ask(folder, "same")
    assert right == alone
    assert of_itself.accepted_tokens == of_itself.drafted_tokens > 20
    wrong, of_another = ask(folder, "other", 2)
    assert wrong == alone
    assert of_another.drafted_tokens > 20
    assert of_another.accepted_tokens < of_another.drafted_tokens // 2
    off, left_out = ask(folder, "same", 0)
    assert off == alone
    assert left_out.drafted_tokens == 0


def test_both_mean_the_same_by_each_token(folder: Path, store: Store) -> None:
    def kept(data: bytes) -> Digest:
        return store.put_bytes(data)

    model = kept((folder / "same.gguf").read_bytes())
    check_draft(store, model, kept((folder / "other.gguf").read_bytes()))
    with pytest.raises(DraftMismatch, match=r"token 200 is 'zz' in it, .* in the model; take a sm"):
        check_draft(store, model, kept((folder / "strange.gguf").read_bytes()))
    fewer = tiny_llama(metadata={"tokenizer.ggml.tokens": TOKENS[:100]})
    with pytest.raises(DraftMismatch, match="it has 100 tokens, the model 264"):
        check_draft(store, model, kept(fewer.to_bytes()))
    ends = tiny_llama(metadata={"tokenizer.ggml.eos_token_id": 0})
    with pytest.raises(DraftMismatch, match="eos_token_id is another"):
        check_draft(store, model, kept(ends.to_bytes()))


def test_the_directive() -> None:
    said = parse_modelfile("FROM a\nDRAFT b:small\nPARAMETER draft_num_predict 8")
    assert said.draft == "b:small"
    assert parse_modelfile(write_modelfile(said)) == said
    with pytest.raises(ModelfileError, match=r"line 3.*DRAFT was given already"):
        parse_modelfile("FROM a\nDRAFT b\nDRAFT c")


@pytest.fixture
def create(
    folder: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Create:
    monkeypatch.setenv("TRANSOM_MODELS", str(store.location))

    def command(*arguments: str, modelfile: str = "") -> tuple[int, str]:
        more = []
        if modelfile:
            (folder / "Modelfile").write_text(modelfile)
            more = ["-f", str(folder / "Modelfile")]
        code = run([*arguments, *more])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


def test_a_model_with_a_draft(create: Create, folder: Path, store: Store) -> None:
    head = "PLATFORM native\nPARAMETER temperature 0\nPARAMETER num_thread 1\n"
    assert create("create", "plain", modelfile=f"{head}FROM same.gguf")[0] == 0
    assert create("create", "other", modelfile=f"{head}FROM other.gguf")[0] == 0
    for name, draft in (("quick", "same.gguf"), ("named", "plain"), ("bad", "other")):
        assert create("create", name, modelfile=f"{head}FROM plain\nDRAFT {draft}")[0] == 0
    digest = Digest.of_file(folder / "same.gguf")
    for name in ("quick", "named"):
        (row,) = store.get_index(ModelName.parse(name)).index.manifests
        (layer,) = layers_of(store.get_manifest(row), media_types.OLLAMA_DRAFT)
        assert layer.digest == digest
    # Another draft takes its place.
    assert create("create", "again", modelfile="FROM quick\nDRAFT other")[0] == 0
    (row,) = store.get_index(ModelName.parse("again")).index.manifests
    (layer,) = layers_of(store.get_manifest(row), media_types.OLLAMA_DRAFT)
    assert layer.digest == Digest.of_file(folder / "other.gguf")

    assert json.loads(create("show", "quick", "--json")[1])["draft"] == str(digest)
    assert f"# DRAFT {digest}" in create("show", "quick", "--modelfile")[1]
    with_draft, without = (
        json.loads(create("show", name, "--memory", "--json")[1]) for name in ("quick", "plain")
    )
    assert with_draft["bytes"]["beside"] > without["bytes"]["weights"]

    code, said = create("create", "no", modelfile=f"{head}FROM plain\nDRAFT strange.gguf")
    assert code == 2
    assert "the draft has another vocabulary: token 200" in said
    code, said = create("create", "no", modelfile=f"{head}FROM plain\nDRAFT ./none")
    assert (code, "DRAFT ./none: there is no such file" in said) == (2, True)

    app = create_app(Config.read({"TRANSOM_MODELS": str(store.location)}))
    try:
        client = app.test_client()
        answers = []
        for name in ("plain", "quick", "bad"):
            body = {"model": name, "prompt": "hello w", "raw": True, "stream": False}
            answer = client.post("/api/generate", json=body | {"options": {"num_predict": 30}})
            assert answer.status_code == 200, answer.text
            answers.append(answer.get_json()["response"])
        assert answers[0] == answers[1] == answers[2]
        body = {"model": "quick", "prompt": "hello w", "max_tokens": 30}
        timings = client.post("/v1/completions", json=body).get_json()["timings"]
        assert timings["draft_n_accepted"] == timings["draft_n"] > 10
        lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines())
        drafted = int(lines['transom_tokens_total{kind="drafted"}'])
        accepted = int(lines['transom_tokens_total{kind="accepted"}'])
        assert 10 < accepted < drafted
    finally:
        app.extensions["transom_close"]()
