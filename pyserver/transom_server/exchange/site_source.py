"""The files of a static site to read, in a folder or at an address. Checks nothing that they hold.

No path leads out of the folder, and no redirect to another origin is followed to its bytes.
"""

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Protocol
from urllib.parse import quote

from transom_models.errors import TransomError
from transom_server.exchange.regular_file import NotRegular, open_regular
from transom_server.transfer.address import Address
from transom_server.transfer.http_client import HttpClient

READ_BYTES: Final = 256 * 1024


class Unreadable(TransomError):
    """A file that is there, and that no browser would get."""


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A file's bytes, once, as they come."""

    chunks: Iterator[bytes]
    media_type: str | None
    """As the host says, without parameters; None where there is no host."""


class SiteSource(Protocol):
    """A site's files by their path below it."""

    where: str

    def open(self, name: str) -> AbstractContextManager[SiteFile]:
        """Raises `FileNotFoundError`, `Unreadable`, and `TransferError` of the line."""


class SiteFolder:
    """A site in a folder."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._root = folder.resolve()

    @contextmanager
    def open(self, name: str) -> Iterator[SiteFile]:
        """See `SiteSource`."""
        with self._file(name) as file:
            yield SiteFile(iter(lambda: file.read(READ_BYTES), b""), None)

    def _file(self, name: str) -> BinaryIO:
        path = self._root / name
        parents = PurePosixPath(name).parts[:-1]
        if path.parent.resolve() != self._root.joinpath(*parents):
            raise Unreadable(f"{name} is behind a link, which leads somewhere else on another host")
        try:
            return open_regular(path)
        except NotRegular as error:
            raise Unreadable(str(error)) from None
        except (NotADirectoryError, IsADirectoryError):
            raise FileNotFoundError(name) from None


class SiteAddress:
    """A site on a host; `http` is a client that is open for as long as this is."""

    def __init__(self, url: str, http: HttpClient) -> None:
        self.where = url if url.endswith("/") else url.rpartition("/")[0] + "/"
        self._http = http
        self._origin = Address.parse(self.where).origin

    @contextmanager
    def open(self, name: str) -> Iterator[SiteFile]:
        """See `SiteSource`."""
        with self._http.open("GET", self.where + quote(name)) as answer:
            if answer.status == 404:
                raise FileNotFoundError(name)
            if answer.address.origin != self._origin:
                raise Unreadable(f"{name} leads to {answer.address.place}, another origin")
            if answer.status == 403:
                # S3 tells those who may not list a bucket neither that a key is missing.
                raise Unreadable(f"{name} is missing or not public: the host answers 403")
            if answer.status != 200:
                raise Unreadable(f"the host answers {answer.status} for {name}")
            media_type = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
            yield SiteFile(answer.chunks(), media_type)


def read_all(file: SiteFile, cap: int) -> bytes:
    """All bytes. Raises `Unreadable` where there are more than `cap`."""
    data = io.BytesIO()
    for chunk in file.chunks:
        data.write(chunk)
        if data.tell() > cap:
            raise Unreadable(f"it has more than {cap} bytes")
    return data.getvalue()
