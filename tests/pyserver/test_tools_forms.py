"""Every family's calls, read out of an answer however it is cut."""

import json
from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_api.deltas import CallArguments, CallBegins, Content, Delta, Reasoning
from transom_api.tools import GENERIC, GPT_OSS, MISTRAL, Form, Offer
from transom_api.tools.deepseek import DEEPSEEK
from transom_api.tools.hermes import HERMES
from transom_api.tools.llama import LLAMA
from transom_api.tools.phi import PHI
from transom_api.tools.pythonic import PYTHONIC
from transom_api.tools.qwen_coder import QWEN_CODER

NAMES = frozenset({"weather", "add", "get-time", "ns.f"})
KINDS = {("add", "city"): "string"}
PARIS = '{"city": "Paris"}'
# Braces, quotes, markers and letters of other alphabets inside of strings.
HARD = (
    '{"q": "} ] \\" </tool_call> <|call|> ``` é 🚂 \\u00e9", '
    '"deep": {"a": [1, {"b": [[]]}], "n": null}}'
)
DS_OPEN, DS_CALL, DS_SEP = "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"  # noqa: RUF001
DS_END, DS_CLOSE = "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"  # noqa: RUF001


def read(
    form: Form, pieces: Sequence[str], *, parallel: bool = True, names: frozenset[str] = NAMES
) -> list[str]:
    """What comes out, folded: C content, R reasoning, name and arguments of calls."""
    numbers = count()
    reader = form.reader(0, Offer(names, lambda: f"id{next(numbers)}", parallel, KINDS))
    deltas: list[Delta] = []
    for piece in pieces:
        deltas += reader.feed(piece)
    deltas += reader.finish()
    return fold(deltas)


def fold(deltas: Sequence[Delta]) -> list[str]:
    found: list[str] = []
    kinds: list[object] = []
    calls = 0
    for delta in deltas:
        if isinstance(delta, CallBegins):
            assert (delta.call, delta.id) == (calls, f"id{calls}")
            calls += 1
            kind: object = ("call", delta.call)
            text = f"{delta.name}("
        elif isinstance(delta, CallArguments):
            assert delta.call == calls - 1
            kind, text = ("call", delta.call), delta.text
        else:
            assert isinstance(delta, Content | Reasoning)
            kind, text = (type(delta), 0), delta.text
            assert text
        if kinds and kinds[-1] == kind:
            found[-1] += text
        else:
            start = {Content: "C ", Reasoning: "R "}.get(type(delta), "")
            found.append(start + text)
            kinds.append(kind)
    return found


def hermes(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def ds(name: str, arguments: str) -> str:
    return f"{DS_CALL}function{DS_SEP}{name}\n```json\n{arguments}\n```{DS_END}"


def oss(name: str, arguments: str) -> str:
    return (
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}<|call|>"
    )


def coder(name: str, **values: str) -> str:
    rows = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{rows}</function>\n</tool_call>"


def pair(name: str, arguments: str, key: str = "arguments") -> str:
    return f'{{"name": "{name}", "{key}": {arguments}}}'


