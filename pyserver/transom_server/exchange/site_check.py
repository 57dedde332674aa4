"""`transom export --check`: walk a static site as a browser would, and name what would fail.

From `index.html` to all that it, its scripts, styles and service worker load; from `index.json` to
every blob. Sizes and digests are checked where the site tells them, and every size has a cap: the
site may be anybody's. Writes nothing.
"""

import base64
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_document,
)
from transom_models.media_types import ANNOTATION_REF_NAME
from transom_server.exchange.blob_pieces import (
    file_names,
    is_in_pieces,
    limit_of,
    piece_sizes,
)
from transom_server.exchange.counting import Counting
from transom_server.exchange.mirrors import told_mirrors
from transom_server.exchange.oci_layout import INDEX_NAME, LAYOUT_NAME, blob_name
from transom_server.exchange.page_export import SERVICE_WORKER
from transom_server.exchange.site_references import (
    SCRIPT_TYPES,
    START,
    BadReference,
    Kind,
    Reference,
    read_css,
    read_html,
    read_kept,
    read_script,
    resolve,
    unsafe_sources,
)
from transom_server.exchange.site_source import SiteSource, Unreadable, read_all
from transom_server.transfer.http_client import TransferError
from transom_server.transfer.status import Cancelled, Report, Status

PYTHON_LOCK: Final = "pyodide-lock.json"
# The largest file of our page is Python's wasm, about 10 MB.
MAX_PAGE_FILE_BYTES: Final = 64 * 1024 * 1024
# What is searched for references: the largest script of ours is 1 MB.
MAX_TEXT_BYTES: Final = 16 * 1024 * 1024
# A built page has dozens.
MAX_PAGE_FILES: Final = 4096
# Somebody who reads the list mends a few, then checks again.
MAX_FAULTS: Final = 1000
_HEX: Final = frozenset("0123456789abcdef")
_AGAIN: Final = "export again into this folder, or copy the missing files to the host"
_PAGE: Final = "build the page again (`npm run build`) and export it"
_STYLE_TYPES: Final = frozenset({"text/css"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What would fail in a browser, and the way out."""

    path: str
    reason: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(slots=True)
class SiteReport:
    """What was found. Sizes in bytes."""

    faults: list[Fault] = field(default_factory=list)
    page_files: int = 0
    page_bytes: int = 0
    models: list[str] = field(default_factory=list)
    blobs: int = 0
    blob_bytes: int = 0
    largest_file_bytes: int = 0
    max_file_bytes: int | None = None

    @property
    def sound(self) -> bool:
        """Whether a browser would find all that it asks for."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file that something named."""

    name: str
    kind: Kind
    by: str
    integrity: str | None


class SiteCheck:
    """One walk; `run` once."""

    def __init__(
        self,
        source: SiteSource,
        report: Report,
        *,
        limit: int | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._source, self._tell = source, report
        self._cancelled = cancelled or threading.Event()
        self._found = SiteReport(max_file_bytes=limit)
        self._queue: deque[_Wanted] = deque()
        self._digests: dict[str, bytes] = {}
        """sha256 of the page's files that were read."""
        self._documents = set[Digest]()
        """Indexes and manifests that were read."""
        self._mentions_worker = False
        self._told_limit: int | None = None
        """The layout's own; `limit` is what somebody asks of it."""

    def run(self) -> SiteReport:
        """Walk all of it. Raises `Cancelled`, and `TransferError` where the host is not there."""
        self._tell(Status("checking the page"))
        index = self._index()
        self._want(_Wanted(START, "html", "the site", None))
        self._crawl()
        if SERVICE_WORKER not in self._digests and self._mentions_worker:
            self._want(_Wanted(SERVICE_WORKER, "script", "the page", None))
            self._crawl()
        if index is not None:
            self._check_models(index)
        return self._found

    # The page

    def _want(self, wanted: _Wanted) -> None:
        self._queue.append(wanted)

    def _crawl(self) -> None:
        while self._queue:
            wanted = self._queue.popleft()
            if wanted.name not in self._digests:
                if self._found.page_files >= MAX_PAGE_FILES:
                    self._fault(wanted.by, f"asks for more than {MAX_PAGE_FILES} files", _PAGE)
                    return
                self._visit(wanted)
            self._check_integrity(wanted)

    def _visit(self, wanted: _Wanted) -> None:
        name = wanted.name
        self._digests[name] = b""
        cap = MAX_PAGE_FILE_BYTES if wanted.kind == "file" else MAX_TEXT_BYTES
        data = self._read(name, wanted.by, cap, kind=wanted.kind)
        if data is None:
            return
        self._found.page_files += 1
        self._found.page_bytes += len(data)
        self._digests[name] = hashlib.sha256(data).digest()
        if name.endswith("/" + PYTHON_LOCK):
            self._read_lock(name, data)
            return
        if wanted.kind == "module" and name.endswith(".mjs"):
            self._fault(name, "is no script to nginx and others; .js is to all", _PAGE)
        text = "" if wanted.kind == "file" else data.decode("utf-8", "replace")
        match wanted.kind:
            case "html":
                self._read_page(name, text)
            case "style":
                self._follow(name, read_css(text))
            case "module" | "script":
                self._mentions_worker |= SERVICE_WORKER in text
                self._follow(name, read_script(text))
                if name == SERVICE_WORKER:
                    self._follow(name, read_kept(text))
            case "manifest":
                self._read_manifest(name, data)

    def _follow(self, base: str, references: list[Reference]) -> None:
        for one in references:
            try:
                name = resolve(one.text, base)
            except BadReference as error:
                self._fault(base, str(error), _PAGE)
                continue
            if name is not None:
                self._want(_Wanted(name, one.kind, base, one.integrity))

    def _read_page(self, name: str, text: str) -> None:
        page = read_html(text)
        if page.policy is None:
            self._fault(name, "has no Content-Security-Policy", _PAGE)
        else:
            mirrors, wrong = told_mirrors(page.mirrors, page.policy)
            for reason in wrong:
                self._fault(name, reason, "export again with --mirror")
            for source in unsafe_sources(page.policy, name, mirrors):
                self._fault(name, f"its policy allows {source:.120}", _PAGE)
        for what in page.inline:
            self._fault(name, f"has {what:.80} inside, which its policy blocks", _PAGE)
        if name == START and not page.is_of_export:
            self._fault(name, "does not say that models are files here", _AGAIN)
        self._follow(name, page.references)

    def _read_manifest(self, name: str, data: bytes) -> None:
        manifest = self._json(name, data)
        icons = manifest.get("icons")
        rows = icons if isinstance(icons, list) else []
        texts = [icon.get("src") for icon in rows if isinstance(icon, dict)]
        for text in [manifest.get("start_url"), manifest.get("scope"), *texts]:
            if isinstance(text, str):
                kind: Kind = "file" if text in texts else "html"
                self._follow(name, [Reference(text, kind)])

    def _read_lock(self, name: str, data: bytes) -> None:
        """Python's files lie beside their lock, each with its sha256; but the wheel for people's
        own programs, which the page does not load and the service worker names."""
        lock = self._json(name, data)
        files, packages = lock.get("files", {}), lock.get("packages", {})
        rows = list(files.items()) if isinstance(files, dict) else []
        rows = [(file, row) for file, row in rows if file != lock.get("client")]
        if isinstance(packages, dict):
            rows += [(row.get("file_name"), row) for row in packages.values()]
        for file, row in rows:
            digits = row.get("sha256") if isinstance(row, dict) else None
            is_digest = isinstance(digits, str) and len(digits) == 64 and _HEX.issuperset(digits)
            if not isinstance(file, str) or not is_digest:
                self._fault(name, f"has no sha256 of {file!r:.80}", "build it with `transom build`")
                continue
            integrity = "sha256-" + base64.b64encode(bytes.fromhex(str(digits))).decode()
            kind: Kind = "module" if file.endswith((".js", ".mjs")) else "file"
            self._follow(name, [Reference(file, kind, integrity)])

    def _json(self, name: str, data: bytes) -> dict[str, object]:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            self._fault(name, "is no JSON object", _PAGE)
            return {}
        return value

    def _check_integrity(self, wanted: _Wanted) -> None:
        digest = self._digests[wanted.name]
        if wanted.integrity is None or digest == b"":
            return
        actual = "sha256-" + base64.b64encode(digest).decode()
        if actual != wanted.integrity:
            self._fault(
                wanted.name,
                f"is not the file that {wanted.by} means: {actual}, not {wanted.integrity:.80}",
                _AGAIN,
            )

    # The models

    def _index(self) -> Index | None:
        data = self._read(INDEX_NAME, "the page", MAX_MANIFEST_BYTES)
        self._read(LAYOUT_NAME, "image layouts", 4096)
        if data is None:
            return None
        try:
            index = Index.from_bytes(data)
            told = limit_of(index)
        except TransomError as error:
            self._fault(INDEX_NAME, str(error), _AGAIN)
            return None
        if self._found.max_file_bytes is None:
            self._found.max_file_bytes = told
        self._told_limit = told
        if not index.manifests:
            self._fault(INDEX_NAME, "offers no model", _AGAIN)
        return index

    def _check_models(self, index: Index) -> None:
        blobs = dict[Digest, int]()
        for row in index.manifests:
            name = row.annotations.get(ANNOTATION_REF_NAME)
            if name is None:
                self._fault(INDEX_NAME, f"has no name for {row.digest}", _AGAIN)
            else:
                self._found.models.append(name)
            for part in self._parts(row):
                if blobs.setdefault(part.digest, part.size) != part.size:
                    self._fault(blob_name(part.digest), "is told to have two sizes", _AGAIN)
        counting = Counting(self._tell, "checking models", sum(blobs.values()), self._cancelled)
        for digest, size in blobs.items():
            self._check_blob(digest, size, counting)

    def _parts(self, row: Descriptor, depth: int = 0) -> Iterator[Descriptor]:
        """A row, and all that it names in turn."""
        yield row
        if row.media_type not in INDEX_TYPES + MANIFEST_TYPES or row.digest in self._documents:
            return
        self._documents.add(row.digest)
        name = blob_name(row.digest)
        if depth > 1 or row.size > MAX_MANIFEST_BYTES:
            self._fault(name, "is too deep or too large to be a manifest", _AGAIN)
            return
        data = self._read(name, INDEX_NAME, MAX_MANIFEST_BYTES)
        if data is None or Digest.of(data) != row.digest:
            return  # told when the blobs are checked
        try:
            _, document = parse_document(data)
        except TransomError as error:
            self._fault(name, str(error), _AGAIN)
            return
        if isinstance(document, Manifest):
            yield from document.descriptors
            return
        for one in document.manifests:
            yield from self._parts(one, depth + 1)

    def _check_blob(self, digest: Digest, size: int, counting: Counting) -> None:
        name = blob_name(digest)
        in_pieces = is_in_pieces(size, self._told_limit)
        sizes = piece_sizes(size) if in_pieces else [size]
        files = file_names(name, size, self._told_limit)
        hasher = hashlib.sha256()
        for file, expected in zip(files, sizes, strict=True):
            came = self._hash(file, expected, hasher, counting)
            if came is None:
                return
            if came != expected:
                short = "more" if came > expected else f"{came}"
                self._fault(file, f"has {short} bytes, not {expected}", _AGAIN)
                return
        self._found.blobs += 1
        self._found.blob_bytes += size
        if hasher.hexdigest() != digest.hex:
            self._fault(name, "is damaged: its digest is another one", _AGAIN)

    def _hash(self, name: str, cap: int, hasher: "hashlib._Hash", counting: Counting) -> int | None:
        """Bytes of a file that came, at most one chunk over `cap`; None: it is not there."""
        came = 0
        try:
            with self._source.open(name) as file:
                for chunk in file.chunks:
                    came += len(chunk)
                    if came > cap:
                        break
                    hasher.update(chunk)
                    counting.advance(len(chunk))
        except FileNotFoundError:
            self._fault(name, f"is missing; {INDEX_NAME} asks for it", _AGAIN)
            return None
        except Cancelled:
            raise
        except (Unreadable, TransferError) as error:
            self._fault(name, str(error), _AGAIN)
            return None
        self._check_limit(name, came)
        return came

    # Files

    def _read(self, name: str, by: str, cap: int, kind: Kind = "file") -> bytes | None:
        """A file's bytes; None, and a fault, where a browser would not get it."""
        if self._cancelled.is_set():
            raise Cancelled
        try:
            with self._source.open(name) as file:
                data = read_all(file, cap)
                self._check_type(name, kind, file.media_type)
        except FileNotFoundError:
            self._fault(name, f"is missing; {by} asks for it", _AGAIN)
            return None
        except Cancelled:
            raise
        except (Unreadable, TransferError) as error:
            self._fault(name, str(error), _AGAIN)
            return None
        self._check_limit(name, len(data))
        return data

    def _check_type(self, name: str, kind: Kind, media_type: str | None) -> None:
        if media_type is None:
            return
        wanted = {"module": SCRIPT_TYPES, "script": SCRIPT_TYPES, "style": _STYLE_TYPES}.get(kind)
        if wanted is not None and media_type not in wanted:
            good = "text/css" if kind == "style" else "text/javascript"
            self._fault(
                name,
                f"comes as {media_type or 'nothing'!s:.80}; browsers take {good} only",
                f"tell the host that {name.rpartition('.')[2]} files are {good}",
            )

    def _check_limit(self, name: str, size: int) -> None:
        found = self._found
        found.largest_file_bytes = max(found.largest_file_bytes, size)
        if found.max_file_bytes is not None and size > found.max_file_bytes:
            self._fault(
                name,
                f"has {size} bytes, over the {found.max_file_bytes} that a file may have",
                f"export again with --max-file {found.max_file_bytes}",
            )

    def _fault(self, path: str, reason: str, way_out: str) -> None:
        fault = Fault(path, reason, way_out)
        if len(self._found.faults) < MAX_FAULTS and fault not in self._found.faults:
            self._found.faults.append(fault)
