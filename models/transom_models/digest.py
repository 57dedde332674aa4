"""`Digest`: the name of exact bytes, `sha256:` and 64 lower-case hex digits.

The only hashing code in Python. A `Digest` that exists is well formed, so the path it names can
never leave its root. Knows nothing of manifests, HTTP or where a store lives.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from transom_models.errors import TransomError

PREFIX: Final = "sha256:"
# `fullmatch` below, never `match` with `$`, which would let a trailing newline through.
_HEX: Final = re.compile(r"[0-9a-f]{64}")
# An error shows what was given, not a megabyte of it.
_SHOWN_CHARS: Final = 80


class InvalidDigest(TransomError):
    """The text is not `sha256:` followed by 64 lower-case hex digits."""


@dataclass(frozen=True, slots=True)
class Digest:
    """sha256 of exact bytes. `hex` is 64 lower-case hex digits, or `InvalidDigest` is raised."""

    hex: str

    def __post_init__(self) -> None:
        if not isinstance(self.hex, str) or _HEX.fullmatch(self.hex) is None:
            raise InvalidDigest(
                f"{self.hex!r:.{_SHOWN_CHARS}} is not a sha256 in 64 lower-case hex digits"
            )

    def __str__(self) -> str:
        return PREFIX + self.hex

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sha256:<64 lower-case hex>`. One spelling a digest: upper case is refused."""
        if not text.startswith(PREFIX) or _HEX.fullmatch(text, len(PREFIX)) is None:
            raise InvalidDigest(
                f"{text!r:.{_SHOWN_CHARS}} is not a digest; "
                "expected sha256: and 64 lower-case hex digits"
            )
        return cls(text[len(PREFIX) :])

    @classmethod
    def of(cls, data: bytes | memoryview) -> Self:
        """Digest of bytes in memory."""
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Digest of a file's bytes, read in pieces. Raises `OSError` as `open` does."""
        with path.open("rb") as file:
            return cls(hashlib.file_digest(file, "sha256").hexdigest())

    def path_under(self, root: Path) -> Path:
        """Where a store (an OCI image layout) at `root` keeps these bytes. Creates nothing."""
        return root / "blobs" / "sha256" / self.hex


class Hasher:
    """Digest of bytes that pass by in pieces; `size` counts them in bytes."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()
        self.size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        self._state.update(data)
        self.size += data.nbytes if isinstance(data, memoryview) else len(data)

    def copy(self) -> "Hasher":
        """A hasher that has taken the same bytes, and goes its own way from here."""
        twin = Hasher()
        twin._state = self._state.copy()
        twin.size = self.size
        return twin

    def digest(self) -> Digest:
        """Digest of all bytes so far; more may follow."""
        return Digest(self._state.hexdigest())
