"""pytest tests/models/test_name.py: Ollama's grammar, and no name that leaves the store."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_models.digest import Digest
from transom_models.name import MAX_HOST_CHARS, MAX_PART_CHARS, InvalidName, ModelName

DIGEST = Digest.of(b"index")


@pytest.mark.parametrize(
    ("text", "parts", "shortest"),
    [
        ("smollm2", ("localhost", "library", "smollm2", "latest"), "smollm2"),
        ("smollm2:latest", ("localhost", "library", "smollm2", "latest"), "smollm2"),
        ("library/smollm2", ("localhost", "library", "smollm2", "latest"), "smollm2"),
        ("me/smollm2:135m", ("localhost", "me", "smollm2", "135m"), "me/smollm2:135m"),
        (
            "host.example:5000/me/Llama-3.2-1B:Q4_K_M",
            ("host.example:5000", "me", "Llama-3.2-1B", "Q4_K_M"),
            "host.example:5000/me/Llama-3.2-1B:Q4_K_M",
        ),
        ("localhost/library/x", ("localhost", "library", "x", "latest"), "x"),
        ("h/library/x", ("h", "library", "x", "latest"), "h/library/x"),
        ("_", ("localhost", "library", "_", "latest"), "_"),
    ],
)
def test_reads_names(text: str, parts: tuple[str, str, str, str], shortest: str) -> None:
    name = ModelName.parse(text)
    assert (name.host, name.namespace, name.model, name.tag) == parts
    assert str(name) == shortest
    assert ModelName.parse(shortest) == name


def test_a_name_may_pin_its_index() -> None:
    name = ModelName.parse(f"me/x:1@{DIGEST}")
    assert name.digest == DIGEST
    assert str(name) == f"me/x:1@{DIGEST}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "/",
        "@",
        "a:",
        ":a",
        "a/",
        "/a",
        "//a",
        "a//b",
        "a/b/",
        "/a/b",
        "a/b/c/d",
        ".",
        "..",
        "../a",
        "a/..",
        "a/../b",
        "../../etc/passwd",
        "a:..",
        "a:../b",
        "..:a",
        "-a",
        ".a",
        "a:.b",
        "a:-b",
        "a b",
        "a\tb",
        "a\n",
        "a\0",
        "a\0/b",
        "a\\b",
        "C:\\a",
        "a%2fb",
        "~root",
        "$HOME",
        "a*",
        "a:b:c",
        "name.space/a",
        "https://host/a/b",
        "h\u00e9",
        "\u0430",  # a Cyrillic a
        "a\u0301",
        "\uff21",  # a full-width A
        "a\u202eb",
        f"a@{DIGEST}\n",
        f"a@{str(DIGEST).upper()}",
        "a@sha256:../x",
        "a" * (MAX_PART_CHARS + 1),
        "n" * (MAX_PART_CHARS + 1) + "/a",
        "a:" + "t" * (MAX_PART_CHARS + 1),
        "h" * (MAX_HOST_CHARS + 1) + "/n/a",
        "a" * 1_000_000,
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidName) as caught:
        ModelName.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_longest_name_is_good() -> None:
    part = "a" * MAX_PART_CHARS
    text = f"{'h' * MAX_HOST_CHARS}/{part}/{part}:{part}@{DIGEST}"
    assert str(ModelName.parse(text)) == text


def test_case_is_kept_but_does_not_make_another_model() -> None:
    upper, lower = ModelName.parse("SmolLM2:Q4_1"), ModelName.parse("smollm2:q4_1")
    assert str(upper) == "SmolLM2:Q4_1"
    assert upper != lower
    assert upper.folded == lower.folded


@given(st.text(alphabet="ab./:@-_\0\\~A\u00e9 ", max_size=40))
def test_the_path_of_any_name_stays_under_its_root(text: str) -> None:
    try:
        name = ModelName.parse(text)
    except InvalidName:
        return
    path = name.manifest_path(Path("/root"))
    assert path.parts[:3] == ("/", "root", "manifests")
    assert len(path.parts) == 7
    assert path.resolve() == path
    assert ModelName.parse(str(name)) == name
