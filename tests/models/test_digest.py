"""pytest tests/models/test_digest.py: one spelling per digest, and no path but its own."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_models.digest import Digest, Hasher, InvalidDigest

GOOD = "sha256:" + "0123456789abcdef" * 4
HEX = GOOD.removeprefix("sha256:")


def test_reads_and_writes_one_spelling() -> None:
    digest = Digest.parse(GOOD)
    assert str(digest) == GOOD
    assert digest == Digest(HEX)
    assert digest.path_under(Path("root")) == Path("root/blobs/sha256") / HEX


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        GOOD.upper(),
        "sha256:" + HEX.upper(),
        "SHA256:" + HEX,
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        "\n" + GOOD,
        " " + GOOD,
        GOOD + " ",
        "sha256-" + HEX,
        "sha512:" + HEX * 2,
        "sha256:../" + HEX[3:],
        "sha256:" + "../" * 21 + "a",
        "sha256:/etc/passwd",
        "sha256:" + HEX[:-1] + "g",
        "sha256:" + HEX[:-1] + "\0",
        "sha256:" + "\uff11" * 64,  # full-width digits, digits to str.isdigit
        "sha256:" + HEX[:-1] + "\u0430",  # a Cyrillic a
        "sha256:" + GOOD,
    ],
)
def test_refuses_look_alikes(text: str) -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest.parse(text)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidDigest):
        Digest(text.removeprefix("sha256:") + "x")


def test_error_does_not_repeat_a_megabyte() -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest.parse("a" * 1_000_000)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=80))
def test_what_is_read_is_what_was_written(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except InvalidDigest:
        return
    assert str(digest) == text


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_hasher_equals_the_whole(pieces: list[bytes]) -> None:
    hasher = Hasher()
    for piece in pieces:
        hasher.update(piece)
    whole = b"".join(pieces)
    assert hasher.digest() == Digest.of(whole)
    assert hasher.digest().hex == hashlib.sha256(whole).hexdigest()
    assert hasher.size == len(whole)


def test_size_counts_bytes_of_wide_views() -> None:
    hasher = Hasher()
    hasher.update(memoryview(bytes(16)).cast("I"))
    assert hasher.size == 16
    assert hasher.digest() == Digest.of(memoryview(bytes(16)))


def test_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 100_000)
    assert Digest.of_file(path) == Digest.of(b"abc" * 100_000)
