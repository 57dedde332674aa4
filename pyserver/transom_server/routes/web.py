"""The built web page: `index.html`, its assets, and the headers that keep strange code out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound
from werkzeug.routing import PathConverter
from werkzeug.security import safe_join

from transom_models.digest import Digest
from transom_server.errors import error_response
from transom_server.http.blob_response import (
    IMMUTABLE,
    OCTET_STREAM,
    REVALIDATE,
    add_validators,
)
from transom_server.http.packed_files import PackedFiles
from transom_server.settings.embed_origins import FILE as EMBED_FILE
from transom_server.settings.embed_origins import embed_file

NOT_BUILT: Final = (
    "the web page is not built; run `npm ci && transom build pyodide && npm run build` "
    "in the checkout"
)

# As in web/content-security-policy.ts, which writes it into the page for static hosts; a worker
# hears the header only. `frame-ancestors` counts in a header alone.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "frame-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)

# Frames of the page, each for one thing; `OWN_DIRECTIVES` in the same file.
OWN_POLICIES: Final = {
    "python.html": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self' data: blob: 'wasm-unsafe-eval'",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    ),
    "outside.html": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src https: http://localhost:* http://127.0.0.1:*",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    ),
}

# Browsers let threads share memory only where nothing of another origin can come in; without a
# graphics adapter the page runs models on the processor, and threads make that twice as fast.
ISOLATION: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}

# For pages of other sites (docs/embedding.md): the frame in them, its list of sites, the window
# that asks the visitor and has to answer the frame that opened it, and what sites load.
FRAME: Final = "embed.html"
QUESTION: Final = "consent.html"
CONNECT: Final = "connect.js"

# Vite puts a digest of the content into the name of everything in here.
_HASHED_FOLDER: Final = "assets/"
# Python's own table reads the machine's mime.types, which may say anything.
_TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
    ".txt": "text/plain",
}
# Wheels, archives and pictures are packed already.
_PACKABLE: Final = frozenset(
    {".html", ".js", ".mjs", ".css", ".json", ".map", ".svg", ".wasm", ".webmanifest", ".txt"}
)
# A page with all that only debuggers read has 8 MB packed.
_MOST_PACKED_BYTES: Final = 32 * 1024 * 1024
GZIP: Final = "gzip"


def find_web_dir(configured: Path | None) -> Path | None:
    """The folder of the built page, or None. Without a setting: `web/dist` of this checkout."""
    folder = configured or Path(__file__).resolve().parents[3] / "web" / "dist"
    return folder if (folder / "index.html").is_file() else None


class PageConverter(PathConverter):
    """A path, but none of the APIs': what they do not have must not look like a file of the page,
    whose only method is GET."""

    regex = r"(?!(?:v1|v2|api|webllm)(?:/|$)|(?:de)?tokenize$|rerank(?:ing)?$)[^/].*?"


def blueprint(
    configured: Path | None, embed_origins: Callable[[], Sequence[str]] = tuple
) -> Blueprint:
    """Looks for the folder at each request: the page may be built while the server runs.

    `embed_origins`: sites that may have our frame in their pages.
    """
    routes = Blueprint("web", __name__)
    packed = PackedFiles(_MOST_PACKED_BYTES)
    routes.record(lambda state: state.app.url_map.converters.update(page=PageConverter))

    @routes.get("/")
    def index() -> Response:
        folder = find_web_dir(configured)
        if folder is None:
            if request.method == "HEAD":
                return Response(status=200)  # Ollama's clients ask so whether anybody is there
            return error_response(503, "UNAVAILABLE", NOT_BUILT)
        return _send(folder, "index.html", embed_origins(), packed)

    @routes.get(f"/{EMBED_FILE}")
    def embed() -> Response:
        response = Response(embed_file(embed_origins()), mimetype="application/json")
        response.headers["Cache-Control"] = REVALIDATE
        return response

    @routes.get("/<page:file>")
    def asset(file: str) -> Response:
        folder = find_web_dir(configured)
        if folder is None:
            raise NotFound
        return _send(folder, file, embed_origins(), packed)

    return routes


def _send(folder: Path, file: str, embed_origins: Sequence[str], packed: PackedFiles) -> Response:
    """A file of the page, whole: the largest are a few megabytes. Raises `NotFound`."""
    path = safe_join(str(folder), file)
    if path is None or not Path(path).is_file():
        raise NotFound
    data = Path(path).read_bytes()
    digest = Digest.of(data)
    suffix = Path(file).suffix.lower()
    hashed = file.startswith(_HASHED_FOLDER)
    response = Response(mimetype=_TYPES.get(suffix, OCTET_STREAM))
    add_validators(response, digest, IMMUTABLE if hashed else REVALIDATE)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.update(_protection(file, embed_origins))
    tag = str(digest)
    if suffix in _PACKABLE:
        response.vary.add("Accept-Encoding")
        smaller = packed.get(digest, data) if request.accept_encodings[GZIP] > 0 else None
        if smaller is not None:
            # Other bytes need another name.
            data, tag = smaller, f"{digest}-{GZIP}"
            response.set_etag(tag)
            response.headers["Content-Encoding"] = GZIP
    if request.if_none_match.contains_weak(tag):
        del response.headers["Content-Encoding"]
        response.status_code = 304
    else:
        response.set_data(data)
    return response


def _protection(file: str, embed_origins: Sequence[str]) -> dict[str, str]:
    """Who may frame, open and load a file, as headers."""
    ancestors = ["'none'"]
    if file == FRAME:
        # Apps of our own origin may have the frame, too: it answers the API for them.
        ancestors = ["'self'", *embed_origins]
    elif file in OWN_POLICIES:
        ancestors = ["'self'"]
    policy = OWN_POLICIES.get(file, CONTENT_SECURITY_POLICY)
    policy = f"{policy}; frame-ancestors {' '.join(ancestors)}"
    headers = {"Content-Security-Policy": policy, **ISOLATION}
    if file == QUESTION:
        # Isolated, it could not answer who opened it.
        del headers["Cross-Origin-Opener-Policy"]
    if file in (FRAME, CONNECT) and embed_origins:
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if file == CONNECT:
        headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and origin in embed_origins:
            headers["Access-Control-Allow-Origin"] = origin
    return headers
