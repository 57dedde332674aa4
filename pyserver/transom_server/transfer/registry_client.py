"""A repository of an OCI registry, to read: manifests, and blobs in ranges. Ollama's are ones too.

Says what to ask and what to make of the answer; how to stay connected is `http_client`'s, how to
prove who asks is `auth`'s, and what to do with the bytes is the caller's.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from transom_models.digest import PREFIX, Digest
from transom_models.manifest import MAX_MANIFEST_BYTES, Descriptor
from transom_models.media_types import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from transom_server.transfer.address import Address, registry_url
from transom_server.transfer.auth import RegistryAuth
from transom_server.transfer.credentials import Credentials
from transom_server.transfer.http_client import (
    Answer,
    Body,
    Faltering,
    Headers,
    HttpClient,
    TransferError,
)

ACCEPTED: Final = (OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST, DOCKER_INDEX)
# What an error of another host may put on our one line.
MAX_MESSAGE_CHARS: Final = 200


class NotInRegistry(TransferError):
    """The registry has no such manifest or blob."""


class Denied(TransferError):
    """The registry wants to know who asks, or does not let them."""


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest or index of a registry: exact bytes, and what the registry calls them."""

    data: bytes
    media_type: str
    digest: Digest


class RegistryClient:
    """One repository at one registry. Threads may share it."""

    def __init__(
        self,
        http: HttpClient,
        host: str,
        repository: str,
        credentials: Credentials | None,
        insecure: bool,
    ) -> None:
        """`host` is host[:port]; `repository` namespace/model. Raises `InvalidAddress`."""
        self.http = http
        self.url = registry_url(host, insecure)
        self.repository = repository
        self.place = Address.parse(self.url).place
        self._insecure = insecure
        self._auth = RegistryAuth(http, host, repository, credentials, insecure)

    @contextmanager
    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Headers | None = None,
        body: Callable[[], Body] | None = None,
        actions: str = "pull",
    ) -> Iterator[Answer]:
        """Ask once, and again after proving who asks when the registry wants that.

        `path` is below `/v2/<repository>/`, or a whole URL of this registry. `body` is called for
        each request. Raises as `HttpClient.open` does; a refusal is an answer, for `expect`.
        """
        url = path if "://" in path else f"{self.url}/v2/{self.repository}/{path}"

        def ask(authorization: str | None) -> AbstractContextManager[Answer]:
            return self.http.open(
                method,
                url,
                headers=headers,
                authorization=authorization,
                body=None if body is None else body(),
            )

        authorization = self._auth.header(actions)
        challenges: list[str] = []
        with ask(authorization) as answer:
            # Where a redirect led to, nobody may ask for our credentials.
            if answer.status == 401 and answer.address.url == Address.parse(url).url:
                challenges = answer.headers("WWW-Authenticate")
            proof = (
                self._auth.challenged(challenges, actions, authorization) if challenges else None
            )
            if proof is None:
                yield answer
                return
        with ask(proof) as answer:
            yield answer

    def get_manifest(self, reference: str | Digest) -> FetchedManifest:
        """The manifest or index of a tag or digest. Raises `NotInRegistry`, `TransferError`.

        Bytes that are not what a digest says are fetched again before they are an error.
        """
        return self.http.patiently(lambda: self._get_manifest(reference))

    def _get_manifest(self, reference: str | Digest) -> FetchedManifest:
        what = f"manifest {reference} of {self.repository}"
        headers = {"Accept": ", ".join(ACCEPTED)}
        with self.send("GET", f"manifests/{reference}", headers=headers) as answer:
            self.expect(answer, (200,), what)
            data = answer.read(MAX_MANIFEST_BYTES, what)
            promised = answer.header("Docker-Content-Digest") or ""
            media_type = (answer.header("Content-Type") or "").partition(";")[0].strip().lower()
        digest = Digest.of(data)
        if isinstance(reference, Digest):
            promised = str(reference)
        # Other algorithms than sha256 are the registry's own affair.
        if promised.startswith(PREFIX) and promised != str(digest):
            raise Faltering(f"{self.place} gives, as {what}, bytes of another digest: {digest}")
        return FetchedManifest(data, media_type, digest)

    def head_blob(self, digest: Digest) -> int | None:
        """Size of a blob in bytes, or None when the registry lacks it."""
        return self.http.patiently(lambda: self._head_blob(digest))

    def _head_blob(self, digest: Digest) -> int | None:
        with self.send("HEAD", f"blobs/{digest}") as answer:
            if answer.status == 404:
                return None
            self.expect(answer, (200,), f"blob {digest}")
            if answer.length is None:
                raise TransferError(f"{self.place} does not tell the size of {digest}")
            return answer.length

    def get_small_blob(self, row: Descriptor) -> bytes:
        """A blob whole, in memory; the caller has looked at its size. Raises `TransferError`."""
        return self.http.patiently(lambda: self._get_small_blob(row))

    def _get_small_blob(self, row: Descriptor) -> bytes:
        with self.open_blob(row.digest) as answer:
            self.expect(answer, (200,), f"blob {row.digest}")
            data = answer.read(row.size, f"blob {row.digest}")
        if Digest.of(data) != row.digest:
            raise Faltering(f"{self.place} gives other bytes for {row.digest}")
        return data

    def open_blob(
        self, digest: Digest, headers: Headers | None = None
    ) -> AbstractContextManager[Answer]:
        """GET of a blob. The answer may have any status: see `expect`."""
        return self.send("GET", f"blobs/{digest}", headers=headers)

    def expect(self, answer: Answer, statuses: tuple[int, ...], what: str) -> None:
        """Raises `NotInRegistry`, `Denied` or `TransferError` for an answer of another status."""
        if answer.status not in statuses:
            raise self.refused(answer, what, answer.read_error())

    def refused(self, answer: Answer, what: str, body: bytes) -> TransferError:
        """The error that an answer of a wrong status is, with what its body says."""
        status, place = answer.status, answer.address.place
        said = _message(body)
        if status in (401, 403):
            return Denied(
                f"{place} does not let us have {what} (status {status}{said}); "
                f"if you have an account there: transom login {self.place}"
            )
        if status in (404, 410):
            return NotInRegistry(f"{place} has no {what}{said}")
        return TransferError(f"{place} answered status {status} for {what}{said}")

    def resolve(self, location: str, base: Address | None = None) -> Address:
        """Where a Location leads; the rules are those of a redirect. Raises `InvalidAddress`."""
        return (base or Address.parse(self.url)).redirected(location, self._insecure)


def _message(body: bytes) -> str:
    """What an error's body says, made fit for our line; empty when it says nothing we can read."""
    try:
        value = json.loads(body)
        text = value["errors"][0]["message"] if "errors" in value else value["error"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    if not isinstance(text, str) or not text:
        return ""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return f": {plain:.{MAX_MESSAGE_CHARS}}"
