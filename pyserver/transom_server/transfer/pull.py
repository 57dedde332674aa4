"""A model from a registry into the store: manifests, licence, blobs, and the tag last.

Knows what a model is made of. How one file comes is `downloads`', how a registry is asked
`registry_client`'s.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Final

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.licence import Licence, licence_of
from transom_models.manifest import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    InvalidManifest,
    Manifest,
    parse_document,
)
from transom_models.media_types import ANNOTATION_LICENSES, OLLAMA_LICENSE
from transom_models.name import DEFAULT_HOST, ModelName
from transom_server.store import BlobNotFound, Lease, Store, StoreError
from transom_server.transfer.downloads import Downloads
from transom_server.transfer.fetching import Wanted
from transom_server.transfer.http_client import Answer, Headers, HttpClient, TransferError
from transom_server.transfer.registry_client import RegistryClient
from transom_server.transfer.status import (
    PULLING_MANIFEST,
    REMOVING,
    SUCCESS,
    VERIFYING,
    WRITING_MANIFEST,
    Report,
    Status,
    TransferOptions,
)
from transom_server.transfer.terms import check_terms

# Manifests of one index together. Platforms are a handful, of a few KiB each.
MAX_MANIFESTS_BYTES: Final = 4 * MAX_MANIFEST_BYTES
# A licence's text; the longest known is under 100 KiB.
MAX_LICENSE_BYTES: Final = 1024 * 1024
# Texts of one model together.
MAX_LICENSES: Final = 16


class NoRegistry(TransomError):
    """The name does not say where to pull from, and no setting does."""


def registry_of(name: ModelName, registry: str) -> str:
    """host[:port] that a name is pulled from; `registry` is for names without one.

    Raises `NoRegistry`.
    """
    if name.host != DEFAULT_HOST:
        return name.host
    if not registry:
        raise NoRegistry(
            f"{name} does not say which registry it is at; write host/namespace/model, or set "
            "TRANSOM_REGISTRY to the host of one"
        )
    return registry


def pull(
    store: Store,
    name: ModelName,
    options: TransferOptions,
    report: Report,
    *,
    registry: str,
    target: ModelName | None = None,
) -> Digest:
    """Bring a model and all its blobs into the store; gives the digest of what the tag holds now.

    It is kept as `target`, or under the name that it is pulled by.

    Blobs that are here already are not fetched. A pull that ends early leaves no tag and no blob
    that is not whole, and the next one goes on with its pieces. Raises `TransferError`,
    `StoreError`, `InvalidManifest`, `NoRegistry`, `LicenseNotAccepted`, `Cancelled`.
    """
    host = registry_of(name, registry)
    target = target or name
    with HttpClient(options) as http, store.adding() as lease:
        repository = f"{name.namespace}/{name.model}"
        client = RegistryClient(http, host, repository, options.credentials, options.insecure)
        model = _get_manifests(store, client, name, lease, report)
        lease.keep(*(row.digest for row in model.blobs))
        _check_licence(store, client, model, options, report)
        downloads = Downloads(store, http, options, report, lease)
        downloads.run([_wanted(row, client) for row in model.blobs])
        report(Status(VERIFYING))
        report(Status(WRITING_MANIFEST))
        before = _blobs_of(store, target)
        digest = store.put_index(target, model.data)
    after = _blobs_of(store, target)
    if unused := [old for old in before if old not in after]:
        report(Status(REMOVING))
        store.remove_unused(unused)
    report(Status(SUCCESS))
    return digest


@dataclass(frozen=True, slots=True)
class _Model:
    """What a registry has under a name: the exact bytes, and every blob that they lead to."""

    data: bytes
    documents: tuple[Index | Manifest, ...]
    blobs: tuple[Descriptor, ...]


def _get_manifests(
    store: Store, client: RegistryClient, name: ModelName, lease: Lease, report: Report
) -> _Model:
    """Fetch the index and its manifests. The manifests are put into the store, under a lease."""
    report(Status(PULLING_MANIFEST))
    found = client.get_manifest(name.digest or name.tag)
    if name.digest not in (None, found.digest):
        raise TransferError(f"{client.place} gives {found.digest} for {name}")
    _, document = parse_document(found.data)
    if isinstance(document, Manifest):
        return _Model(found.data, (document,), _distinct(document.descriptors))
    documents: list[Index | Manifest] = [document]
    rows = _distinct(document.manifests)
    if sum(row.size for row in rows) > MAX_MANIFESTS_BYTES:
        raise InvalidManifest(
            f"the manifests of {name} are larger together than {MAX_MANIFESTS_BYTES} bytes"
        )
    blobs: list[Descriptor] = []
    for row in rows:
        lease.keep(row.digest)
        data = _stored_manifest(store, row) or client.get_manifest(row.digest).data
        if len(data) != row.size:
            raise InvalidManifest(f"manifest {row.digest} has {len(data)} bytes, not {row.size}")
        manifest = Manifest.from_bytes(data)
        store.put_bytes(data)
        documents.append(manifest)
        blobs += manifest.descriptors
    return _Model(found.data, tuple(documents), _distinct(blobs))


def _stored_manifest(store: Store, row: Descriptor) -> bytes | None:
    """A manifest that is here already, whole."""
    with suppress(BlobNotFound, InvalidManifest):
        return store.read_manifest_bytes(row.digest)
    return None


def _distinct(rows: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Each digest once. Raises `InvalidManifest` when two rows disagree about its size."""
    seen: dict[Digest, Descriptor] = {}
    for row in rows:
        if seen.setdefault(row.digest, row).size != row.size:
            raise InvalidManifest(f"blob {row.digest} is said to have two different sizes")
    return tuple(seen.values())


