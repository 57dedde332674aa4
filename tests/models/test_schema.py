"""pytest tests/models/test_schema.py: the JSON Schemas say what `from_bytes` does, as far as a
schema can, and the generated files are in step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.models.test_manifest import ANNOTATIONS, DESCRIPTORS, DIGEST, ROWS, row
from transom_models.manifest import (
    MAX_ANNOTATION_CHARS,
    MAX_ANNOTATIONS,
    MAX_BLOB_BYTES,
    MAX_DESCRIPTORS,
    Descriptor,
    Index,
    InvalidManifest,
    Manifest,
)
from transom_models.media_types import (
    ANNOTATION_TITLE,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from transom_models.modelfile import PARAMETERS, InvalidParameter, params_json, read_params
from transom_models.schema import files, main, schemas

ROOT = Path(__file__).resolve().parents[2]
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in schemas().items()}
READERS: dict[str, Callable[[bytes], object]] = {
    "manifest": Manifest.from_bytes,
    "index": Index.from_bytes,
    "params": read_params,
}
MANIFESTS = st.builds(Manifest, DESCRIPTORS, ROWS, ANNOTATIONS)
INDEXES = st.builds(Index, ROWS, ANNOTATIONS)


def schema_takes(kind: str, value: object) -> bool:
    return bool(VALIDATORS[kind].is_valid(value))


def reader_takes(kind: str, value: object) -> bool:
    try:
        READERS[kind](json.dumps(value).encode())
    except (InvalidManifest, InvalidParameter):
        return False
    return True


@pytest.mark.parametrize("path", list(files()), ids=str)
def test_a_generated_file_is_in_step(path: Path) -> None:
    assert (ROOT / path).read_text() == files()[path], "run: python -m transom_models.schema"


def test_the_command_writes_them(tmp_path: Path) -> None:
    main(tmp_path)
    assert {file.relative_to(tmp_path) for file in tmp_path.rglob("*.*")} == set(files())


@pytest.mark.parametrize("name", list(schemas()))
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


@settings(max_examples=100, deadline=None)
@given(MANIFESTS)
def test_every_manifest_that_can_be_written_passes(manifest: Manifest) -> None:
    VALIDATORS["manifest"].validate(json.loads(manifest.to_bytes()))


@settings(max_examples=100, deadline=None)
@given(INDEXES)
def test_every_index_that_can_be_written_passes(index: Index) -> None:
    VALIDATORS["index"].validate(json.loads(index.to_bytes()))


@settings(max_examples=50, deadline=None)
@given(DESCRIPTORS)
def test_every_row_passes_on_its_own(descriptor: Descriptor) -> None:
    VALIDATORS["descriptor"].validate(descriptor.to_json())


# Values of no one type.
ROWS_OF_NOTHING: list[Any] = [5, None, [], "x"]
STOPS: list[Any] = ["x", ["x"], [], "", [""], [1], 1, {}, None]
GOOD: dict[str, dict[str, Any]] = {
    "manifest": {"schemaVersion": 2, "config": row(), "layers": [row()]},
    "index": {"schemaVersion": 2, "manifests": [row()]},
    "params": {"seed": 1},
}


def titled(title: object) -> dict[str, Any]:
    return row(annotations={ANNOTATION_TITLE: title})


def on_platform(**changes: object) -> dict[str, Any]:
    return row(platform={"os": "browser", "architecture": "webgpu", **changes})


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("manifest", {}),
    ("manifest", {"mediaType": OCI_MANIFEST}),
    ("manifest", {"mediaType": DOCKER_MANIFEST}),
    ("manifest", {"mediaType": OCI_INDEX}),
    ("manifest", {"mediaType": None}),
    ("manifest", {"schemaVersion": 1}),
    ("manifest", {"schemaVersion": "2"}),
    ("manifest", {"schemaVersion": True}),
    ("manifest", {"artifactType": 5, "subject": []}),
    ("manifest", {"manifests": []}),
    ("manifest", {"config": None}),
    ("manifest", {"layers": {}}),
    ("manifest", {"layers": []}),
    ("manifest", {"layers": [row()] * MAX_DESCRIPTORS}),
    ("manifest", {"layers": [row()] * (MAX_DESCRIPTORS + 1)}),
    ("manifest", {"annotations": {"a": "b"}}),
    ("manifest", {"annotations": {"a": 1}}),
    ("manifest", {"annotations": None}),
    ("manifest", {"annotations": {ANNOTATION_TITLE: "../free up here"}}),
    *[("manifest", {"layers": [{k: v for k, v in row().items() if k != gone}]}) for gone in row()],
    *[("manifest", {"layers": [layer]}) for layer in ROWS_OF_NOTHING],
    *[("manifest", {"layers": [row(size=size)]}) for size in (0, -1, "1", True, 0.5, None)],
    *[("manifest", {"layers": [row(size=MAX_BLOB_BYTES + more)]}) for more in (0, 1)],
    *[
        ("manifest", {"layers": [row(digest=digest)]})
        for digest in (DIGEST, DIGEST + "\n", DIGEST.upper(), DIGEST[:-1], "sha512:" + "0" * 64, 1)
    ],
    *[
        ("manifest", {"layers": [row(mediaType=kind)]})
        for kind in ("a/b", "a", "a/b/c", "a/ b", "", "a/b\n", "a/" + "b" * 253, "a/" + "b" * 254)
    ],
    *[
        ("manifest", {"layers": [titled(title)]})
        for title in ("a", "a/b.c", "..", "a/..", "a/../b", "/a", "a/", "a//b", "a\\b", ".", "...")
    ],
    *[
        ("manifest", {"layers": [titled(title)]})
        for title in ("", 1, "a\nb", "a\0", "a\n", ".a", "a/.", "ä b", "a" * 255, "a" * 256)
    ],
    *[("manifest", {"layers": [titled("/".join(["a" * 200] * n))]}) for n in (5, 6)],
    ("manifest", {"layers": [row(annotations={"a": "b" * MAX_ANNOTATION_CHARS})]}),
    ("manifest", {"layers": [row(annotations={"a": "b" * (MAX_ANNOTATION_CHARS + 1)})]}),
    ("manifest", {"layers": [row(annotations={"b" * (MAX_ANNOTATION_CHARS + 1): "a"})]}),
    ("manifest", {"layers": [row(annotations={str(n): "" for n in range(MAX_ANNOTATIONS)})]}),
    ("manifest", {"layers": [row(annotations={str(n): "" for n in range(MAX_ANNOTATIONS + 1)})]}),
    ("index", {}),
    ("index", {"mediaType": OCI_INDEX}),
    ("index", {"mediaType": DOCKER_INDEX}),
    ("index", {"mediaType": OCI_MANIFEST}),
    ("index", {"layers": []}),
    ("index", {"config": {}}),
    ("index", {"manifests": [on_platform()]}),
    ("index", {"manifests": [row(platform=None)]}),
    ("index", {"manifests": [row(platform={"os": "native"})]}),
    *[("index", {"manifests": [on_platform(variant=v)]}) for v in ("f16", None, 1, "", "a b")],
    *[("index", {"manifests": [on_platform(os=name)]}) for name in ("x", "", "ä", "a\n", 1, "~")],
    ("params", {}),
    ("params", {"mirostat": "anything"}),
    *[("params", {"seed": seed}) for seed in (0, -1, 1.0, 1.5, "1", True, None, 2**53, -(2**53))],
    *[("params", {"top_p": top_p}) for top_p in (0, 1, 0.5, 1.01, -0.01, "1", False, [1])],
    *[("params", {"use_mmap": value}) for value in (True, False, 0, "true", None)],
    *[("params", {"stop": stop}) for stop in STOPS],
    *[("params", {"stop": stop}) for stop in (["x"] * 64, ["x"] * 65, "x" * 256, "x" * 257)],
]


@pytest.mark.parametrize(("kind", "changes"), CHANGES, ids=lambda value: str(value)[:60])
def test_schema_and_reader_agree(kind: str, changes: dict[str, Any]) -> None:
    value = GOOD[kind] | changes
    assert schema_takes(kind, value) == reader_takes(kind, value)


def test_both_verdicts_are_among_the_cases() -> None:
    verdicts = [schema_takes(kind, GOOD[kind] | changes) for kind, changes in CHANGES]
    assert verdicts.count(True) > 30
    assert verdicts.count(False) > 60


# Any JSON in any place: what neither side may take without the other.
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("a./\\ä~ \n", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)
_KEYS = ["schemaVersion", "mediaType", "config", "layers", "manifests", "annotations"]
_ROW_KEYS = ["mediaType", "digest", "size", "annotations", "platform"]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["manifest", "index"]),
    st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=1),
    st.dictionaries(st.sampled_from(_ROW_KEYS), _JSON, max_size=1),
    st.dictionaries(st.sampled_from(["os", "architecture", "variant"]), _JSON, max_size=2),
)
def test_schema_and_reader_agree_on_anything(
    kind: str, top: dict[str, Any], inner: dict[str, Any], platform: dict[str, Any]
) -> None:
    rows = [on_platform(**platform) | inner]
    value = GOOD[kind] | {"layers" if kind == "manifest" else "manifests": rows} | top
    assert schema_takes(kind, value) == reader_takes(kind, value)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*PARAMETERS, "other"]), _JSON | st.floats(-2, 2)))
def test_schema_and_reader_agree_on_any_parameters(value: dict[str, Any]) -> None:
    assert schema_takes("params", value) == reader_takes("params", value)


def test_written_params_pass() -> None:
    value = json.loads(params_json({"stop": ("a",), "seed": 3, "top_p": 1}))
    VALIDATORS["params"].validate(value)


# docs/formats/manifests.md lists these: the schema passes them, the reader does not.
@pytest.mark.parametrize(
    "changes",
    [
        {"schemaVersion": 2.0},
        {"layers": [row(size=1.0)]},
        {"annotations": {"a": "\ud800"}},
        {"layers": [titled("right\u202eleft")]},
        {"layers": [titled("ä" * 200)]},
        {"layers": [titled("a"), titled("a") | {"digest": "sha256:" + "1" * 64}]},
    ],
    ids=[
        "2.0",
        "size 1.0",
        "half a pair",
        "unprintable",
        "bytes of a name",
        "one title, two blobs",
    ],
)
def test_what_a_schema_cannot_say(changes: dict[str, Any]) -> None:
    value = GOOD["manifest"] | changes
    assert schema_takes("manifest", value)
    assert not reader_takes("manifest", value)
