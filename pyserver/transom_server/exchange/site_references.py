"""What files of a web page ask for, read from their text as a browser would find it.

Built scripts are known by the forms that bundlers write: static and dynamic imports, and
`new URL("name", import.meta.url)`. Pure: opens nothing.
"""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from transom_models.errors import TransomError
from transom_server.exchange.mirrors import META_NAME

Kind = Literal["html", "module", "script", "style", "manifest", "file"]

START: Final = "index.html"
POLICY: Final = "content-security-policy"
MARK: Final = "transom-models"
# Browsers take modules, workers and styles of these types only (HTML, "JavaScript MIME type").
SCRIPT_TYPES: Final = frozenset(
    {"text/javascript", "application/javascript", "application/x-javascript", "text/ecmascript"}
)
# All that a policy may allow: this site, and nothing written into the page.
_SAFE_SOURCES: Final = frozenset({"'none'", "'self'", "'wasm-unsafe-eval'", "'report-sample'"})
# What only shows may also come out of the page's own hands.
_SHOWN: Final = frozenset({"img-src", "font-src", "media-src"})
_OWN_TEXTS: Final = frozenset({"data:", "blob:"})
# Frames of the page that do one thing may do that; web/content-security-policy.ts has them.
_OWN_SOURCES: Final[dict[str, dict[str, frozenset[str]]]] = {
    "python.html": {"script-src": _OWN_TEXTS, "worker-src": frozenset({"blob:"})},
    "outside.html": {
        "connect-src": frozenset({"https:", "http://localhost:*", "http://127.0.0.1:*"})
    },
}
_LINKS: Final[dict[str, Kind]] = {
    "stylesheet": "style",
    "modulepreload": "module",
    "manifest": "manifest",
    "icon": "file",
    "apple-touch-icon": "file",
    "preload": "file",
}
_QUOTED: Final = r"""(["'`])([^"'`\\\n\r${}]{1,1024})\%d"""
_IMPORTS: Final = (
    re.compile(r"\bimport\s*\(\s*" + _QUOTED % 1 + r"\s*[,)]"),
    re.compile(r"\bimport\s*" + _QUOTED % 1),
    re.compile(r"""[\s}*\w]from\s*""" + _QUOTED % 1),
)
_ADDRESS: Final = re.compile(r"\bnew URL\(\s*" + _QUOTED % 1 + r"\s*,\s*import\.meta\.url\s*\)")
_KEPT: Final = re.compile(_QUOTED % 1 + r"\s*,\s*" + r"""(["'`])(sha256-[A-Za-z0-9+/]{43}=)\3""")
_CSS: Final = re.compile(
    r"""url\(\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^"'()\s]*))\s*\)|@import\s+(?:"([^"]*)"|'([^']*)')"""
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class BadReference(TransomError):
    """A reference that does not stay in the site's folder; the text says how to mend it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a file names, as it is written there."""

    text: str
    kind: Kind
    integrity: str | None = None
    """`sha256-…` as in Subresource Integrity."""


@dataclass(slots=True)
class PageText:
    """What a document says."""

    references: list[Reference] = field(default_factory=list)
    policy: str | None = None
    is_of_export: bool = False
    mirrors: list[str] = field(default_factory=list)
    """Where it has models from beside its own folder, as it says."""
    inline: list[str] = field(default_factory=list)
    """Scripts, styles and handlers in the document itself, which a strict policy blocks."""


def resolve(text: str, base: str) -> str | None:
    """The path in the site that `text` in the file `base` means; None: no file (`data:`, `#x`).

    Raises `BadReference`.
    """
    text = text.strip()
    if text.startswith(("data:", "blob:", "#")) or text == "":
        return None
    if text.startswith("//") or _SCHEME.match(text):
        raise BadReference(f"{text:.200} is of another origin; nothing may be")
    if text.startswith("/"):
        raise BadReference(f"{text:.200} begins at the host's root; under a subpath it is missing")
    path = unquote(urlsplit(text).path)
    if "\\" in path or "\0" in path:
        raise BadReference(f"{text!r:.200} is no path")
    name = posixpath.normpath(posixpath.join(posixpath.dirname(base), path))
    if name == ".." or name.startswith("../"):
        raise BadReference(f"{text:.200} leaves the site's folder")
    if name == ".":
        return START
    return f"{name}/{START}" if path.endswith("/") else name


def read_html(text: str) -> PageText:
    """References and policy of a document."""
    reader = _Document()
    reader.feed(text)
    reader.close()
    return reader.page


def read_css(text: str) -> list[Reference]:
    """What a style sheet loads."""
    found = ("".join(part for part in groups if part) for groups in _CSS.findall(text))
    return [Reference(name, "style" if name.endswith(".css") else "file") for name in found if name]


def read_script(text: str) -> list[Reference]:
    """What a module or worker loads beside itself."""
    found = dict[str, Reference]()
    for pattern in _IMPORTS:
        for _, name in pattern.findall(text):
            # Bare words are text that looks like an import, for bundlers leave none; and `node:`
            # is asked for in Node alone, by scripts that run there too.
            is_address = name.startswith((".", "/")) or _SCHEME.match(name)
            if is_address and not name.startswith("node:"):
                found[name] = Reference(name, "module")
    for _, name in _ADDRESS.findall(text):
        # `new URL(".", import.meta.url)` is an address to build on.
        if name.strip("./"):
            kind: Kind = "module" if name.endswith((".js", ".mjs")) else "file"
            found.setdefault(name, Reference(name, kind))
    return list(found.values())


def read_kept(text: str) -> list[Reference]:
    """The files that the service worker keeps for later, each with its digest."""
    return [
        Reference(name, kind_of(name), integrity) for _, name, _, integrity in _KEPT.findall(text)
    ]


def kind_of(name: str) -> Kind:
    """What a file is by its name."""
    kinds: dict[str, Kind] = {
        ".html": "html",
        ".js": "module",
        ".mjs": "module",
        ".css": "style",
        ".webmanifest": "manifest",
    }
    return kinds.get(posixpath.splitext(name)[1].lower(), "file")


def unsafe_sources(policy: str, page: str = START, mirrors: Sequence[str] = ()) -> list[str]:
    """What the Content-Security-Policy of a page allows and should not; empty where it is strict.

    `page`: its path in the site. `mirrors`: origins that it says it has models from.
    """
    found = []
    own = _OWN_SOURCES.get(page, {"connect-src": frozenset(mirrors)})
    directives = set()
    for directive in policy.split(";"):
        name, *sources = directive.split() or [""]
        directives.add(name.lower())
        safe = _SAFE_SOURCES | own.get(name.lower(), frozenset())
        if name.lower() in _SHOWN:
            safe |= _OWN_TEXTS
        found += [f"{name} {source}" for source in sources if source.lower() not in safe]
    if "default-src" not in directives:
        found.append("anything that it does not name (no default-src)")
    return found


class _Document(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = PageText()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        page = self.page
        page.inline += [f"{name} of <{tag}>" for name in values if name.startswith("on")]
        if "style" in values:
            page.inline.append(f"style of <{tag}>")
        match tag:
            case "meta" if values.get("http-equiv", "").lower() == POLICY:
                # Several policies all count; the page of ours has one.
                page.policy = "; ".join(filter(None, [page.policy, values.get("content", "")]))
            case "meta" if values.get("name") == MARK:
                page.is_of_export = values.get("content") == "layout"
            case "meta" if values.get("name") == META_NAME:
                page.mirrors += values.get("content", "").split()
            case "base":
                page.inline.append("<base>")
            case "script" if "src" in values:
                kind: Kind = "module" if values.get("type") == "module" else "script"
                self._add(values["src"], kind, values)
            case "script":
                page.inline.append("<script>")
            case "style":
                page.inline.append("<style>")
            case "link":
                for word in values.get("rel", "").lower().split():
                    if word in _LINKS:
                        self._add(values.get("href", ""), _LINKS[word], values)
            case "img" | "iframe" | "audio" | "video" | "source" | "embed" if "src" in values:
                self._add(values["src"], "html" if tag == "iframe" else "file", values)

    def _add(self, text: str, kind: Kind, values: dict[str, str]) -> None:
        self.page.references.append(Reference(text, kind, values.get("integrity")))
