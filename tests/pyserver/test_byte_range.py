"""pytest tests/pyserver/test_byte_range.py: RFC 9110's rules for one range, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_server.http.byte_range import UnsatisfiableRange, read_range


@pytest.mark.parametrize(
    ("header", "size", "found"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-9", 10, (0, 10)),
        ("bytes=2-5", 10, (2, 4)),
        ("bytes=9-", 10, (9, 1)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=5-99999999999999999999999", 10, (5, 5)),
        ("bytes=-1", 10, (9, 1)),
        ("bytes=-10", 10, (0, 10)),
        ("bytes=-11", 10, (0, 10)),
        ("BYTES=0-0", 10, (0, 1)),
        (" bytes = 0-0 ", 10, (0, 1)),
        # Malformed, another unit, or several: the whole file.
        ("", 10, None),
        ("bytes", 10, None),
        ("bytes=", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=5-2", 10, None),
        ("bytes=50-20", 10, None),
        ("bytes=-5-", 10, None),
        ("bytes=0x1-2", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=1 -2", 10, None),
        ("bytes=0-" + "9" * 5000, 10, None),
        ("lines=0-1", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("bytes=0-1,", 10, None),
        ("bytes=90-91,0-1", 10, None),
    ],
)
def test_reads(header: str, size: int, found: tuple[int, int] | None) -> None:
    assert read_range(header, size) == found


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-11", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-1", 0),
        ("bytes=99999999999999999999999-", 10),
    ],
)
def test_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(UnsatisfiableRange):
        read_range(header, size)


@given(st.text("bytes=0123456789-, ", max_size=20), st.integers(0, 100))
def test_never_outside_of_the_file(header: str, size: int) -> None:
    try:
        found = read_range(header, size)
    except UnsatisfiableRange:
        return
    if found is not None:
        first, count = found
        assert 0 <= first < first + count <= size
