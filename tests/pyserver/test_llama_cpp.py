"""pytest tests/pyserver/test_llama_cpp.py: the real llama.cpp on a tiny random llama."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xllamacpp

from tests.fakes.pictures import png
from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_gguf import tiny_llama
from tests.fakes.tiny_projector import tiny_projector
from transom_api.engine import (
    ContextOverflow,
    Done,
    EngineError,
    EngineFailed,
    GenerateRequest,
    LoadOptions,
    ModelFiles,
    RequestCancelled,
    Sampling,
    SchemaRefused,
    TokenEvent,
)
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.llama_cpp_child import free_on_cards

GREEDY = Sampling(temperature=0)
SECONDS = 30


def never() -> bool:
    return False


def load(path: Path, **options: Any) -> LlamaCpp:
    return LlamaCpp(ModelFiles(str(path)), LoadOptions(threads=1, **options), never)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    path.write_bytes(tiny_llama().to_bytes())
    return path


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These random weights go on for thousands of tokens."""
    path = tmp_path_factory.mktemp("endless") / "endless.gguf"
    path.write_bytes(tiny_llama(seed=1, metadata={"llama.context_length": 65536}).to_bytes())
    return path


@pytest.fixture(scope="module")
def engine(tiny: Path) -> Iterator[LlamaCpp]:
    engine = load(tiny)
    yield engine
    engine.close()


def run(engine: LlamaCpp, request: GenerateRequest) -> tuple[bytes, list[int], Done]:
    *tokens, done = engine.generate(request, never)
    assert isinstance(done, Done)
    pieces = [event for event in tokens if isinstance(event, TokenEvent)]
    ids = [token for event in pieces for token in event.token_ids]
    return b"".join(event.text for event in pieces), ids, done


def test_facts(engine: LlamaCpp) -> None:
    assert engine.facts.context_tokens == 256  # what it was trained for, not the 4096 asked for
    assert (engine.facts.bos, engine.facts.eos) == ("<|im_start|>", "<|im_end|>")
    assert not engine.facts.adds_bos
    assert engine.facts.image_marker is None
    assert engine.alive()
    assert engine.resident_bytes() > 1_000_000
    # The build of PyPI, which these tests run on, knows no graphics cards.
    assert engine.facts.gpu_bytes == 0


def test_free_memory_is_that_of_graphics_cards() -> None:
    """Stands in for a machine with two cards: what a load took of both is the model's."""
    kinds = xllamacpp.ggml_backend_dev_type
    cpu, gpu, shared = (
        getattr(kinds, f"GGML_BACKEND_DEVICE_TYPE_{kind}") for kind in ("CPU", "GPU", "IGPU")
    )
    rows = [(cpu, 1000), (gpu, 200), (gpu, 30), (shared, 4)]
    found = [{"type": kind, "memory_free": free} for kind, free in rows]
    module = SimpleNamespace(ggml_backend_dev_type=kinds, get_device_info=lambda: found)
    assert free_on_cards(module) == 234
    assert free_on_cards(xllamacpp) == 0


def test_a_tokenizer_that_adds_bos_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bos.gguf"
    path.write_bytes(tiny_llama(metadata={"tokenizer.ggml.add_bos_token": True}).to_bytes())
    engine = load(path)
    try:
        assert engine.facts.adds_bos
    finally:
        engine.close()


def test_greedy_and_seeds_repeat(engine: LlamaCpp) -> None:
    greedy = GenerateRequest("hello", GREEDY, max_tokens=20)
    text, _, done = run(engine, greedy)
    assert (done.finish_reason, done.prompt_tokens, done.completion_tokens) == ("length", 1, 20)
    assert run(engine, greedy)[0] == text
    seeded = [
        run(engine, GenerateRequest("hello", Sampling(temperature=5, top_k=0, seed=seed)))[0]
        for seed in (7, 7, 8)
    ]
    assert seeded[0] == seeded[1] != seeded[2]


def test_it_ends_at_a_stop_text_and_leaves_it_out(engine: LlamaCpp) -> None:
    text, _, _ = run(engine, GenerateRequest("hello", GREEDY, max_tokens=40))
    whole = text.decode()
    stop = next(char for char in whole[3:] if char.isascii() and char not in whole[:3])
    cut, _, done = run(engine, GenerateRequest("hello", GREEDY, max_tokens=40, stop=(stop,)))
    assert done.finish_reason == "stop"
    assert cut.decode() == whole[: whole.index(stop)]


def test_a_json_schema_holds(engine: LlamaCpp) -> None:
    schema = {"enum": ["yes", "no"]}
    text, _, _ = run(engine, GenerateRequest("hello", GREEDY, json_schema=schema))
    assert text.decode() in ('"yes"', '"no"')


def test_too_long_a_prompt_is_an_error_not_a_cut(engine: LlamaCpp) -> None:
    with pytest.raises(ContextOverflow, match=r"300 tokens.*\(num_ctx\) holds 256"):
        run(engine, GenerateRequest("hello" * 300))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "#/nowhere"}, "'/nowhere' does not exist"),
        ({"type": "string", "pattern": "("}, "regex parse error"),
    ],
    ids=["reference", "pattern"],
)
def test_an_impossible_schema_is_an_error_not_passed_over(
    engine: LlamaCpp, schema: dict[str, str], reason: str
) -> None:
    """llama.cpp answers as if there was none."""
    with pytest.raises(SchemaRefused, match=f"schema cannot be used: .*{reason}"):
        run(engine, GenerateRequest("hello", json_schema=schema))
    assert run(engine, GenerateRequest("hello", GREEDY, max_tokens=1))[2].completion_tokens == 1


