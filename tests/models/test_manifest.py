"""pytest tests/models/test_manifest.py: canonical bytes out, typed and capped reading in."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_models import manifest as module
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, InvalidManifest, Manifest, Platform
from transom_models.media_types import ANNOTATION_TITLE, CONFIG, OCI_INDEX, OCI_MANIFEST, SHARD

DIGEST = "sha256:" + "0" * 64


def row(**changes: object) -> dict[str, Any]:
    """A good descriptor, with `changes` made to it."""
    return {"mediaType": SHARD, "digest": DIGEST, "size": 1} | changes


def manifest_bytes(**changes: object) -> bytes:
    """A good manifest, with `changes` made to it; None removes the key."""
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": row(), "layers": [row()]}
    return json.dumps({k: v for k, v in (value | changes).items() if v is not None}).encode()


def index_bytes(**changes: object) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [row()]}
    return json.dumps({k: v for k, v in (value | changes).items() if v is not None}).encode()


# Text that JSON and UTF-8 can both hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WORDS = st.from_regex(r"[a-z0-9/+.]{1,20}", fullmatch=True)
MEDIA_TYPES = st.from_regex(r"[a-z0-9][a-z0-9+.]{0,9}/[a-z0-9][a-z0-9+.]{0,9}", fullmatch=True)
ANNOTATIONS = st.dictionaries(TEXT.filter(lambda key: key != ANNOTATION_TITLE), TEXT, max_size=3)
PLATFORMS = st.builds(Platform, WORDS, WORDS, st.none() | WORDS)
DESCRIPTORS = st.builds(
    Descriptor,
    MEDIA_TYPES,
    st.binary(max_size=4).map(Digest.of),
    st.integers(0, module.MAX_BLOB_BYTES),
    ANNOTATIONS,
    st.none() | PLATFORMS,
)
ROWS = st.lists(DESCRIPTORS, max_size=3).map(tuple)


@given(st.builds(Manifest, DESCRIPTORS, ROWS, ANNOTATIONS))
def test_manifest_round_trip(value: Manifest) -> None:
    data = value.to_bytes()
    assert Manifest.from_bytes(data) == value
    assert Manifest.from_bytes(data).to_bytes() == data


@given(st.builds(Index, ROWS, ANNOTATIONS))
def test_index_round_trip(value: Index) -> None:
    data = value.to_bytes()
    assert Index.from_bytes(data) == value
    assert Index.from_bytes(data).to_bytes() == data


def test_canonical_bytes_are_these() -> None:
    config = Descriptor(CONFIG, Digest("a" * 64), 2, {"z": "é", "a": "1"})
    assert (
        Manifest(config, ()).to_bytes()
        == (
            '{"config":{"annotations":{"a":"1","z":"é"},"digest":"sha256:' + "a" * 64 + '",'
            f'"mediaType":"{CONFIG}","size":2}},"layers":[],"mediaType":"{OCI_MANIFEST}",'
            '"schemaVersion":2}'
        ).encode()
    )
    index = Index((Descriptor(OCI_MANIFEST, Digest("b" * 64), 3, {}, Platform("a", "b", "c")),))
    assert (
        index.to_bytes()
        == (
            '{"manifests":[{"digest":"sha256:' + "b" * 64 + f'","mediaType":"{OCI_MANIFEST}",'
            '"platform":{"architecture":"b","os":"a","variant":"c"},"size":3}],'
            f'"mediaType":"{OCI_INDEX}","schemaVersion":2}}'
        ).encode()
    )


def test_annotations_cannot_be_changed_from_outside() -> None:
    given_annotations = {"a": "1"}
    descriptor = Descriptor(CONFIG, Digest("a" * 64), 2, given_annotations)
    given_annotations["a"] = "2"
    assert descriptor.annotations == {"a": "1"}
    assert not hasattr(descriptor.annotations, "update")
    assert isinstance(hash(descriptor), int)


def test_keys_of_the_spec_that_we_do_not_use_are_passed_over() -> None:
    data = manifest_bytes(artifactType="a/b", subject=row(), config=row(urls=["x"], data="eA=="))
    assert Manifest.from_bytes(data) == Manifest.from_bytes(manifest_bytes())


def test_the_smallest_good_ones() -> None:
    assert Manifest.from_bytes(manifest_bytes(mediaType=None, layers=[])).layers == ()
    assert Index.from_bytes(index_bytes(mediaType=None, manifests=[])).manifests == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schemaVersion": None}, "schemaVersion"),
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"schemaVersion": "2"}, "schemaVersion"),
        ({"schemaVersion": 2.0}, "schemaVersion"),
        ({"schemaVersion": True}, "schemaVersion"),
        ({"mediaType": OCI_INDEX}, "mediaType"),
        ({"mediaType": 3}, "mediaType"),
        ({"mediaType": []}, "mediaType"),
        ({"config": None}, "config"),
        ({"config": []}, "config must be an object"),
        ({"config": "x"}, "config must be an object"),
        ({"layers": None}, "layers is missing"),
        ({"layers": {}}, "layers must be a list"),
        ({"layers": [row(), 7]}, "layers[1] must be an object"),
        ({"layers": [row(), {}]}, "layers[1].mediaType is missing"),
        ({"layers": [row(mediaType=1)]}, "layers[0].mediaType"),
        ({"layers": [row(mediaType="")]}, "layers[0].mediaType"),
        ({"layers": [row(mediaType="a/b\r\nX: y")]}, "layers[0].mediaType"),
        ({"layers": [row(mediaType="a/" + "a" * 254)]}, "layers[0].mediaType"),
        ({"layers": [row(mediaType="../../etc/passwd")]}, "layers[0].mediaType"),
        ({"layers": [row(mediaType="text")]}, "layers[0].mediaType"),
        ({"layers": [row(digest=1)]}, "layers[0].digest"),
        ({"layers": [row(digest="sha256:../x")]}, "layers[0].digest"),
        ({"layers": [row(digest=DIGEST.upper())]}, "layers[0].digest"),
        ({"layers": [row(size=-1)]}, "layers[0].size"),
        ({"layers": [row(size=True)]}, "layers[0].size"),
        ({"layers": [row(size=1.0)]}, "layers[0].size"),
        ({"layers": [row(size="1")]}, "layers[0].size"),
        ({"layers": [row(size=2**53)]}, "layers[0].size"),
        ({"layers": [row(size=10**400)]}, "layers[0].size"),
        ({"layers": [row(annotations=[])]}, "layers[0].annotations"),
        ({"layers": [row(annotations={"a": 1})]}, "layers[0].annotations.a"),
        ({"layers": [row(annotations={"a": None})]}, "layers[0].annotations.a"),
        ({"layers": [row(annotations={"a": "x" * 16385})]}, "layers[0].annotations.a"),
        ({"layers": [row(annotations={str(i): "" for i in range(1025)})]}, "annotations"),
        ({"layers": [row(annotations={"a": "\ud800"})]}, "layers[0].annotations.a"),
        ({"layers": [row(annotations={"\udfff": "a"})]}, "layers[0].annotations"),
        ({"layers": [row(platform="browser")]}, "layers[0].platform"),
        ({"layers": [row(platform={"os": "a"})]}, "layers[0].platform.architecture"),
        ({"layers": [row(platform={"os": 1, "architecture": "b"})]}, "layers[0].platform.os"),
        (
            {"layers": [row(platform={"os": "a", "architecture": "b", "variant": 1})]},
            "layers[0].platform.variant",
        ),
        ({"annotations": []}, "annotations must be an object"),
    ],
)
def test_names_the_field_that_is_wrong(changes: Mapping[str, object], field: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        Manifest.from_bytes(manifest_bytes(**changes))
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "title",
    [
        "",
        ".",
        "..",
        "/a",
        "a/",
        "a//b",
        "a/../b",
        "../a",
        "a\\b",
        "a\0",
        "a\nb",
        "a\u202eb",
        "a" * 256,
        "é" * 128,
        "a/" * 512 + "a",
    ],
)
def test_refuses_titles_that_are_no_file_name(title: str) -> None:
    with pytest.raises(InvalidManifest, match="title"):
        Manifest.from_bytes(manifest_bytes(config=row(annotations={ANNOTATION_TITLE: title})))


@pytest.mark.parametrize("title", ["a", "a/b.bin", "...", "a b", "é" * 127, "a" * 255])
def test_takes_titles_that_are(title: str) -> None:
    data = manifest_bytes(config=row(annotations={ANNOTATION_TITLE: title}))
    assert Manifest.from_bytes(data).config.title == title


def test_one_title_names_one_blob() -> None:
    same = row(annotations={ANNOTATION_TITLE: "a"})
    other = row(annotations={ANNOTATION_TITLE: "a"}, digest="sha256:" + "1" * 64)
    Manifest.from_bytes(manifest_bytes(layers=[same, same]))
    with pytest.raises(InvalidManifest, match="two different blobs"):
        Manifest.from_bytes(manifest_bytes(layers=[same, other]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b"1",
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1}x',
        b'{"schemaVersion":2,"schemaVersion":2}',
        manifest_bytes()[:-1] + b',"config":{}}',
        manifest_bytes().replace(b'"size": 1', b'"size": 1, "size": 2', 1),
        b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
        b" " * (module.MAX_MANIFEST_BYTES + 1),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_refuses_what_is_not_a_manifest(data: bytes) -> None:
    for kind in (Manifest, Index):
        with pytest.raises(InvalidManifest) as caught:
            kind.from_bytes(data)
        assert "\n" not in str(caught.value)


def test_caps_stand_beside_the_largest_truth() -> None:
    Index.from_bytes(index_bytes(manifests=[row(size=2**53 - 1)]))
    most = index_bytes(manifests=[row()] * module.MAX_DESCRIPTORS)
    assert len(Index.from_bytes(most).manifests) == module.MAX_DESCRIPTORS
    with pytest.raises(InvalidManifest, match="over 4096"):
        Index.from_bytes(index_bytes(manifests=[row()] * (module.MAX_DESCRIPTORS + 1)))
    good = manifest_bytes()
    Manifest.from_bytes(good + b" " * (module.MAX_MANIFEST_BYTES - len(good)))


def test_an_index_is_not_a_manifest() -> None:
    with pytest.raises(InvalidManifest, match="mediaType"):
        Index.from_bytes(manifest_bytes())


def test_nobody_writes_what_nobody_could_read() -> None:
    config = Descriptor("two words", Digest("0" * 64), 1)
    with pytest.raises(InvalidManifest, match=r"config\.mediaType"):
        Manifest(config, ()).to_bytes()
    with pytest.raises(InvalidManifest):
        Index((), {"a": "\ud800"}).to_bytes()