@dataclass(frozen=True, slots=True)
class _BlobSource:
    """A blob at a registry, for `Fetching`."""

    client: RegistryClient
    digest: Digest

    @property
    def place(self) -> str:
        return self.client.place

    def open(self, headers: Headers) -> AbstractContextManager[Answer]:
        return self.client.open_blob(self.digest, headers)

    def expect(self, answer: Answer, statuses: tuple[int, ...]) -> None:
        self.client.expect(answer, statuses, f"blob {self.digest}")


def _wanted(row: Descriptor, client: RegistryClient) -> Wanted:
    source = _BlobSource(client, row.digest)
    return Wanted(f"sha256-{row.digest.hex}", str(row.digest), row.size, row.digest, source)


# Licences


def _check_licence(
    store: Store,
    client: RegistryClient,
    model: _Model,
    options: TransferOptions,
    report: Report,
) -> None:
    """Before the large blobs come. Raises `LicenseNotAccepted`."""
    texts = list(_license_texts(store, client, model))
    check_terms(_licences(model, texts), options, report)


def _licences(model: _Model, texts: Sequence[str]) -> list[Licence]:
    """One per statement that the index and its manifests make; the texts are part of each."""
    stated = dict.fromkeys(
        document.annotations[ANNOTATION_LICENSES]
        for document in model.documents
        if ANNOTATION_LICENSES in document.annotations
    )
    annotations = [{ANNOTATION_LICENSES: text} for text in stated] or [{}]
    return [licence_of(row, texts) for row in annotations]


def _license_texts(store: Store, client: RegistryClient, model: _Model) -> Iterator[str]:
    rows = [row for row in model.blobs if row.media_type == OLLAMA_LICENSE]
    if len(rows) > MAX_LICENSES:
        raise InvalidManifest(f"{len(rows)} license texts are more than {MAX_LICENSES}")
    for row in rows:
        if row.size > MAX_LICENSE_BYTES:
            raise InvalidManifest(
                f"license text {row.digest} has {row.size} bytes, over {MAX_LICENSE_BYTES}"
            )
        data = client.get_small_blob(row)
        store.put_bytes(data)
        yield data.decode(errors="replace")


# What the name held before


def _blobs_of(store: Store, name: ModelName) -> set[Digest]:
    """Every blob of a stored model; none when there is none, or when it is damaged."""
    with suppress(StoreError, InvalidManifest):
        model = store.get_index(name)
        return {model.digest, *(row.digest for row in store.descriptors(model))}
    return set()
