"""An OCI image layout in a tar file, read in place: nothing is ever unpacked to a path.

The headers are read one by one, each of 512 bytes (POSIX.1-2017, pax). Only regular files and
folders may be in it. Links, devices, sparse files, names that leave the tar, and two files of one
name are refused, so that what is read here is what any other reader would see.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.errors import TransomError
from transom_server.exchange.regular_file import open_regular

BLOCK: Final = tarfile.BLOCKSIZE
# A layout has a file per blob and three more; a model has hundreds of blobs.
MAX_MEMBERS: Final = 65_536
# Extended headers hold a long name, times and owners: a few hundred bytes.
MAX_EXTENDED_BYTES: Final = 64 * 1024
# A layout's longest name is `blobs/sha256/` and 64 digits.
MAX_NAME_CHARS: Final = 1024

_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


class InvalidTar(TransomError):
    """The file is no tar that is safe to read; the text names the member."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file's bytes are in the tar."""

    offset: int
    size: int


class TarReader:
    """The regular files of a tar, by name; use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.members = dict[str, Member]()

    def __enter__(self) -> "TarReader":
        file = open_regular(self._path)
        try:
            self.members = _scan(file, self._path)
        finally:
            file.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.members = {}

    def open(self, name: str) -> BinaryIO:
        """A file's bytes; the caller closes it. Raises `FileNotFoundError`."""
        member = self.members.get(name)
        if member is None:
            raise FileNotFoundError(name)
        return io.BufferedReader(_Slice(open_regular(self._path), member))


class _Slice(io.RawIOBase):
    """`size` bytes of a file from `offset` on; closes the file with itself."""

    def __init__(self, file: BinaryIO, member: Member) -> None:
        self._file, self._member = file, member
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._member.size}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._member.size - self._position))
        self._file.seek(self._member.offset + self._position)
        data = self._file.read(count)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _scan(file: BinaryIO, path: Path) -> dict[str, Member]:
    """All regular files of the tar; nothing is kept of a tar with anything else in it."""
    members: dict[str, Member] = {}
    folded: dict[str, str] = {}
    for header, name, size, offset in _headers(file, path):
        if header.type == tarfile.DIRTYPE:
            continue
        if header.type not in _REGULAR:
            raise InvalidTar(f"{path} holds {name!r:.120}, which is {_kind(header)}, no file")
        if name.casefold() in folded:
            other = folded[name.casefold()]
            raise InvalidTar(f"{path} holds both {other!r:.120} and {name!r:.120}")
        folded[name.casefold()] = name
        members[name] = Member(offset, size)
    return members


def _headers(file: BinaryIO, path: Path) -> Iterator[tuple[tarfile.TarInfo, str, int, int]]:
    """Each member's header, its checked name, its size and where its bytes begin."""
    end = file.seek(0, io.SEEK_END)
    position, count = 0, 0
    extended: dict[str, str] = {}
    while True:
        file.seek(position)
        block = file.read(BLOCK)
        if position == 0:
            _refuse_compressed(block, path)
        if not block.strip(b"\0"):
            return
        header = _header(block, path)
        position += BLOCK
        count += 1
        if count > MAX_MEMBERS:
            raise InvalidTar(f"{path} holds more than {MAX_MEMBERS} files")
        size = _size(header, extended, path)
        if position + size > end:
            raise InvalidTar(f"{path} ends in the middle of {header.name!r:.120}")
        if header.type in (*_PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            if size > MAX_EXTENDED_BYTES:
                raise InvalidTar(f"{path} has a header of {size} bytes, over {MAX_EXTENDED_BYTES}")
            extended |= _extended(header, file.read(size), path)
        else:
            yield header, _name(extended.get("path", header.name), path), size, position
            extended = {}
        position += -(-size // BLOCK) * BLOCK


def _header(block: bytes, path: Path) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise InvalidTar(f"{path} is not a tar file, or is damaged: {error}") from None


def _size(header: tarfile.TarInfo, extended: dict[str, str], path: Path) -> int:
    text = extended.get("size")
    if text is None:
        size = header.size
    elif text.isascii() and text.isdigit() and len(text) < 20:
        size = int(text)
    else:
        raise InvalidTar(f"{path} has the size {text!r:.40}")
    if size < 0:
        raise InvalidTar(f"{path} has a member of {size} bytes")
    # Folders and links carry none, whatever their header says.
    is_data = header.type in (*_REGULAR, *_PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
    return size if is_data else 0


def _extended(header: tarfile.TarInfo, data: bytes, path: Path) -> dict[str, str]:
    """What an extended header changes about the next member: its name, its size."""
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found: dict[str, str] = {}
    while data.strip(b"\0"):
        length, space, _ = data.partition(b" ")
        if not (space and length.isdigit() and len(length) < 7 and 0 < int(length) <= len(data)):
            raise InvalidTar(f"{path} has an extended header that cannot be read")
        record, data = data[len(length) + 1 : int(length)], data[int(length) :]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        if key.startswith(b"GNU.sparse."):
            raise InvalidTar(f"{path} holds a sparse file; pack it without --sparse")
        if key in (b"path", b"size"):
            if header.type == tarfile.XGLTYPE:
                raise InvalidTar(f"{path} gives one {key.decode()} to all of its files")
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
    return found


def _name(name: str, path: Path) -> str:
    """A name as a layout has it, without `./` before it. Raises `InvalidTar`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if (
        name.startswith("/")
        or ".." in parts
        or "\\" in name
        or not name.isprintable()
        or len(name) > MAX_NAME_CHARS
    ):
        raise InvalidTar(f"{path} holds {name!r:.120}, which is no path below the tar")
    return "/".join(parts)


def _kind(header: tarfile.TarInfo) -> str:
    if header.issym():
        return "a symbolic link"
    if header.islnk():
        return "a hard link"
    if header.isdev():
        return "a device or FIFO"
    return "a sparse file" if header.type == tarfile.GNUTYPE_SPARSE else "something special"


def _refuse_compressed(block: bytes, path: Path) -> None:
    for magic, kind in _COMPRESSED.items():
        if block.startswith(magic):
            raise InvalidTar(f"{path} is compressed with {kind}; unpack that first")
