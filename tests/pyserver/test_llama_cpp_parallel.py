"""pytest tests/pyserver/test_llama_cpp_parallel.py: several requests of one child at once, and
every field of a request, on a tiny random llama."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tiny_gguf import tiny_llama
from transom_api.engine import (
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

GREEDY = Sampling(temperature=0)
HOT = Sampling(temperature=5, top_k=0, top_p=1, seed=7)


def never() -> bool:
    return False


def load(path: Path, **options: Any) -> LlamaCpp:
    return LlamaCpp(ModelFiles(str(path)), LoadOptions(threads=1, **options), never)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These random weights go on for thousands of tokens."""
    path = tmp_path_factory.mktemp("endless") / "endless.gguf"
    path.write_bytes(tiny_llama(seed=1, metadata={"llama.context_length": 65536}).to_bytes())
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    path.write_bytes(tiny_llama().to_bytes())
    engine = load(path)
    yield engine
    engine.close()


def run(engine: LlamaCpp, request: GenerateRequest) -> tuple[bytes, list[int], Done]:
    *tokens, done = engine.generate(request, never)
    assert isinstance(done, Done)
    pieces = [event for event in tokens if isinstance(event, TokenEvent)]
    ids = [token for event in pieces for token in event.token_ids]
    return b"".join(event.text for event in pieces), ids, done


def test_eight_at_once_say_what_each_says_alone(engine: LlamaCpp) -> None:
    assert engine.facts.parallel == 4
    requests = [
        GenerateRequest(f"hello {number} w" * (number + 1), GREEDY, max_tokens=60)
        for number in range(8)
    ]
    alone = [run(engine, request)[1] for request in requests]
    assert len({tuple(ids) for ids in alone}) > 4
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda request: run(engine, request)[1], requests)) == alone


def test_each_has_the_whole_context_for_itself(endless: Path) -> None:
    engine = load(endless, context_tokens=512)
    try:
        with ThreadPoolExecutor(4) as pool:
            request = GenerateRequest("hello w", GREEDY)
            found = list(pool.map(lambda _: run(engine, request), range(4)))
    finally:
        engine.close()
    ends = {(done.finish_reason, done.completion_tokens) for _, _, done in found}
    assert ends == {("length", 510)}


def test_those_that_nobody_waits_for_leave_their_slots(endless: Path) -> None:
    engine = load(endless, context_tokens=4096)
    gone = threading.Event()
    try:
        answers = [
            engine.generate(GenerateRequest(f"hello w {number}", GREEDY), gone.is_set)
            for number in range(4)
        ]
        for answer in answers:
            next(answer)
        answers.pop().close()
        assert run(engine, GenerateRequest("hello", GREEDY, max_tokens=1))[2].completion_tokens == 1
        gone.set()
        for answer in answers:
            with pytest.raises(RequestCancelled):
                list(answer)
        with ThreadPoolExecutor(4) as pool:
            short = GenerateRequest("hello", GREEDY, max_tokens=3)
            assert len(list(pool.map(lambda _: run(engine, short), range(8)))) == 8
    finally:
        engine.close()


def test_whoever_waits_for_a_slot_may_go(endless: Path) -> None:
    engine = load(endless, context_tokens=4096, parallel=1)
    try:
        busy = engine.generate(GenerateRequest("hello w", GREEDY), never)
        next(busy)
        with pytest.raises(RequestCancelled):
            list(engine.generate(GenerateRequest("hello"), lambda: True))
        busy.close()
    finally:
        engine.close()


def test_a_killed_child_fails_all_its_requests(endless: Path) -> None:
    engine = load(endless, context_tokens=4096)
    try:
        answers = [engine.generate(GenerateRequest("hello w", GREEDY), never) for _ in range(4)]
        for answer in answers:
            next(answer)
        os.kill(engine._child._process.pid, signal.SIGKILL)
        for answer in answers:
            with pytest.raises(EngineFailed, match="ended by SIGKILL; ask again"):
                list(answer)
    finally:
        engine.close()


def choices_of(engine: LlamaCpp, request: GenerateRequest) -> tuple[dict[int, list[int]], int]:
    """Token ids of each choice, and how many ends there were."""
    ids: dict[int, list[int]] = {}
    ends = 0
    for event in engine.generate(request, never):
        if isinstance(event, TokenEvent):
            ids.setdefault(event.choice, []).extend(event.token_ids)
        else:
            ends += 1
    return ids, ends


def test_choices(engine: LlamaCpp) -> None:
    """Six, where four fit at once; the first is what one alone would be."""
    request = GenerateRequest("hello", HOT, max_tokens=8, choices=6)
    ids, ends = choices_of(engine, request)
    assert (sorted(ids), ends) == ([0, 1, 2, 3, 4, 5], 6)
    assert len({tuple(each) for each in ids.values()}) == 6
    assert choices_of(engine, request)[0] == ids
    assert run(engine, GenerateRequest("hello", HOT, max_tokens=8))[1] == ids[0]


def test_choices_beside_other_requests(engine: LlamaCpp) -> None:
    many = GenerateRequest("hello", HOT, max_tokens=20, choices=3)
    one = GenerateRequest("hello w", GREEDY, max_tokens=20)
    expected = choices_of(engine, many)[0], run(engine, one)[1]
    with ThreadPoolExecutor(6) as pool:
        choices = [pool.submit(choices_of, engine, many) for _ in range(3)]
        singles = [pool.submit(run, engine, one) for _ in range(3)]
        assert all(future.result()[1] == expected[1] for future in singles)
        assert all(sorted(future.result()[0]) == [0, 1, 2] for future in choices)


