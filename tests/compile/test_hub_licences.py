"""pytest tests/compile/test_hub_licences.py: licence texts of a folder."""

from pathlib import Path

import pytest

from transom_compile.hub.licences import MAX_LICENCE_BYTES, MAX_LICENCES, read_licences
from transom_compile.sources.checkpoint import CheckpointError


def test_texts_by_the_names_that_publishers_use(tmp_path: Path) -> None:
    for name in ("LICENSE", "LICENSE.md", "Licence.txt", "USE_POLICY.md"):
        (tmp_path / name).write_text(f"text of {name}")
    (tmp_path / "COPYING").write_text(" \n")
    (tmp_path / "NOTICE").write_text("no terms")
    (tmp_path / "license_list.txt").write_text("no terms")
    (tmp_path / "license").mkdir()
    assert read_licences(tmp_path) == {
        name: f"text of {name}"
        for name in ("LICENSE", "LICENSE.md", "Licence.txt", "USE_POLICY.md")
    }


def test_an_old_encoding_is_no_reason_to_lose_the_terms(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_bytes("© Somebody".encode("latin-1"))
    assert read_licences(tmp_path)["LICENSE"].endswith(" Somebody")


def test_caps(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("x" * MAX_LICENCE_BYTES)
    assert len(read_licences(tmp_path)["LICENSE"]) == MAX_LICENCE_BYTES
    (tmp_path / "LICENSE").write_text("x" * (MAX_LICENCE_BYTES + 1))
    with pytest.raises(CheckpointError, match="LICENSE is longer than"):
        read_licences(tmp_path)


def test_a_collection_of_licences_is_none(tmp_path: Path) -> None:
    stems = ("license", "licence", "copying", "use_policy")
    names = [stem + ending for stem in stems for ending in ("", ".txt", ".md")]
    for name in names[:MAX_LICENCES]:
        (tmp_path / name).write_text("x")
    assert len(read_licences(tmp_path)) == MAX_LICENCES
    (tmp_path / names[MAX_LICENCES]).write_text("x")
    with pytest.raises(CheckpointError, match="9 licence files"):
        read_licences(tmp_path)
