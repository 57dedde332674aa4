"""`Storage`: where the bytes of a store are, behind keys. A folder or an object store.

Keys are relative POSIX paths that only a `Digest` or a `ModelName` makes, so none can leave the
store. Knows no digests, manifests or models.
"""

from collections.abc import Iterator, Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored object: size in bytes, `modified` in Unix seconds."""

    key: str
    size: int
    modified: float


class Incoming(Protocol):
    """Bytes on their way into a storage."""

    @property
    def file(self) -> BinaryIO:
        """Write them here."""

    def publish(self, key: str) -> None:
        """Give all bytes their key, in place of what was there: whole, or not at all. Once."""


class Storage(Protocol):
    """Only `OSError` and its kinds leave these methods; `FileNotFoundError` for a missing key."""

    @property
    def location(self) -> str:
        """Path or URL, for people."""

    @property
    def scratch(self) -> Path:
        """Local folder for what is not whole yet; need not exist."""

    def incoming(self) -> AbstractContextManager[Incoming]:
        """Room for new bytes, given back at the end unless they were published."""

    def adopt_file(self, path: Path, key: str) -> None:
        """Publish a finished local file, which is gone from `path` then. Its time is now."""

    def open(self, key: str) -> BinaryIO:
        """The bytes, to read and to seek in; the caller closes it."""

    def entry(self, key: str) -> Entry:
        """Size, and the time of the bytes; what `refresh` did shows in `entries`."""

    def sizes(self, keys: Set[str]) -> Mapping[str, int]:
        """Sizes in bytes of those keys that are there, in few requests."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Everything below a folder key, in any order; none when there is no such folder."""

    def remove(self, *keys: str) -> None:
        """Remove; no error for what is gone already. What is removed stays so after a power cut."""

    def refresh(self, key: str) -> None:
        """Make it as young as if it were put now."""

    def local_path(self, key: str) -> Path:
        """A local file with these bytes, to read for as long as the store is used."""

    def sweep_uploads(self, dry_run: bool) -> int:
        """Give up what the dead left unfinished outside of `scratch`; gives the number."""

    def lock(self, *, exclusive: bool) -> AbstractContextManager[None]:
        """Readers and writer lock of the store over all processes; ends with its holder."""