CALLS: list[tuple[Form, str, list[str]]] = [
    (HERMES, hermes("weather", PARIS), [f"weather({PARIS}"]),
    (HERMES, hermes("add", HARD), [f"add({HARD}"]),
    (
        HERMES,
        f"Let me see.\n\n{hermes('weather', PARIS)}\n{hermes('add', '{}')}\n",
        ["C Let me see.", f"weather({PARIS}", "add({}"],
    ),
    (HERMES, f"{hermes('add', '{}')}\n\nDone.", ["add({}", "C \n\nDone."]),
    (HERMES, hermes("get-time", '"{\\"a\\": 1}"'), ['get-time({"a": 1}']),
    (HERMES, '<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call>', ['add({"a": 1}']),
    (HERMES, '<tool_call>{"name": "add"}</tool_call>', ["add({}"]),
    (
        HERMES,
        '<tool_call>{"id": "x1", "type": "function", "function": {"name": "add", '
        '"arguments": {"a": 1}}}</tool_call>',
        ['add({"a": 1}'],
    ),
    (
        HERMES,
        f"<tool_call>\n{pair('add', PARIS)}\n{pair('weather', PARIS)}\n</tool_call>",
        [f"add({PARIS}", f"weather({PARIS}"],
    ),
    (LLAMA, pair("weather", PARIS, "parameters"), [f"weather({PARIS}"]),
    (LLAMA, "\n" + pair("add", HARD, "parameters"), [f"add({HARD}"]),
    (LLAMA, "<|python_tag|>" + pair("weather", PARIS, "parameters"), [f"weather({PARIS}"]),
    (
        LLAMA,
        f"{pair('add', PARIS, 'parameters')}; {pair('weather', PARIS, 'parameters')}<|eom_id|>",
        [f"add({PARIS}", f"weather({PARIS}"],
    ),
    (
        MISTRAL,
        f"[TOOL_CALLS] [{pair('weather', PARIS)}, "
        f'{{"name": "add", "arguments": {HARD}, "id": "abcDEF123"}}]',
        [f"weather({PARIS}", f"add({HARD}"],
    ),
    (
        MISTRAL,
        f"Sure.[TOOL_CALLS]weather[ARGS]{PARIS}[TOOL_CALLS]add[CALL_ID]abcDEF123[ARGS]{HARD}",
        ["C Sure.", f"weather({PARIS}", f"add({HARD}"],
    ),
    (
        PHI,
        f"<|tool_call|>[{pair('weather', PARIS)},{pair('add', HARD)}]<|/tool_call|>",
        [f"weather({PARIS}", f"add({HARD}"],
    ),
    (
        DEEPSEEK,
        f"Well.{DS_OPEN}{ds('weather', PARIS)}\n{ds('add', HARD)}{DS_CLOSE}",
        ["C Well.", f"weather({PARIS}", f"add({HARD}"],
    ),
    (
        DEEPSEEK,
        f"{DS_OPEN}{DS_CALL}weather{DS_SEP}{PARIS}{DS_END}{DS_CALL}add{DS_SEP}{HARD}{DS_END}{DS_CLOSE}",
        [f"weather({PARIS}", f"add({HARD}"],
    ),
    (GPT_OSS, "<|channel|>final<|message|>Hello.<|return|>", ["C Hello."]),
    (
        GPT_OSS,
        "<|channel|>analysis<|message|>Hm < 3.<|end|><|start|>assistant<|channel|>commentary"
        f"<|message|>I look.<|end|><|start|>assistant{oss('weather', PARIS)}",
        ["R Hm < 3.", "C I look.", f"weather({PARIS}"],
    ),
    (
        GPT_OSS,
        f"<|start|>assistant to=functions.ns.f<|channel|>commentary json<|message|>{HARD}<|call|>",
        [f"ns.f({HARD}"],
    ),
    (PYTHONIC, '[weather(city="Paris")]', [f"weather({PARIS}"]),
    (
        PYTHONIC,
        "[weather(city='it\\'s', days=[1, 2.5, {'a': (True, None)}]), add()]",
        ['weather({"city": "it\'s", "days": [1, 2.5, {"a": [true, null]}]}', "add({}"],
    ),
    (
        PYTHONIC,
        'I look.\n```tool_code\nprint(default_api.weather(city="Paris, ) \']", n=-1))\n```\nDone.',
        ["C I look.", 'weather({"city": "Paris, ) \']", "n": -1}', "C \nDone."],
    ),
    (
        QWEN_CODER,
        "Ok.\n\n" + coder("add", a="1", city="5", b="<x>\n</y>") + "\n" + coder("weather"),
        ["C Ok.", 'add({"a": 1, "city": "5", "b": "<x>\\n</y>"}', "weather({}"],
    ),
    (QWEN_CODER, "<function=add>\n</function> end", ["add({}", "C  end"]),
    (GENERIC, f'{{"tool_calls": [{pair("weather", PARIS)}]}}', [f"weather({PARIS}"]),
    (
        GENERIC,
        f'```json\n{{ "tool_calls" : [ {pair("weather", PARIS)} ,{pair("add", HARD)}] }}\n```\n',
        [f"weather({PARIS}", f"add({HARD}"],
    ),
    (GENERIC, pair("weather", PARIS), [f"weather({PARIS}"]),
]

# Not one word of these may be lost, and none is a call.
WORDS: list[tuple[Form, str]] = [
    (HERMES, "Plain words.\n\n"),
    (HERMES, "  \n "),
    (HERMES, "1 < 2 and <tool_ call> <tool_cal"),
    (HERMES, "<tool_call>not JSON</tool_call>"),
    (HERMES, "<tool_call>"),
    (HERMES, 'So: <tool_call>\n{"name": "weather", "argu'),
    (HERMES, "<tool_call>{'name': 'add'}</tool_call>"),
    (HERMES, hermes("unknown", PARIS)),
    (HERMES, '<tool_call>{"name": "add", "arguments": [1]}</tool_call>'),
    (HERMES, '<tool_call>{"name": 3, "arguments": {}}</tool_call>'),
    (HERMES, '<tool_call>{"arguments": {"a": 1}}</tool_call>'),
    (HERMES, "<tool_call></tool_call>"),
    (HERMES, "<tool_call><tool_call><tool_call>"),
    (LLAMA, '{"answer": 42}'),
    (LLAMA, '{"name": "Jo", "age": 4}'),
    (LLAMA, "[1, 2]"),
    (LLAMA, "{"),
    (MISTRAL, "[TOOL_CALLS] none"),
    (MISTRAL, "[TOOL_CALLS]unknown[ARGS]{}"),
    (MISTRAL, "[TOOL_CALLS][]"),
    (PHI, "<|tool_call|>[]<|/tool_call|>"),
    (DEEPSEEK, f"{DS_OPEN}oh"),
    (DEEPSEEK, f"{DS_OPEN}{ds('unknown', PARIS)}"),
    (DEEPSEEK, f"{DS_OPEN}{DS_CALL}{'x' * 300}"),
    (GPT_OSS, "<|channel|>commentary to=functions.unknown<|message|>{}"),
    (GPT_OSS, "<|channel|>final"),
    (PYTHONIC, "[1] see (a=1)"),
    (PYTHONIC, "[weather(1)]"),
    (PYTHONIC, "[unknown(a=1)]"),
    (PYTHONIC, "[weather(city=Paris)]"),
    (PYTHONIC, "[weather(city='Par"),
    (QWEN_CODER, "<tool_call><function=unknown><parameter=a>1</parameter>"),
    (QWEN_CODER, "<tool_call> none"),
    (QWEN_CODER, "<function=add><parameter"),
    (GENERIC, '{"tool_calls": []}'),
    (GENERIC, '{"tools": 1}'),
    (GENERIC, '{"tool_calls": "none"}'),
    (GENERIC, '```json\n{"a": 1}\n```'),
    (GENERIC, '{"tool_calls": [{"name": "unknown", "arguments": {}}]}'),
]

