"""A model from the store to a registry: blobs, then manifests, the tag last.

Whoever finds the tag there finds all of it. Knows what a model is made of; how one blob goes is
`blob_upload`'s.
"""

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from transom_models.digest import PREFIX, Digest
from transom_models.manifest import Descriptor
from transom_models.media_types import DOCKER_INDEX, OCI_INDEX
from transom_models.name import DEFAULT_HOST, ModelName
from transom_server.store import Store, StoredModel
from transom_server.store.scratch import UPLOADS_OUT
from transom_server.transfer.blob_upload import PUSH, BlobUpload
from transom_server.transfer.http_client import HttpClient, TransferError
from transom_server.transfer.pull import registry_of
from transom_server.transfer.registry_client import RegistryClient
from transom_server.transfer.status import (
    PUSHING_MANIFEST,
    RETRIEVING_MANIFEST,
    SUCCESS,
    Report,
    Status,
    TransferOptions,
    pushing,
)

# No eye and no log wants to be told more often.
_REPORT_SECONDS: Final = 0.1


class _BlobsMissing(Exception):
    """The registry lost blobs between our asking for them and the manifest that names them."""


def push(
    store: Store,
    name: ModelName,
    options: TransferOptions,
    report: Report,
    *,
    target: ModelName | None,
    registry: str,
) -> None:
    """Bring a model of the store to a registry, under `target` or its own name.

    `registry` is for names without a host. Blobs that are there are not sent; a push that ends
    early goes on where it stopped. Raises `ModelNotFound`, `StoreError`, `TransferError`,
    `NoRegistry`, `Cancelled`.
    """
    report(Status(RETRIEVING_MANIFEST))
    destination = target or name
    host = registry_of(destination, registry)
    with store.adding() as lease:
        model = store.get_index(name)
        lease.keep(model.digest, *(row.digest for row in model.index.manifests))
        rows = list(store.descriptors(model))
        lease.keep(*(row.digest for row in rows))
        with HttpClient(options) as http:
            client = RegistryClient(
                http,
                host,
                f"{destination.namespace}/{destination.model}",
                options.credentials,
                options.insecure,
            )
            pusher = _Pusher(store, client, options, report, _source(name, destination))
            pusher.push(model, destination.tag)
    report(Status(SUCCESS))


def _source(name: ModelName, destination: ModelName) -> str | None:
    """The repository at the same registry that the model came from, to mount blobs from."""
    if name.host != destination.host or name.host == DEFAULT_HOST:
        return None
    same = (name.namespace, name.model) == (destination.namespace, destination.model)
    return None if same else f"{name.namespace}/{name.model}"


class _Pusher:
    def __init__(
        self,
        store: Store,
        client: RegistryClient,
        options: TransferOptions,
        report: Report,
        mount_from: str | None,
    ) -> None:
        self._store = store
        self._client = client
        self._options = options
        self._report = report
        self._mount_from = mount_from
        self._lock = threading.Lock()
        self._told: dict[Digest, tuple[int, float]] = {}

    def push(self, model: StoredModel, tag: str) -> None:
        try:
            self._push_once(model, tag)
        except _BlobsMissing:
            try:  # what was there when we asked has been removed since
                self._push_once(model, tag)
            except _BlobsMissing as error:
                raise TransferError(str(error)) from None

    def _push_once(self, model: StoredModel, tag: str) -> None:
        children = model.index.manifests if model.media_type in (OCI_INDEX, DOCKER_INDEX) else ()
        manifests = {row.digest: row for row in children}
        # Each blob once, the large ones first: no connection is left alone with one at the end.
        blobs = {
            row.digest: row
            for manifest in model.index.manifests
            for row in self._store.get_manifest(manifest).descriptors
        }
        self._push_blobs(sorted(blobs.values(), key=lambda row: row.size, reverse=True))
        with self._lock:
            self._report(Status(PUSHING_MANIFEST))
        for row in manifests.values():
            data = self._store.read_manifest_bytes(row.digest)
            self._put_manifest(str(row.digest), data, row.media_type)
        self._put_manifest(tag, model.data, model.media_type)

    def _push_blobs(self, rows: Sequence[Descriptor]) -> None:
        http = self._client.http
        with ThreadPoolExecutor(self._options.connections, "transom-push") as pool:
            futures = [pool.submit(self._push_blob, row) for row in rows]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                # The first error is the one to tell; the others end for its sake.
                for future in futures:
                    future.cancel()
                http.stop()
                raise

    def _push_blob(self, row: Descriptor) -> None:
        self._tell(row, 0)
        with self._store.open_blob(row.digest) as file:
            upload = BlobUpload(
                self._client,
                row.digest,
                row.size,
                file,
                piece_bytes=self._options.piece_bytes,
                mount_from=self._mount_from,
                tell=lambda done: self._tell(row, done),
            )
            upload.run(self._store.scratch / UPLOADS_OUT)

    def _tell(self, row: Descriptor, done: int) -> None:
        with self._lock:
            now = time.monotonic()
            before, at = self._told.get(row.digest, (-1, 0.0))
            if done == before or (0 < done < row.size and now - at < _REPORT_SECONDS):
                return
            self._told[row.digest] = (done, now)
            self._report(pushing(row.digest, row.size, done))

    def _put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        self._client.http.patiently(lambda: self._try_manifest(reference, data, media_type))

    def _try_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        client = self._client
        what = f"manifest {reference} of {client.repository}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
        with client.send(
            "PUT", f"manifests/{reference}", headers=headers, body=lambda: data, actions=PUSH
        ) as answer:
            if answer.status in (400, 404):
                body = answer.read_error()
                if {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"} & set(_codes(body)):
                    raise _BlobsMissing(f"{client.place} lacks blobs of {what}")
                raise client.refused(answer, what, body)
            client.expect(answer, (200, 201, 202), what)
            found = answer.header("Docker-Content-Digest") or ""
        if found.startswith(PREFIX) and found != str(Digest.of(data)):
            raise TransferError(f"{client.place} keeps {what} as {found}, which it is not")


def _codes(body: bytes) -> list[str]:
    """Error codes of a registry's answer; none when it is anything else."""
    try:
        return [str(error["code"]) for error in json.loads(body)["errors"]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
