"""Modelfiles: Ollama's grammar, each refusal with its line, and `parse(write(m)) == m`."""

import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transom_models.modelfile import (
    PARAMETERS,
    InvalidParameter,
    Modelfile,
    ModelfileError,
    check_parameters,
    decode_modelfile,
    params_json,
    parse_modelfile,
    read_params,
    unknown_params,
    write_modelfile,
)
from transom_models.modelfile.modelfile import (
    DIRECTIVES,
    MAX_LICENSES,
    MAX_MESSAGES,
    MAX_MODELFILE_CHARS,
)
from transom_models.modelfile.parameters import MAX_PARAMS_BYTES, MAX_STOP_CHARS, MAX_STOPS

WHOLE = '''# A fine-tune of ours.
from ./weights/base.gguf
ADAPTER first.gguf
Adapter "second lora.gguf"
PLATFORM webgpu
platform Native
REQUIRES v0.14.0

PARAMETER temperature 0.5
PARAMETER num_ctx 4096
parameter use_mmap TRUE
PARAMETER stop <|im_end|>
PARAMETER stop "### User: "
TEMPLATE """{{ if .System }}{{ .System }}
{{ end }}{{ .Prompt }}"""   
SYSTEM """
You are "short".
"""
MESSAGE user Is Toronto in Canada?
MESSAGE assistant yes
LICENSE MIT
LICENSE """
Second licence
"""
'''


def test_every_directive_is_read() -> None:
    assert parse_modelfile(WHOLE) == Modelfile(
        base="./weights/base.gguf",
        adapters=("first.gguf", "second lora.gguf"),
        template="{{ if .System }}{{ .System }}\n{{ end }}{{ .Prompt }}",
        system='\nYou are "short".\n',
        parameters={
            "temperature": 0.5,
            "num_ctx": 4096,
            "use_mmap": True,
            "stop": ("<|im_end|>", "### User: "),
        },
        licenses=("MIT", "\nSecond licence\n"),
        messages=(("user", "Is Toronto in Canada?"), ("assistant", "yes")),
        requires="0.14.0",
        platforms=("webgpu", "native"),
    )
    assert parse_modelfile(WHOLE).template_line == 14


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_give_the_same_modelfile(end: str) -> None:
    assert parse_modelfile(WHOLE.replace("\n", end)) == parse_modelfile(WHOLE)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain words", "plain words"),
        ("   edges are trimmed  ", "edges are trimmed"),
        ('"  kept  "', "  kept  "),
        ('""', ""),
        ('""""""', ""),
        ('"a\nb"', "a\nb"),
        ('"""a"""', "a"),
        ('"""a\n"""  ', "a\n"),
        ('"""say "hi"\nto "them"\n"""', 'say "hi"\nto "them"\n'),
        ('"""a""" b"""', 'a""" b'),
        ("'single quotes stay'", "'single quotes stay'"),
        ('quotes "inside" stay', 'quotes "inside" stay'),
        ("no # comment here", "no # comment here"),
        ('"""\n# no comment\nFROM nothing\n"""', "\n# no comment\nFROM nothing\n"),
        ('"""  kept  \n  kept  """', "  kept  \n  kept  "),
        ("tabs\tstay", "tabs\tstay"),
        ("👩\u200d🚀 stays whole", "👩\u200d🚀 stays whole"),
    ],
)
def test_values_are_read_as_ollama_reads_them(written: str, value: str) -> None:
    assert parse_modelfile(f"FROM m\nSYSTEM {written}\nPARAMETER seed 1").system == value
    assert parse_modelfile(f"FROM m\nPARAMETER seed 1\nSYSTEM\t{written}").system == value


def test_the_last_system_and_template_hold_and_stops_add_up() -> None:
    modelfile = parse_modelfile(
        "FROM m\nSYSTEM one\nTEMPLATE a\nSYSTEM two\nTEMPLATE b\n"
        "PARAMETER seed 1\nPARAMETER seed 2\nPARAMETER stop x\nPARAMETER stop x\nPARAMETER stop y"
    )
    assert (modelfile.system, modelfile.template) == ("two", "b")
    assert modelfile.parameters == {"seed": 2, "stop": ("x", "y")}


