"""Thinking told from answers, however the answer is cut."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_api.deltas import Content, Delta, Reasoning
from transom_api.reasoning import MARKERS, ThinkingReader, closer_of
from transom_api.tools import GENERIC, Offer
from transom_api.tools.hermes import HERMES


def read(pieces: Sequence[str], closer: str | None = None) -> tuple[str, str]:
    """Reasoning and content."""
    answer = GENERIC.reader(0, Offer(frozenset(), lambda: "id"))
    reader = ThinkingReader(0, answer, closer)
    deltas: list[Delta] = []
    for piece in pieces:
        deltas += reader.feed(piece)
    deltas += reader.finish()
    thought = "".join(delta.text for delta in deltas if isinstance(delta, Reasoning))
    said = "".join(delta.text for delta in deltas if isinstance(delta, Content))
    assert all(isinstance(delta, Content | Reasoning) and delta.text for delta in deltas)
    return thought, said


CASES = [
    ("<think>\nHm.\n\nSo < 3.\n</think>\n\nFour.", None, "Hm.\n\nSo < 3.", "Four."),
    ("\n<think>Hm</think>Four </think>", None, "Hm", "Four </think>"),
    ("<think></think>Four", None, "", "Four"),
    ("Hm.\n</think>\nFour.", "</think>", "Hm.", "Four."),
    ("[THINK]Hé 🚂[/THINK]Four", None, "Hé 🚂", "Four"),
    ("<|START_THINKING|>a<|END_THINKING|>b", None, "a", "b"),
    ("<think>never ends </thin", None, "never ends </thin", ""),
    ("<think> a </think", None, "a </think", ""),
    ("<thin ice", None, "", "<thin ice"),
    ("  <thi", None, "", "  <thi"),
    ("I say <think> aloud </think>", None, "", "I say <think> aloud </think>"),
    ("\n\n plain \n", None, "", "\n\n plain \n"),
    ("", None, "", ""),
    ("<think>a</other></think><<", None, "a</other>", "<<"),
]


@pytest.mark.parametrize(("text", "closer", "thought", "said"), CASES)
def test_thinking_is_told_from_the_answer(
    text: str, closer: str | None, thought: str, said: str
) -> None:
    assert read([text], closer) == (thought, said)
    assert read(list(text), closer) == (thought, said)
    for at in range(1, len(text)):
        assert read([text[:at], text[at:]], closer) == (thought, said), at


@given(
    st.lists(st.sampled_from([*MARKERS, *MARKERS.values(), " ", "\n", "a", "<", "</", "é"])),
    st.sampled_from([None, "</think>"]),
    st.lists(st.integers(min_value=1, max_value=12)),
)
def test_any_text_reads_the_same_however_cut(
    words: list[str], closer: str | None, sizes: list[int]
) -> None:
    text = "".join(words)
    pieces, at = [], 0
    for size in [*sizes, len(text)]:
        pieces.append(text[at : at + size])
        at += size
    assert read(pieces, closer) == read([text], closer)


@pytest.mark.parametrize("text", ["{} <think>a</think>b", "<think>{}a</think>{}b", "a{}b", "{}"])
def test_white_space_without_end_is_not_held_for_ever(text: str) -> None:
    text = text.replace("{}", " \n" * 500)
    whole = read([text])
    assert read(list(text)) == whole
    assert "".join(whole).split() == text.replace("<think>", "").replace(
        "</think>", ""
    ).split() or (text.startswith(" ") and whole == ("", text))


def test_the_end_of_a_prompt_may_open_it() -> None:
    assert closer_of("<|im_start|>assistant\n<think>\n") == "</think>"
    assert closer_of("<|im_start|>assistant\n<think>\n\n</think>\n\n") is None


def test_calls_follow_thinking() -> None:
    reader = ThinkingReader(0, HERMES.reader(0, Offer(frozenset({"f"}), lambda: "id")))
    deltas = [*reader.feed('<think>a</think>\n<tool_call>{"name": "f"}</tool_call>')]
    kinds = [type(delta).__name__ for delta in [*deltas, *reader.finish()]]
    assert kinds == ["Reasoning", "CallBegins", "CallArguments"]
