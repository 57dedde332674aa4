"""Zip files whose bytes depend on their content alone: sorted names, one fixed time, one mode.

Knows neither Python packages nor Pyodide, but how a wheel's record is written.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can say."""

_READABLE_FILE = 0o100644 << 16
_UNIX = 3


def zip_bytes(files: Mapping[str, bytes]) -> bytes:
    """A zip of `files` (path inside, with `/`, to content), the same for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _READABLE_FILE
            entry.create_system = _UNIX
            archive.writestr(entry, content)
    return buffer.getvalue()


def unzip(data: bytes) -> dict[str, bytes]:
    """Every file of a zip; folders are left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            entry.filename: archive.read(entry)
            for entry in archive.infolist()
            if not entry.is_dir()
        }


def with_record(files: Mapping[str, bytes], info_folder: str) -> dict[str, bytes]:
    """`files` and the wheel's RECORD of them in `info_folder` (`jinja2-3.1.6.dist-info`)."""
    record = f"{info_folder}/RECORD"
    rows = [
        f"{name},sha256={_urlsafe(content)},{len(content)}"
        for name, content in sorted(files.items())
    ]
    return {**files, record: "\n".join([*rows, f"{record},,", ""]).encode()}


def _urlsafe(content: bytes) -> str:
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