def test_logprobs(engine: LlamaCpp) -> None:
    request = GenerateRequest("hello", GREEDY, max_tokens=3, logprobs=4)
    events = [e for e in engine.generate(request, never) if isinstance(e, TokenEvent)]
    rows = [row for event in events for row in event.logprobs]
    assert len(rows) == 3
    for row in rows:
        assert [each.logprob for each in row.top] == sorted(
            (each.logprob for each in row.top), reverse=True
        )
        assert (len(row.top), row.top[0]) == (4, row.chosen)
        assert -20 < row.chosen.logprob <= 0
    alone = GenerateRequest("hello", GREEDY, max_tokens=1, logprobs=0)
    (event, _) = engine.generate(alone, never)
    assert isinstance(event, TokenEvent)
    assert event.logprobs[0].top == ()
    assert event.logprobs[0].chosen == rows[0].chosen


def test_the_text_that_ended_it_is_told(engine: LlamaCpp) -> None:
    whole = run(engine, GenerateRequest("hello", GREEDY, max_tokens=40))[0].decode()
    stop = next(char for char in whole[3:] if char.isascii() and char not in whole[:3])
    done = run(engine, GenerateRequest("hello", GREEDY, max_tokens=40, stop=("zzz", stop)))[2]
    assert (done.finish_reason, done.stop) == ("stop", stop)
    assert run(engine, GenerateRequest("hello", GREEDY, max_tokens=1))[2].stop is None


def test_tokens_that_end_it(engine: LlamaCpp) -> None:
    text, ids, _ = run(engine, GenerateRequest("hello", GREEDY, max_tokens=40))
    stop = ids[5]
    first = ids.index(stop)
    request = GenerateRequest("hello", GREEDY, max_tokens=40, stop_token_ids=(stop,))
    cut, _, done = run(engine, request)
    assert (done.finish_reason, done.completion_tokens) == ("stop", first + 1)
    assert text.startswith(cut)
    assert engine.detokenize(ids[:first]).encode() == cut or b"\xef\xbf\xbd" in cut


def test_bias_and_ignored_ends(engine: LlamaCpp) -> None:
    token = engine.tokenize("hello")[0]
    biased = GenerateRequest("w", GREEDY, max_tokens=5, logit_bias=((token, 100.0),))
    assert run(engine, biased)[1] == [token] * 5
    greedy = run(engine, GenerateRequest("w", GREEDY, max_tokens=1))[1][0]
    never_it = GenerateRequest("w", GREEDY, max_tokens=9, logit_bias=((greedy, -float("inf")),))
    assert greedy not in run(engine, never_it)[1]
    end = engine.tokenize(engine.facts.eos)[0]
    ending = GenerateRequest("w", GREEDY, max_tokens=5, logit_bias=((end, 100.0),))
    assert run(engine, ending)[2].completion_tokens == 1
    going_on = GenerateRequest("w", GREEDY, max_tokens=5, ignore_eos=True)
    assert run(engine, going_on)[2].completion_tokens == 5


def test_a_grammar_holds(engine: LlamaCpp) -> None:
    text, _, _ = run(engine, GenerateRequest("hello", HOT, grammar='root ::= "yes" | "no"'))
    assert text in (b"yes", b"no")
    for _ in range(6):  # more than there are slots
        with pytest.raises(SchemaRefused, match="grammar cannot be used"):
            run(engine, GenerateRequest("hello", grammar="root ::= ("))


def test_an_impossible_schema_among_good_ones(engine: LlamaCpp) -> None:
    good = GenerateRequest("hello", GREEDY, json_schema={"enum": ["yes", "no"]})
    bad = GenerateRequest("hello", GREEDY, json_schema={"$ref": "#/nowhere"})

    def ask(number: int) -> bool:
        if number % 2:
            with pytest.raises(SchemaRefused, match="nowhere"):
                run(engine, bad)
            return True
        return run(engine, good)[0].decode() in ('"yes"', '"no"')

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(16)))


def test_a_prompt_is_remembered_unless_it_shall_not_be(engine: LlamaCpp) -> None:
    prompt = "hello w" * 20
    run(engine, GenerateRequest(prompt, GREEDY, max_tokens=1))
    again = run(engine, GenerateRequest(prompt, GREEDY, max_tokens=1))[2]
    assert (again.cached_tokens, again.prompt_tokens) == (39, 40)
    forgets = GenerateRequest(prompt, GREEDY, max_tokens=1, cache_prompt=False)
    assert run(engine, forgets)[2].cached_tokens == 0


def test_tokens_and_texts(engine: LlamaCpp) -> None:
    ids = engine.tokenize("<|im_start|>hello w")
    assert len(ids) == 3
    assert engine.detokenize(ids) == "<|im_start|>hello w"
    assert len(engine.tokenize("<|im_start|>hello w", special=False)) > 3


def test_keys_and_values_of_another_type(endless: Path) -> None:
    engine = load(endless, context_tokens=2048, kv_type="bf16")
    try:
        done = run(engine, GenerateRequest("hello w", GREEDY, max_tokens=30))[2]
        assert done.completion_tokens == 30
    finally:
        engine.close()


def test_a_context_beyond_the_training_is_told(engine: LlamaCpp) -> None:
    with pytest.raises(EngineError, match=r"holds 256, all that this model was trained for"):
        run(engine, GenerateRequest("hello" * 300))