def test_retired_parameters_are_passed_over_with_a_note() -> None:
    modelfile = parse_modelfile("FROM m\nPARAMETER mirostat 1\n")
    assert modelfile.parameters == {}
    assert modelfile.notes == ("Modelfile line 2: mirostat has no effect any more; left out",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "no FROM line"),
        ("# only a comment\nSYSTEM x", None, "no FROM line"),
        ("FROM a\nFROM b", 2, "FROM was given already ('a')"),
        ("FROM", 1, "FROM needs a value"),
        ("FROM   \nSYSTEM x", 1, "FROM needs a value"),
        ('FROM ""', 1, "FROM needs a value"),
        ('FROM "a\nb"', 1, "on one line"),
        ("FROM a\n\nFORM b", 3, "did you mean FROM"),
        ("FROM a\nBADCOMMAND x", 2, "known: FROM, PARAMETER"),
        ("FROM a\nSYSTEM: x", 2, "no directive"),
        ("FROM a\n{{ .Prompt }}", 2, "no directive"),
        ('FROM a\nSYSTEM """never closed\nFROM b""', 2, "never closed"),
        ('FROM a\nSYSTEM "', 2, "never closed"),
        ("FROM a\nPARAMETER seed", 2, "PARAMETER name value"),
        ("FROM a\nPARAMETER temprature 1", 2, "did you mean temperature"),
        ("FROM a\nPARAMETER Seed 1", 2, "did you mean seed"),
        ("FROM a\nPARAMETER seed 1.5", 2, "seed must be a whole number"),
        ("FROM a\nPARAMETER num_ctx 0", 2, "from 1 to 2147483647"),
        ("FROM a\nPARAMETER top_p 1.1", 2, "from 0 to 1"),
        ("FROM a\nPARAMETER temperature nan", 2, "temperature must be a number"),
        ("FROM a\nPARAMETER temperature 1e999", 2, "temperature must be a number"),
        ("FROM a\nPARAMETER use_mmap yes", 2, "true or false"),
        ('FROM a\nPARAMETER stop ""', 2, "a text of 1 to"),
        ("FROM a\nMESSAGE badguy hello", 2, "system, user, assistant"),
        ("FROM a\nMESSAGE user", 2, "MESSAGE role text"),
        ("FROM a\nMESSAGE user\n", 2, "MESSAGE role text"),
        ("FROM a\nREQUIRES newest", 2, "a version such as 0.14.0"),
        ("FROM a\nPLATFORM webgu", 2, "did you mean webgpu"),
        ("FROM a\nRENDERER qwen3", 2, "names code inside Ollama"),
        ("FROM a\nparser qwen3", 2, "names code inside Ollama"),
        ("FROM a\nDRAFT b\nDRAFT c", 3, "DRAFT was given already"),
        ("FROM a\nSYSTEM a\0b", 2, "NUL"),
        ("FROM a\nLICENSE \"  \"", 2, "LICENSE needs a value"),
    ],
)  # fmt: skip
def test_an_error_names_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(ModelfileError) as caught:
        parse_modelfile(text)
    assert says in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).startswith("Modelfile" if line is None else f"Modelfile line {line}:")
    assert len(str(caught.value).splitlines()) == 1


def test_caps_and_the_largest_that_pass() -> None:
    parse_modelfile("FROM a\n" + "LICENSE MIT\n" * MAX_LICENSES)
    with pytest.raises(ModelfileError, match="more than 64 LICENSE"):
        parse_modelfile("FROM a\n" + "LICENSE MIT\n" * (MAX_LICENSES + 1))
    with pytest.raises(ModelfileError, match="more than 1024 MESSAGE"):
        parse_modelfile("FROM a\n" + "MESSAGE user x\n" * (MAX_MESSAGES + 1))
    with pytest.raises(ModelfileError, match="over the cap"):
        parse_modelfile("FROM a\n" + "#" * MAX_MODELFILE_CHARS)
    with pytest.raises(ModelfileError, match="64"):
        parse_modelfile("FROM a\n" + "".join(f"PARAMETER stop {n}\n" for n in range(MAX_STOPS + 1)))


def test_a_huge_open_block_is_refused_in_linear_time() -> None:
    # Two million lines: a reader that looked at the whole block again each line would not end.
    with pytest.raises(ModelfileError, match="never closed"):
        parse_modelfile('FROM a\nSYSTEM """' + "x\n" * (MAX_MODELFILE_CHARS // 2 - 20))


def test_bytes_are_decoded_as_their_mark_says() -> None:
    text = "FROM ä\n"
    for data in (
        text.encode(),
        text.encode("utf-8-sig"),
        b"\xff\xfe" + text.encode("utf-16-le"),
        b"\xfe\xff" + text.encode("utf-16-be"),
    ):
        assert decode_modelfile(data) == text
    with pytest.raises(ModelfileError, match="line 2: this is not UTF-8"):
        decode_modelfile(b"FROM a\nSYSTEM \xff\n")
    with pytest.raises(ModelfileError, match="not UTF-16"):
        decode_modelfile(b"\xff\xfea")


# What one line holds, with the characters that the grammar cares for.
_TEXT = st.text(alphabet=string.ascii_letters + " \"'#\t\n{}.\u00e4\u00a0👩\u200d", max_size=40)
_LINE = _TEXT.filter(lambda text: "\n" not in text and text.strip() != "")


def _parameters() -> st.SearchStrategy[dict[str, object]]:
    def values(name: str) -> st.SearchStrategy[object]:
        row = PARAMETERS[name]
        if row.kind is bool:
            return st.booleans()
        if row.kind is list:
            texts = _TEXT.filter(bool)
            return st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple)
        if row.kind is int:
            return st.integers(int(row.minimum), int(row.maximum))
        return st.floats(row.minimum, row.maximum)

    return st.fixed_dictionaries({}, optional={name: values(name) for name in PARAMETERS})


_MODELFILES = st.builds(
    Modelfile,
    base=_LINE,
    adapters=st.lists(_LINE, max_size=2).map(tuple),
    template=st.none() | _TEXT,
    system=st.none() | _TEXT,
    parameters=_parameters(),
    licenses=st.lists(_TEXT.filter(str.strip), max_size=2).map(tuple),
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), _TEXT)).map(
        tuple
    ),
    requires=st.none() | st.just("1.2.3-rc1"),
    platforms=st.lists(st.sampled_from(["webgpu", "native"]), unique=True).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(_MODELFILES)