def test_images_for_a_model_that_sees_none(engine: LlamaCpp) -> None:
    with pytest.raises(EngineError, match="room for 0 images"):
        run(engine, GenerateRequest("hello", images=(b"GIF",)))


def test_an_adapter_changes_the_answer(engine: LlamaCpp, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "adapter.gguf"
    path.write_bytes(tiny_adapter())
    request = GenerateRequest("hello", GREEDY, max_tokens=20)
    adapted = LlamaCpp(ModelFiles(str(tiny), adapters=(str(path),)), LoadOptions(threads=1), never)
    try:
        assert run(adapted, request)[0] != run(engine, request)[0]
    finally:
        adapted.close()


@pytest.fixture(scope="module")
def seeing(tiny: Path) -> Iterator[LlamaCpp]:
    """With a tiny random image encoder."""
    projector = tiny.with_name("projector.gguf")
    projector.write_bytes(tiny_projector().to_bytes())
    files = ModelFiles(str(tiny), str(projector))
    engine = LlamaCpp(files, LoadOptions(threads=1), never)
    yield engine
    engine.close()


def test_a_picture_is_part_of_the_prompt(seeing: LlamaCpp) -> None:
    marker = seeing.facts.image_marker
    assert marker is not None

    def look(seed: int) -> tuple[bytes, Done]:
        prompt = f"{marker}hello"
        request = GenerateRequest(prompt, GREEDY, max_tokens=20, images=(png(seed),))
        text, _, done = run(seeing, request)
        return text, done

    texts = {seed: look(seed)[0] for seed in range(6)}
    assert len(set(texts.values())) > 1
    assert look(0)[0] == texts[0]
    assert look(0)[1].prompt_tokens == 5  # four patches and a word


def test_pictures_that_lie(seeing: LlamaCpp) -> None:
    marker = seeing.facts.image_marker
    for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(50), png(0)[:60]):
        with pytest.raises(EngineError, match="is damaged"):
            run(seeing, GenerateRequest(f"{marker}hello", images=(data,)))
    with pytest.raises(EngineError, match="ends with an image"):
        run(seeing, GenerateRequest(f"hello{marker}", images=(png(0),)))
    assert seeing.alive()


def test_what_is_no_picture_is_given_to_no_program(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp would play it with ffmpeg, if there is one."""
    ran = tmp_path / "ran"
    for name in ("ffprobe", "ffmpeg"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    projector = tmp_path / "projector.gguf"
    projector.write_bytes(tiny_projector().to_bytes())
    engine = LlamaCpp(ModelFiles(str(tiny), str(projector)), LoadOptions(threads=1), never)
    try:
        request = GenerateRequest(f"{engine.facts.image_marker}hello", images=(b"film",))
        with pytest.raises(EngineError, match="is damaged"):
            run(engine, request)
    finally:
        engine.close()
    assert not ran.exists()


def test_nobody_else_may_ask_it(engine: LlamaCpp) -> None:
    url = f"http://{engine._client.address}/completion"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, b'{"prompt": "hello"}', timeout=SECONDS)
    caught.value.close()
    assert caught.value.code == 401


def test_its_own_template_is_not_run(tmp_path: Path) -> None:
    """One that llama.cpp's own Jinja cannot read kept the model from loading."""
    path = tmp_path / "bad.gguf"
    path.write_bytes(tiny_llama(metadata={"tokenizer.chat_template": "{% if %}"}).to_bytes())
    engine = load(path)
    engine.close()


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "junk.gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(EngineError, match="cannot load this model"):
        load(path)


def test_a_load_that_nobody_waits_for(tiny: Path) -> None:
    with pytest.raises(RequestCancelled):
        LlamaCpp(ModelFiles(str(tiny)), LoadOptions(), lambda: True)


def test_killed_in_the_middle_of_an_answer(endless: Path) -> None:
    engine = load(endless, context_tokens=32768)
    try:
        events = engine.generate(GenerateRequest("hello w", GREEDY), never)
        next(events)
        os.kill(engine._child._process.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="ended by SIGKILL; ask again"):
            list(events)
        assert not engine.alive()
        assert engine.resident_bytes() == 0
        with pytest.raises(EngineFailed, match="SIGKILL"):
            list(engine.generate(GenerateRequest("hello"), never))
    finally:
        engine.close()


def test_an_answer_that_nobody_reads_stops(endless: Path) -> None:
    """Whole, it takes minutes; the next request waits for none of it."""
    engine = load(endless, context_tokens=65536)
    gone = threading.Event()
    try:
        closed = engine.generate(GenerateRequest("hello w", GREEDY), never)
        next(closed)
        closed.close()
        cancelled = engine.generate(GenerateRequest("hello w", GREEDY), gone.is_set)
        next(cancelled)
        gone.set()
        with pytest.raises(RequestCancelled):
            list(cancelled)
        assert run(engine, GenerateRequest("hello", max_tokens=1))[2].completion_tokens == 1
    finally:
        engine.close()


PARENT = """
import sys, time
from transom_api.engine import LoadOptions, ModelFiles
from transom_server.engines.llama_cpp import LlamaCpp
engine = LlamaCpp(ModelFiles(sys.argv[1]), LoadOptions(threads=1), lambda: False)
print(engine._child._process.pid, flush=True)
time.sleep(1000)
"""


def test_it_dies_with_its_parent(tiny: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tiny)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + SECONDS
    while is_running(child):
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
