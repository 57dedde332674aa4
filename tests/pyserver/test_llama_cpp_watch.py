"""pytest tests/pyserver/test_llama_cpp_watch.py: a llama.cpp that hangs, and one that ends."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.tiny_gguf import tiny_llama
from transom_api.engine import (
    EngineFailed,
    GenerateRequest,
    LoadOptions,
    ModelFiles,
    Sampling,
    SchemaRefused,
)
from transom_server.engines import llama_cpp_watch
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.llama_cpp_watch import GrammarWatch, Prompts, Watch

SECONDS = 30
ENDLESS = GenerateRequest("hello w", Sampling(temperature=0))


def never() -> bool:
    return False


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LlamaCpp]:
    """These random weights go on for thousands of tokens."""
    path = tmp_path / "endless.gguf"
    path.write_bytes(tiny_llama(seed=1, metadata={"llama.context_length": 65536}).to_bytes())
    options = LoadOptions(threads=1, context_tokens=32768, parallel=1)
    engine = LlamaCpp(ModelFiles(str(path)), options, never)
    yield engine
    engine.close()


def stop(engine: LlamaCpp, number: signal.Signals) -> None:
    os.kill(engine._child._process.pid, number)


def test_one_that_hangs_is_ended_and_says_so(
    engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also for whoever waits for the place of one that was given up."""
    events = engine.generate(ENDLESS, never)
    next(events)
    stop(engine, signal.SIGSTOP)
    monkeypatch.setattr(llama_cpp_watch, "PATIENCE_SECONDS", 1.0)
    engine._watch._next = 0
    events.close()
    with pytest.raises(EngineFailed, match="process did not answer for 1 seconds and was ended"):
        list(engine.generate(ENDLESS, never))
    assert not engine.alive()
    for listener in engine._child._listeners:
        listener.join(SECONDS)
    assert "did not answer for 1 seconds" in caplog.text


def test_one_that_computes_is_left_alone(engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Semaphore(0)
    responds = engine._client.responds

    def counted(seconds: float) -> bool:
        answer = responds(seconds)
        asked.release()
        return answer

    monkeypatch.setattr(llama_cpp_watch, "LOOK_SECONDS", 0.0)
    engine._watch = Watch(counted, engine._child.end)
    events = engine.generate(ENDLESS, never)
    for _ in range(3):
        while not asked.acquire(blocking=False):
            next(events)
    events.close()
    assert engine.alive()


def test_an_end_is_in_the_log_before_anybody_asks(
    engine: LlamaCpp, caplog: pytest.LogCaptureFixture
) -> None:
    pid = engine._child._process.pid
    stop(engine, signal.SIGSEGV)
    for listener in engine._child._listeners:
        listener.join(SECONDS)
    assert caplog.record_tuples == [
        (
            "transom_server.engines.llama_cpp_process",
            logging.ERROR,
            f"llama.cpp (process {pid}) was ended by SIGSEGV",
        )
    ]


def test_an_end_that_was_wanted_is_no_news(
    engine: LlamaCpp, caplog: pytest.LogCaptureFixture
) -> None:
    engine.close()
    assert caplog.record_tuples == []


def test_an_answer_that_no_step_of_comes_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A grammar can be such that the next token is never found; nobody else gets one meanwhile."""
    ended: list[str] = []
    watch = GrammarWatch(ended.append, Prompts())
    looked = watch.over(lambda: False)
    assert not looked()
    assert (ended, watch.has_ended) == ([], False)
    monkeypatch.setattr(llama_cpp_watch, "GRAMMAR_STEP_SECONDS", -1.0)
    assert not looked()
    assert ended == ["took too long over a grammar and was ended"]
    assert watch.has_ended


def test_a_step_that_reads_a_prompt_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also another request's: both are computed in one step."""
    monkeypatch.setattr(llama_cpp_watch, "GRAMMAR_STEP_SECONDS", -1.0)
    ended: list[str] = []
    prompts = Prompts()
    own, other = prompts.begin(), prompts.begin()
    watch = GrammarWatch(ended.append, prompts)
    looked = watch.over(lambda: False)
    looked()
    prompts.end(own)
    prompts.end(own)
    looked()
    assert ended == []
    prompts.end(other)
    looked()
    assert len(ended) == 1


def test_who_comes_while_a_step_is_computed_does_not_prolong_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(llama_cpp_watch, "GRAMMAR_STEP_SECONDS", -1.0)
    monkeypatch.setattr(llama_cpp_watch, "SOON_SECONDS", -1.0)
    ended: list[str] = []
    prompts = Prompts()
    watch = GrammarWatch(ended.append, prompts)
    prompts.begin()
    watch.over(lambda: False)()
    assert len(ended) == 1


# Each letter is read in two ways more: 2^n ways for n letters.
AMBIGUOUS = """root ::= a
a ::= [a-z ] | [a-z ] a b | [a-z ] b a
b ::= [a-z ] | [a-z ] a b | [a-z ] b a
"""


def test_an_ambiguous_grammar_is_told_to_whoever_sent_it(
    engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp_watch, "GRAMMAR_STEP_SECONDS", 1.0)
    with pytest.raises(SchemaRefused, match=r"grammar cannot be used: .* json_schema"):
        list(engine.generate(replace(ENDLESS, grammar=AMBIGUOUS), never))
    for listener in engine._child._listeners:
        listener.join(SECONDS)
    # Whoever asks next has it started anew (`loaded.py`).
    assert not engine.alive()


def test_of_several_grammars_none_is_accused(
    engine: LlamaCpp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp_watch, "GRAMMAR_STEP_SECONDS", 1.0)
    engine._held.add(GrammarWatch(lambda reason: None, Prompts()))
    with pytest.raises(EngineFailed, match="process took too long over a grammar and was ended"):
        list(engine.generate(replace(ENDLESS, grammar=AMBIGUOUS), never))


def test_who_goes_away_from_a_grammar_is_let_go_at_the_next_step() -> None:
    gone = [False]
    watch = GrammarWatch(lambda reason: None, Prompts())
    looked = watch.over(lambda: gone[0])
    watch.heard()
    assert not looked()
    gone[0] = True
    assert not looked()  # the step that is computed may be the one that never comes
    watch.heard()
    assert looked()
