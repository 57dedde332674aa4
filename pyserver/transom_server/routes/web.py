"""The built web page: `index.html`, its assets, and the headers that keep strange code out."""

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
    is_current,
)

NOT_BUILT: Final = "the web page is not built; run `npm ci && npm run build` in the checkout"

# As in web/content-security-policy.ts, which writes it into the page for static hosts; a worker
# hears the header only. `frame-ancestors` counts in a header alone.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

# Browsers let threads share memory only where nothing of another origin can come in; without a
# graphics adapter the page runs models on the processor, and threads make that twice as fast.
ISOLATION: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}

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


def find_web_dir(configured: Path | None) -> Path | None:
    """The folder of the built page, or None. Without a setting: `web/dist` of this checkout."""
    folder = configured or Path(__file__).resolve().parents[3] / "web" / "dist"
    return folder if (folder / "index.html").is_file() else None


class PageConverter(PathConverter):
    """A path, but none of the APIs': what they do not have must not look like a file of the page,
    whose only method is GET."""

    regex = r"(?!(?:v1|v2|api|webllm)(?:/|$)|(?:de)?tokenize$|rerank(?:ing)?$)[^/].*?"


def blueprint(configured: Path | None) -> Blueprint:
    """Looks for the folder at each request: the page may be built while the server runs."""
    routes = Blueprint("web", __name__)
    routes.record(lambda state: state.app.url_map.converters.update(page=PageConverter))

    @routes.get("/")
    def index() -> Response:
        folder = find_web_dir(configured)
        if folder is None:
            if request.method == "HEAD":
                return Response(status=200)  # Ollama's clients ask so whether anybody is there
            return error_response(503, "UNAVAILABLE", NOT_BUILT)
        return _send(folder, "index.html")

    @routes.get("/<page:file>")
    def asset(file: str) -> Response:
        folder = find_web_dir(configured)
        if folder is None:
            raise NotFound
        return _send(folder, file)

    return routes


def _send(folder: Path, file: str) -> Response:
    """A file of the page, whole: the largest are a few megabytes. Raises `NotFound`."""
    path = safe_join(str(folder), file)
    if path is None or not Path(path).is_file():
        raise NotFound
    data = Path(path).read_bytes()
    digest = Digest.of(data)
    hashed = file.startswith(_HASHED_FOLDER)
    response = Response(mimetype=_TYPES.get(Path(file).suffix.lower(), OCTET_STREAM))
    add_validators(response, digest, IMMUTABLE if hashed else REVALIDATE)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.update(ISOLATION)
    if is_current(digest):
        response.status_code = 304
    else:
        response.set_data(data)
    return response