EVERYTHING = [(form, text) for form, text, _ in CALLS] + WORDS


@pytest.mark.parametrize(("form", "text", "expected"), CALLS)
def test_calls_are_read(form: Form, text: str, expected: list[str]) -> None:
    assert read(form, [text]) == expected


@pytest.mark.parametrize(("form", "text"), WORDS)
def test_what_is_no_call_is_content(form: Form, text: str) -> None:
    assert read(form, [text]) == [f"C {text}"]


@pytest.mark.parametrize(("form", "text"), EVERYTHING)
def test_two_pieces_and_single_characters_read_the_same(form: Form, text: str) -> None:
    whole = read(form, [text])
    assert read(form, list(text)) == whole
    for at in range(1, len(text)):
        assert read(form, [text[:at], text[at:]]) == whole, (text[:at], text[at:])


@given(which=st.sampled_from(EVERYTHING), seed=st.lists(st.integers(min_value=1, max_value=9)))
def test_any_cuts_read_the_same(which: tuple[Form, str], seed: list[int]) -> None:
    form, text = which
    pieces, at = [], 0
    for size in [*seed, len(text)]:
        pieces.append(text[at : at + size])
        at += size
    assert read(form, pieces) == read(form, [text])


@given(st.sampled_from(EVERYTHING), st.integers(min_value=0), st.sampled_from([*'{}[]",x<|', "é"]))
def test_a_change_anywhere_reads_the_same_however_cut(
    which: tuple[Form, str], at: int, char: str
) -> None:
    form, text = which
    at %= len(text)
    broken = text[:at] + char + text[at + 1 :]
    assert read(form, list(broken)) == read(form, [broken])


@given(st.sampled_from(EVERYTHING), st.integers(min_value=0))
def test_an_answer_that_breaks_off_loses_nothing_but_layout(
    which: tuple[Form, str], at: int
) -> None:
    form, text = which
    at %= len(text) + 1
    assert read(form, list(text[:at])) == read(form, [text[:at]])


@pytest.mark.parametrize(
    ("form", "text"), [(form, text) for form, text, calls in CALLS if len(calls) > 1]
)
def test_one_call_where_only_one_is_allowed(form: Form, text: str) -> None:
    called = [
        piece for piece in read(form, [text], parallel=False) if piece[:2] not in ("C ", "R ")
    ]
    assert len(called) <= 1
    assert read(form, list(text), parallel=False) == read(form, [text], parallel=False)


def test_arguments_stream_while_they_come() -> None:
    reader = HERMES.reader(0, Offer(NAMES, lambda: "id"))
    assert reader.feed('<tool_call>{"name": "add", "arguments": {"a": "x') == [
        CallBegins(0, 0, "id", "add"),
        CallArguments(0, 0, '{"a": "x'),
    ]
    assert reader.feed("yz") == [CallArguments(0, 0, "yz")]


def test_broken_arguments_are_the_clients_to_judge() -> None:
    broken = '<tool_call>{"name": "add", "arguments": {"a": oh} </tool_call> after'
    assert read(HERMES, [broken]) == ['add({"a": oh} ', "C  after"]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (PYTHONIC, "[add(a=1, b='x", ['add({"a": 1', "C  b='x"]),
        (
            QWEN_CODER,
            "<function=add><parameter=a>1</parameter><parameter=b>2",
            ['add({"a": 1', "C <parameter=b>2"],
        ),
    ],
)
def test_a_call_that_breaks_off_is_not_closed(form: Form, text: str, expected: list[str]) -> None:
    assert read(form, [text]) == expected


def test_content_is_held_back_no_longer_than_needed() -> None:
    reader = HERMES.reader(0, Offer(NAMES, lambda: "id"))
    assert reader.feed("a <tool") == [Content(0, "a")]
    assert reader.feed("s>") == [Content(0, " <tools>")]


def test_arguments_are_json() -> None:
    for form, text, calls in CALLS:
        for call in calls:
            if call[:2] not in ("C ", "R "):
                json.loads(call.partition("(")[2]), (form.name, text)
