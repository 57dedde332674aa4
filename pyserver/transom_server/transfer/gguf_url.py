"""A GGUF file from a plain address, or from a hub of model repositories, as a model of the store.

    https://host/path/model.gguf[#sha256=<hex>]
    https://hub/org/repo/blob/main/model.gguf       the hub's page of a file: the file itself
    hf://org/repo[@revision]/model.gguf             the hub that HF_ENDPOINT names

HF_TOKEN is sent to that hub only. Where nobody says what the bytes are, the host's own validator
(ETag or date) keeps two versions apart. Knows no registry.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from transom_models.digest import Digest, InvalidDigest
from transom_models.errors import TransomError
from transom_models.licence import licence_of
from transom_models.modelfile import Modelfile
from transom_models.name import InvalidName, ModelName
from transom_server.model.base import fresh_base_from_gguf
from transom_server.model.creation import create_model
from transom_server.store import Store
from transom_server.transfer.address import Address, InvalidAddress
from transom_server.transfer.downloads import Downloads
from transom_server.transfer.fetching import Wanted
from transom_server.transfer.http_client import Answer, Headers, HttpClient, TransferError
from transom_server.transfer.status import VERIFYING, Report, Status, TransferOptions
from transom_server.transfer.terms import check_terms

GGUF_MAGIC: Final = b"GGUF"
# Of a file that is none, only so much is ever read.
_PROBE_BYTES: Final = len(GGUF_MAGIC)
_HUB_FILE: Final = re.compile(r"hf://([\w.-]+)/([\w.-]+?)(?:@([\w./-]+?))?/([^@#?]+\.gguf)")
_HUB_PAGE: Final = re.compile(r"(/[\w.-]+/[\w.-]+)/blob/(.+\.gguf)")
_TOTAL: Final = re.compile(r"bytes \d{1,19}-\d{1,19}/(\d{1,19})", re.IGNORECASE)


class NoHub(TransomError):
    """An `hf://` address, and no setting that says which hub."""


class NotGguf(TransferError):
    """What the address gives is no GGUF file."""


def is_url(text: str) -> bool:
    """Whether a command line means an address, not a name."""
    return "://" in text


def name_of_url(url: str) -> ModelName:
    """The name of a model from such an address, when nobody chose one: the file's, without
    `.gguf`. Raises `InvalidName`."""
    file_name = unquote(urlsplit(url).path.rpartition("/")[2])
    try:
        return ModelName.parse(file_name.removesuffix(".gguf"))
    except InvalidName as error:
        raise InvalidName(f"{error}; choose a name with --name") from None


@dataclass(frozen=True, slots=True)
class FileAddress:
    """Where a file is, and what is known of it before asking."""

    url: str
    digest: Digest | None
    authorization: str | None
    is_hub: bool

    @property
    def file_name(self) -> str:
        """For people."""
        name = unquote(urlsplit(self.url).path.rpartition("/")[2])
        return "".join(char if char.isprintable() else "?" for char in name)


def read_address(url: str, environ: Mapping[str, str]) -> FileAddress:
    """Read an address of a GGUF file. Raises `InvalidAddress`, `InvalidDigest`, `NoHub`."""
    plain, _, fragment = url.partition("#")
    digest = None
    if fragment:
        key, _, value = fragment.partition("=")
        if key != "sha256":
            raise InvalidAddress(f"{fragment!r:.80} after the # is not sha256=<64 hex digits>")
        digest = Digest(value)
    hub = _hub(environ)
    if plain.startswith("hf://"):
        plain = _hub_url(plain, hub)
    address = Address.parse(plain)
    page = _HUB_PAGE.fullmatch(urlsplit(address.url).path)
    if page is not None:
        resolved = f"{page[1]}/resolve/{page[2]}"
        address = Address.parse(urlsplit(address.url)._replace(path=resolved).geturl())
    is_hub = hub is not None and address.origin == hub.origin
    token = environ.get("HF_TOKEN") if is_hub else None
    return FileAddress(address.url, digest, f"Bearer {token}" if token else None, is_hub)


def _hub(environ: Mapping[str, str]) -> Address | None:
    endpoint = environ.get("HF_ENDPOINT", "").rstrip("/")
    return Address.parse(endpoint) if endpoint else None


def _hub_url(url: str, hub: Address | None) -> str:
    match = _HUB_FILE.fullmatch(url)
    if match is None or ".." in url.split("/"):
        raise InvalidAddress(f"{url!r:.160} is no file of a hub; write hf://org/repo/file.gguf")
    if hub is None:
        raise NoHub("hf:// needs the address of the hub: set HF_ENDPOINT=https://host")
    org, repository, revision, file = match.groups()
    path = f"{org}/{repository}/resolve/{revision or 'main'}/{quote(file, safe='/%')}"
    return f"{hub.url.rstrip('/')}/{path}"


def pull_url(
    store: Store, url: str, name: ModelName, options: TransferOptions, report: Report
) -> Digest:
    """Bring a GGUF file into the store as a native model `name`; gives the digest of its index.

    Raises `InvalidAddress`, `NoHub`, `TransferError`, `StoreError`, `InvalidGguf`,
    `LicenseNotAccepted`, `Cancelled`.
    """
    address = read_address(url, os.environ)
    with HttpClient(options) as http, store.adding() as lease:
        report(Status(f"looking at {address.file_name}"))
        if address.is_hub and address.digest is None:
            linked = http.patiently(lambda: _linked_digest(http, address))
            address = replace(address, digest=linked)
        if address.digest is not None:
            lease.keep(address.digest)
        wanted = http.patiently(lambda: _probe(http, address))
        digest = Downloads(store, http, options, report, lease).run([wanted])[0]
        report(Status(VERIFYING))
        base = fresh_base_from_gguf(store, digest)
        # What nobody promised has a name now: whoever says yes need not fetch it again.
        plain = url.partition("#")[0]
        check_terms(
            [licence_of(base.annotations, ())], options, report, f"{plain}#sha256={digest.hex}"
        )
        return create_model(store, name, Modelfile(base=str(digest)), base, report)


@dataclass(frozen=True, slots=True)
class _UrlSource:
    """A file at a plain address, for `Fetching`."""

    http: HttpClient
    address: FileAddress

    @property
    def place(self) -> str:
        return Address.parse(self.address.url).place

    def open(self, headers: Headers) -> AbstractContextManager[Answer]:
        return self.http.open(
            "GET", self.address.url, headers=headers, authorization=self.address.authorization
        )

    def expect(self, answer: Answer, statuses: tuple[int, ...]) -> None:
        status, place = answer.status, answer.address.place
        if status in statuses:
            return
        name = self.address.file_name
        if status in (401, 403):
            way_out = "set HF_TOKEN" if self.address.is_hub else "it wants a login that we lack"
            raise TransferError(f"{place} does not let us have {name} (status {status}): {way_out}")
        if status in (404, 410):
            raise TransferError(f"{place} has no {name} (status {status})")
        raise TransferError(f"{place} answered status {status} for {name}")


def _linked_digest(http: HttpClient, address: FileAddress) -> Digest | None:
    """What the hub says of a large file before it sends us on to where the bytes are."""
    with http.open(
        "HEAD", address.url, authorization=address.authorization, follow=False
    ) as answer:
        etag = (answer.header("X-Linked-ETag") or "").strip('"')
    try:
        return Digest(etag)
    except InvalidDigest:
        return None


def _probe(http: HttpClient, address: FileAddress) -> Wanted:
    """Ask for the first bytes: size, version, whether there are ranges, and whether it is GGUF."""
    source = _UrlSource(http, address)
    with source.open({"Range": f"bytes=0-{_PROBE_BYTES - 1}"}) as answer:
        source.expect(answer, (200, 206))
        place, name = answer.address.place, address.file_name
        ranges = answer.status == 206
        if ranges:
            match = _TOTAL.fullmatch((answer.header("Content-Range") or "").strip())
            size = None if match is None else int(match[1])
        else:
            size = answer.length
        start = b"".join(_first(answer, _PROBE_BYTES))
        condition = _validator(answer)
    if start != GGUF_MAGIC:
        raise NotGguf(f"{name} at {place} is no GGUF file: it begins with {start!r}")
    if size is None:
        raise TransferError(f"{place} does not tell how large {name} is")
    if address.digest is not None:
        key, version, condition = f"sha256-{address.digest.hex}", "", None
    else:
        # The address is the place on the disk, the validator what is in it: a new version takes
        # the old one's place. What nobody can tell apart is never gone on with.
        key = f"url-{hashlib.sha256(address.url.encode()).hexdigest()}"
        version = secrets.token_hex(16)
        if condition is not None:
            version = hashlib.sha256(condition.encode()).hexdigest()
    ranges = ranges and (condition is not None or address.digest is not None)
    return Wanted(key, name, size, address.digest, source, version, condition, ranges)


def _first(answer: Answer, count: int) -> list[bytes]:
    found: list[bytes] = []
    for chunk in answer.chunks():
        found.append(chunk[:count])
        count -= len(chunk)
        if count <= 0:
            break
    return found


def _validator(answer: Answer) -> str | None:
    """What If-Range may hold: a strong ETag, or a date."""
    etag = answer.header("ETag")
    if etag is not None and re.fullmatch(r'"[\x21\x23-\x7e]{1,512}"', etag):
        return etag
    modified = answer.header("Last-Modified")
    return modified if modified and modified.isascii() and len(modified) < 64 else None
