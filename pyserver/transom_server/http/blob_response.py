"""A blob as an HTTP response: validators, ranges, and the bytes straight from the file.

Knows the store and HTTP; does not know which route asked.
"""

import base64
import hashlib
import re
import tempfile
from typing import BinaryIO, Final, cast

from flask import Response, request
from werkzeug.wsgi import FileWrapper, wrap_file

from transom_models.digest import Digest
from transom_models.media_types import LIBRARY, OLLAMA_LICENSE, OLLAMA_SYSTEM, OLLAMA_TEMPLATE
from transom_server.http.byte_range import UnsatisfiableRange, read_range
from transom_server.http.file_part import FilePart
from transom_server.store import Store
from transom_server.store.object_file import ObjectFile

# A digest names its bytes for ever; a year is the longest that caches are asked to believe.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
# May be kept, must be asked about before each use; the ETag makes that a 304.
REVALIDATE: Final = "no-cache"
SEND_BYTES: Final = 256 * 1024
OCTET_STREAM: Final = "application/octet-stream"

# A range is read twice for its digest, so it may not be large. Clients ask for 16 MiB.
MAX_HASHED_BYTES: Final = 64 * 1024 * 1024
_WANTS_SHA256: Final = re.compile(r"(?:^|,)\s*sha-256\s*=\s*(?:[1-9]|10)\s*(?:,|$)")

_TEXTS: Final = frozenset({OLLAMA_TEMPLATE, OLLAMA_SYSTEM, OLLAMA_LICENSE})


def content_type(media_type: str) -> str:
    """What to call a descriptor's bytes in HTTP; never a type that a browser shows as a page."""
    if media_type == LIBRARY:
        return "application/wasm"  # the only type that WebAssembly.compileStreaming takes
    if media_type.endswith("+json"):
        return "application/json"
    if media_type in _TEXTS:
        return "text/plain; charset=utf-8"
    return OCTET_STREAM


def blob_response(store: Store, digest: Digest, kind: str, cache_control: str) -> Response:
    """Answer GET or HEAD for a blob, with Range, If-Range and If-None-Match.

    `kind` is the Content-Type. Whoever asks with Want-Content-Digest (RFC 9530) gets the sha256 of
    the bytes of this very answer, so that a piece can be checked alone. Raises `BlobNotFound`.
    """
    response = Response(content_type=kind)
    response.headers["Accept-Ranges"] = "bytes"
    add_validators(response, digest, cache_control)
    size = store.blob_size(digest)
    if is_current(digest):
        response.status_code = 304
        return response
    first, count = 0, size
    # RFC 9110: Range means something for GET only.
    if request.method == "GET" and "Range" in request.headers and _same_as_before(digest):
        try:
            found = read_range(request.headers["Range"], size)
        except UnsatisfiableRange:
            response.status_code = 416
            response.headers["Content-Range"] = f"bytes */{size}"
            response.headers["Cache-Control"] = "no-store"
            response.content_length = 0
            return response
        if found is not None:
            first, count = found
            response.status_code = 206
            response.headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{size}"
    response.content_length = count
    if request.method == "GET":
        file = store.open_blob(digest)
        if isinstance(file, ObjectFile):
            file.will_read(first, count)
        if _WANTS_SHA256.search(request.headers.get("Want-Content-Digest", "")):
            if count == size:
                _add_content_digest(response, bytes.fromhex(digest.hex))
            elif count <= MAX_HASHED_BYTES:
                if isinstance(file, ObjectFile):
                    file, first = _brought_near(file, count), 0
                _add_content_digest(response, _hash_part(file, first, count))
        part = cast(BinaryIO, FilePart(file, first, count))
        if isinstance(file, ObjectFile):
            # From far away, so not for `sendfile`, nor for the main loop, which would wait for it.
            response.response = FileWrapper(part, SEND_BYTES)
        else:
            response.response = wrap_file(request.environ, part, SEND_BYTES)
        response.direct_passthrough = True
    return response


def add_validators(response: Response, digest: Digest, cache_control: str) -> None:
    """The digest as strong ETag, and how long to believe it."""
    response.headers["ETag"] = f'"{digest}"'
    response.headers["Cache-Control"] = cache_control


def is_current(digest: Digest) -> bool:
    """Whether the client has these bytes already (If-None-Match)."""
    return request.if_none_match.contains_weak(str(digest))


def _same_as_before(digest: Digest) -> bool:
    """If-Range: only a strong ETag that is equal lets a range be taken; dates we never gave out."""
    condition = request.headers.get("If-Range")
    return condition is None or condition.strip() == f'"{digest}"'


def _add_content_digest(response: Response, sha256: bytes) -> None:
    response.headers["Content-Digest"] = f"sha-256=:{base64.b64encode(sha256).decode()}:"


def _brought_near(file: BinaryIO, count: int) -> BinaryIO:
    """The next bytes of a far-away file, to be read twice and fetched once. Closes that file."""
    near = tempfile.TemporaryFile()
    try:
        with file:
            while count and (piece := file.read(min(count, SEND_BYTES))):
                near.write(piece)
                count -= len(piece)
    except BaseException:
        near.close()
        raise
    return cast(BinaryIO, near)


def _hash_part(file: BinaryIO, first: int, count: int) -> bytes:
    file.seek(first)
    state = hashlib.sha256()
    while count and (piece := file.read(min(count, SEND_BYTES))):
        state.update(piece)
        count -= len(piece)
    return state.digest()
