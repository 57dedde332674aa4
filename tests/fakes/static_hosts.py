"""Amazon S3's REST endpoint and GitHub Pages: fakes, because a test has no account and no internet.

They answer GET and HEAD of a folder's files with what is public about the two. Fakes all the same:
what only the real ones know (redirects to regions, caches on the way, throttling) is not here.

Amazon S3, an anonymous reader who may get objects and not list them:

- No index document, and errors are XML (docs.aws.amazon.com/AmazonS3/latest/userguide/
  WebsiteEndpoints.html: what the website endpoint has, and the REST endpoint has not).
- A key that is not there is 403 AccessDenied without `s3:ListBucket` (github.com/aws/aws-cli/
  issues/2041).
- `Range` takes one range; several are answered with 200 and the whole object (API_GetObject.html;
  measured in github.com/awslabs/aws-c-s3/issues/257, which also shows a multipart ETag, `…-5`).
- `Content-Type` is the uploader's word, and `binary/octet-stream` without one. `aws s3 cp` asks
  Python's `mimetypes`; here it is one that knows neither `.wasm` nor `.webmanifest`.
- No compression, and no `Cache-Control` that nobody set.

GitHub Pages, a project's site:

- It lies below `/<repository>/`; `index.html` is its index, a folder without its slash redirects,
  `.html` may be left out, and `404.html` is the body of a 404 (docs.github.com, "Creating a custom
  404 page for your GitHub Pages site").
- `Cache-Control: max-age=600`, `Access-Control-Allow-Origin: *`, `Accept-Ranges: bytes`,
  `Vary: Accept-Encoding` (the answer in github.com/isaacs/github/issues/611); no headers of ours.
- gzip for whoever accepts it, binary files too (github.com/ayutaz/sanoTTS-jp/pull/9, measured);
  `Content-Length` is then the compressed one, ranges are of the file as it is
  (github.com/github/pages-gem/issues/952).
- Types are mime-db's, which has `application/wasm` (github.com/orgs/community/discussions/22863).
- Files over 100 MiB cannot be pushed, and without `.nojekyll` names that begin with a dot or an
  underscore are left out.
"""

import gzip
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

MAX_PUSHED_BYTES: Final = 100 * 1024 * 1024
MULTIPART_BYTES: Final = 8 * 1024 * 1024
"""From this size on `aws s3 cp` uploads in parts, and the ETag is of their digests."""
_ONE_RANGE: Final = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")


@dataclass(frozen=True)
class Asked:
    """A request and how it was answered."""

    path: str
    """Without the query, from the host's root on."""
    status: int
    range: str | None


@dataclass(frozen=True)
class _Answer:
    """What a host has under a path. Its file's bytes, or those of an error."""

    status: HTTPStatus
    content: bytes
    headers: Mapping[str, str]


class _Host(http.server.BaseHTTPRequestHandler):
    """Ranges, conditions and the log; what lies where is the hosts' own."""

    protocol_version = "HTTP/1.1"
    # Heads and bodies are written apart, which would wait for each other's acknowledgement.
    disable_nagle_algorithm = True

    def __init__(self, *words: Any, root: Path, log: list[Asked], **named: Any) -> None:
        self.root, self.log = root, log
        super().__init__(*words, **named)

    def find(self, path: str) -> _Answer:
        raise NotImplementedError

    def bad_range(self, size: int) -> _Answer:
        raise NotImplementedError

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        answer = self._conditional(self.find(path))
        self.log.append(Asked(path, answer.status, self.headers.get("Range")))
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """`log` has it."""

    def _conditional(self, found: _Answer) -> _Answer:
        """304, a part, or all of it."""
        if found.status != HTTPStatus.OK:
            return found
        opaque = found.headers["ETag"].removeprefix("W/")
        if opaque in self.headers.get("If-None-Match", ""):
            kept = {k: v for k, v in found.headers.items() if not k.startswith("Content-")}
            return _Answer(HTTPStatus.NOT_MODIFIED, b"", kept)
        asked = _ONE_RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None:
            return found
        size = len(found.content)
        first = int(asked[1]) if asked[1] else max(0, size - int(asked[3]))
        last = min(int(asked[2] or size - 1) if asked[1] else size - 1, size - 1)
        if first > last:
            return self.bad_range(size)
        return _Answer(
            HTTPStatus.PARTIAL_CONTENT,
            found.content[first : last + 1],
            {**found.headers, "Content-Range": f"bytes {first}-{last}/{size}"},
        )


