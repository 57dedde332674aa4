"""Files that are whole or not there."""

from pathlib import Path

import pytest

from transom_compile.durable import durable_file, sync_folder, write_durably


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with durable_file(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_keeps_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")

    def fail() -> None:
        with durable_file(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    sync_folder(tmp_path)