def test_what_is_written_reads_back(modelfile: Modelfile) -> None:
    try:
        text = write_modelfile(modelfile)
    except ModelfileError:
        # Only where the grammar has no spelling: a line that ends in quotes, before the last.
        texts = [modelfile.base, *modelfile.adapters, *modelfile.licenses]
        texts += [modelfile.template or "", modelfile.system or ""]
        texts += [content for _, content in modelfile.messages]
        texts += [str(modelfile.parameters.get("stop", ""))]
        assert any('"' in text for text in texts)
        return
    assert parse_modelfile(text) == modelfile


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='FROMSYTEMPARL stop"\n\r\t#ab{}0.', max_size=200))
def test_any_text_is_a_modelfile_or_one_clear_error(text: str) -> None:
    try:
        said = parse_modelfile("FROM m\n" + text).base
    except ModelfileError as error:
        said = str(error)
    assert said == "m" or (said.startswith("Modelfile") and len(said.splitlines()) == 1)


@pytest.mark.parametrize(
    "value", ["a", " a ", "a\nb", 'say "a"', '"a"', "", "\n", 'x\n"quoted" y', "{{ .X }}\n"]
)
def test_common_values_can_be_written(value: str) -> None:
    modelfile = Modelfile(base="m", system=value)
    assert parse_modelfile(write_modelfile(modelfile)) == modelfile


@pytest.mark.parametrize("value", ['a"""\nb', "a\rb", "a\0b"])
def test_a_value_without_a_spelling_is_refused(value: str) -> None:
    with pytest.raises(ModelfileError, match="cannot spell"):
        write_modelfile(Modelfile(base="m", system=value))


def test_params_layers_are_canonical_and_read_back() -> None:
    data = params_json({"top_p": 1, "stop": ("</s>", "ä"), "num_ctx": 4096.0})
    assert data == '{"num_ctx":4096,"stop":["</s>","ä"],"top_p":1.0}'.encode()
    assert read_params(data) == {"num_ctx": 4096, "stop": ("</s>", "ä"), "top_p": 1.0}
    assert list(read_params(b'{"seed": 7.0}').values()) == [7]
    assert type(read_params(b'{"seed": 7.0}')["seed"]) is int


def test_published_layers_with_retired_names_are_read() -> None:
    data = json.dumps({"num_gqa": 8, "stop": "[INST]", "mirostat": 0}).encode()
    assert read_params(data) == {"stop": ("[INST]",)}
    assert unknown_params(data) == ["num_gqa", "mirostat"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[]", "a JSON object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"seed": 1.5}', "seed must be a whole number"),
        (b'{"seed": true}', "seed must be a whole number"),
        (b'{"seed": "1"}', "seed must be a whole number"),
        (b'{"temperature": NaN}', "temperature must be a number"),
        (b'{"num_ctx": 1e400}', "num_ctx must be a whole number"),
        (b'{"use_mmap": 1}', "true or false"),
        (b'{"stop": [1]}', "a list of texts"),
        (b'{"stop": ["\\ud800"]}', "must be a text"),
        (b" " * MAX_PARAMS_BYTES + b"{}", "over the cap"),
    ],
)
def test_bad_params_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(InvalidParameter, match=says):
        read_params(data)


def test_the_longest_stop_passes_and_one_more_does_not() -> None:
    check_parameters({"stop": ["x" * MAX_STOP_CHARS]})
    with pytest.raises(InvalidParameter, match="1 to 256"):
        check_parameters({"stop": ["x" * (MAX_STOP_CHARS + 1)]})


def test_defaults_are_in_their_own_ranges() -> None:
    for name, row in PARAMETERS.items():
        if row.default is not None:
            assert check_parameters({name: row.default}) == {name: row.default}


def test_the_page_of_documentation_has_the_table() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "modelfile.md").read_text()
    for name, row in PARAMETERS.items():
        default = "\u2013" if row.default is None else f"`{row.default}`"
        assert re.search(rf"^\| `{name}` \| .* \| {re.escape(default)} \| ", page, re.M), name
    assert [word for word in DIRECTIVES if f"| `{word}` |" not in page] == []
