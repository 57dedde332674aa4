"""pytest tests/pyserver/test_pieces.py: files in pieces, their journal and their lock."""

import os
import random
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transom_models.digest import Digest
from transom_server.store import StoreError
from transom_server.transfer.pieces import DamagedPiece, PieceFile, open_pieces

PIECE = 64
DATA = random.Random(1).randbytes(5 * PIECE + 9)
KEY = f"sha256-{Digest.of(DATA).hex}"


def opened(folder: Path, version: str = "", piece_bytes: int = PIECE) -> PieceFile:
    file = open_pieces(folder, KEY, len(DATA), piece_bytes, version)
    assert file is not None
    return file


def put(file: PieceFile, number: int) -> None:
    first, length = file.place(number)
    piece = DATA[first : first + length]
    file.write(first, piece)
    file.finish(number, Digest.of(piece))


def complete(file: PieceFile) -> Digest:
    """As a pull does: what is missing or damaged is put, until the digest of all is known."""
    while True:
        for number in file.missing():
            put(file, number)
        try:
            file.follow(lambda: None)
        except DamagedPiece:
            continue
        digest = file.whole_digest()
        assert digest is not None
        return digest


def test_pieces_in_any_order(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert file.place(5) == (5 * PIECE, 9)
    for number in (3, 0, 5, 1, 4):
        assert file.whole_digest() is None
        put(file, number)
        file.follow(lambda: None)
    assert file.missing() == [2]
    assert file.present_bytes() == len(DATA) - PIECE
    put(file, 2)
    file.follow(lambda: None)
    assert file.whole_digest() == Digest.of(DATA)
    assert file.path.read_bytes() == DATA
    file.close()


def test_what_was_there_is_gone_on_with(tmp_path: Path) -> None:
    file = opened(tmp_path)
    put(file, 4)
    put(file, 1)
    file.write(0, b"half a piece, never finished")
    file.close()
    file = opened(tmp_path)
    assert file.missing() == [0, 2, 3, 5]
    assert complete(file) == Digest.of(DATA)
    file.close()


def test_no_second_hand_at_a_file(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert open_pieces(tmp_path, KEY, len(DATA), PIECE) is None
    file.close()
    opened(tmp_path).close()


def test_a_published_file_is_not_written_again(tmp_path: Path) -> None:
    """Whoever waited for the lock finds the name free, and its file another one's."""
    file = opened(tmp_path)
    complete(file)
    file.path.rename(tmp_path / "blob")
    file.published()
    file.close()
    again = opened(tmp_path)
    assert again.missing() == list(range(6))
    put(again, 0)
    again.discard()
    again.close()
    assert (tmp_path / "blob").read_bytes() == DATA
    assert os.listdir(tmp_path) == ["blob"]


def test_other_versions_and_cuts_are_not_mixed(tmp_path: Path) -> None:
    file = opened(tmp_path, "v1")
    put(file, 0)
    file.close()
    for version, piece_bytes in (("v2", PIECE), ("v2", 2 * PIECE), ("v1", PIECE)):
        file = opened(tmp_path, version, piece_bytes)
        assert len(file.missing()) == file.count
        put(file, 1)
        file.close()


def test_a_rotten_piece_is_told(tmp_path: Path) -> None:
    file = opened(tmp_path)
    for number in range(6):
        put(file, number)
    file.close()
    with (tmp_path / KEY).open("r+b") as raw:
        raw.seek(3 * PIECE)
        raw.write(b"rotten")
    file = opened(tmp_path)
    assert file.missing() == []
    with pytest.raises(DamagedPiece) as caught:
        file.follow(lambda: None)
    assert caught.value.number == 3
    assert file.missing() == [3]
    assert complete(file) == Digest.of(DATA)
    file.close()


def test_a_file_of_nothing(tmp_path: Path) -> None:
    file = open_pieces(tmp_path, "empty", 0, PIECE)
    assert file is not None
    assert file.missing() == []
    assert file.whole_digest() == Digest.of(b"")
    file.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(journal=st.binary(max_size=300), data=st.binary(max_size=400), cut=st.integers(0, 600))
def test_no_journal_makes_a_wrong_digest(
    journal: bytes, data: bytes, cut: int, tmp_path: Path
) -> None:
    """Whatever lies on the disk, what comes out is right."""
    file = opened(tmp_path)
    put(file, 0)
    put(file, 4)
    file.close()
    path = tmp_path / f"{KEY}.pieces"
    good = path.read_bytes()
    path.write_bytes(good[:cut] + journal)
    with (tmp_path / KEY).open("r+b") as raw:
        raw.write(data)
    file = opened(tmp_path)
    assert complete(file) == Digest.of(DATA)
    assert file.path.read_bytes() == DATA
    file.discard()
    file.close()


def test_many_threads_and_one_digest(tmp_path: Path) -> None:
    """The last to finish a piece may be turned away from following, and yet the end comes."""
    for _ in range(30):
        file = opened(tmp_path)
        numbers = list(range(file.count))
        random.shuffle(numbers)
        barrier = threading.Barrier(3)

        def work(
            mine: list[int], file: PieceFile = file, barrier: threading.Barrier = barrier
        ) -> None:
            barrier.wait()
            for number in mine:
                put(file, number)
                file.follow(lambda: None)

        threads = [threading.Thread(target=work, args=(numbers[at::3],)) for at in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert file.whole_digest() == Digest.of(DATA)
        file.discard()
        file.close()


def test_a_disk_error_names_the_file_and_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot write .*file/sha256-.*: "):
        open_pieces(tmp_path / "file", KEY, 1, PIECE)
    with pytest.raises(StoreError, match="TRANSOM_MODELS"):
        open_pieces(tmp_path, KEY, 2**62, PIECE)