class _S3(_Host):
    # What an older Python's `mimetypes` knows of ours.
    TYPES: Final[Mapping[str, str]] = {
        ".css": "text/css",
        ".html": "text/html",
        ".js": "application/javascript",
        ".json": "application/json",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".txt": "text/plain",
    }

    def version_string(self) -> str:
        return "AmazonS3"

    def find(self, path: str) -> _Answer:
        # The bucket's own address lists it, and a key that ends with a slash is no folder.
        file = self.root / path.lstrip("/")
        if path.endswith("/") or not file.is_file():
            return self._error(HTTPStatus.FORBIDDEN, "AccessDenied", "Access Denied")
        content = file.read_bytes()
        return _Answer(
            HTTPStatus.OK,
            content,
            {
                "Last-Modified": formatdate(file.stat().st_mtime, usegmt=True),
                "ETag": f'"{_md5(content)}"',
                "Accept-Ranges": "bytes",
                "Content-Type": self.TYPES.get(file.suffix, "binary/octet-stream"),
            },
        )

    def bad_range(self, size: int) -> _Answer:
        message = f"The requested range is not satisfiable (of {size} bytes)"
        return self._error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange", message)

    @staticmethod
    def _error(status: HTTPStatus, code: str, message: str) -> _Answer:
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
        return _Answer(status, text.encode(), {"Content-Type": "application/xml"})


class _GitHubPages(_Host):
    TYPES: Final[Mapping[str, str]] = {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json; charset=utf-8",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json; charset=utf-8",
        ".zip": "application/zip",
    }
    COMPRESSED_ALREADY: Final = frozenset({".png", ".zip"})
    COMMON: Final[Mapping[str, str]] = {
        "Access-Control-Allow-Origin": "*",
        "Vary": "Accept-Encoding",
    }

    def version_string(self) -> str:
        return "GitHub.com"

    def find(self, path: str) -> _Answer:
        file = self.root / path.lstrip("/")
        if not self._is_published(path):
            return self._missing(path)
        if file.is_dir():
            if not path.endswith("/"):
                place = {**self.COMMON, "Location": f"{path}/"}
                return _Answer(HTTPStatus.MOVED_PERMANENTLY, b"", place)
            file /= "index.html"
        elif not file.is_file() and not path.endswith("/"):
            file = file.with_name(f"{file.name}.html")
        if not file.is_file():
            return self._missing(path)
        return self._file(file)

    def bad_range(self, size: int) -> _Answer:
        whole = {**self.COMMON, "Content-Range": f"bytes */{size}"}
        return _Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", whole)

    def _file(self, file: Path) -> _Answer:
        content, facts = file.read_bytes(), file.stat()
        headers = {
            **self.COMMON,
            "Content-Type": self.TYPES.get(file.suffix, "application/octet-stream"),
            "Last-Modified": formatdate(facts.st_mtime, usegmt=True),
            "ETag": f'"{int(facts.st_mtime):x}-{facts.st_size:x}"',
            "Cache-Control": "max-age=600",
            "Accept-Ranges": "bytes",
        }
        accepts = "gzip" in self.headers.get("Accept-Encoding", "")
        if accepts and "Range" not in self.headers and file.suffix not in self.COMPRESSED_ALREADY:
            content = gzip.compress(content, compresslevel=1, mtime=0)
            headers |= {"Content-Encoding": "gzip", "ETag": f"W/{headers['ETag']}"}
        return _Answer(HTTPStatus.OK, content, headers)

    def _is_published(self, path: str) -> bool:
        names = path.split("/")[2:]
        is_plain = not any(name.startswith((".", "_")) for name in names)
        return is_plain or (self._site(path) / ".nojekyll").is_file()

    def _missing(self, path: str) -> _Answer:
        own = self._site(path) / "404.html"
        text = own.read_bytes() if own.is_file() else b"<!DOCTYPE html><h1>404</h1>"
        headers = {**self.COMMON, "Content-Type": "text/html; charset=utf-8"}
        return _Answer(HTTPStatus.NOT_FOUND, text, headers)

    def _site(self, path: str) -> Path:
        return self.root / path.split("/")[1]


@contextmanager
def amazon_s3(root: Path, log: list[Asked]) -> Iterator[str]:
    """Serves a bucket whose keys are the paths below `root`; gives the endpoint's origin."""
    with _serve(_S3, root, log) as origin:
        yield origin


@contextmanager
def github_pages(root: Path, log: list[Asked]) -> Iterator[str]:
    """Serves an account whose repositories are the folders in `root`; gives its origin.

    Raises `ValueError` for a file that could not have been pushed.
    """
    for file in root.rglob("*"):
        if file.is_file() and file.stat().st_size > MAX_PUSHED_BYTES:
            raise ValueError(f"{file.name} exceeds GitHub's file size limit of 100.00 MB")
    with _serve(_GitHubPages, root, log) as origin:
        yield origin


@contextmanager
def _serve(host: type[_Host], root: Path, log: list[Asked]) -> Iterator[str]:
    handler = partial(host, root=root, log=log)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _md5(content: bytes) -> str:
    if len(content) < MULTIPART_BYTES:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    parts = [content[at : at + MULTIPART_BYTES] for at in range(0, len(content), MULTIPART_BYTES)]
    digests = [hashlib.md5(part, usedforsecurity=False).digest() for part in parts]
    joined = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{joined}-{len(parts)}"
