"""Take the models of an Ollama store over: its bytes by hard link, its manifests byte for byte.

    <folder>/blobs/sha256-<hex>
    <folder>/manifests/<host>/<namespace>/<model>/<tag>      one image manifest

Every blob is hashed before it is linked; a damaged or missing one costs the models that need it,
which are named, and no others. A link shares the file: it becomes read-only and gets today's date
in the other store too, and whoever writes into it there, which Ollama never does, changes both;
`transom verify` would tell. Nothing else of the other store is touched.
"""

import fcntl
import os
import secrets
import stat
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.digest import Digest, Hasher
from transom_models.errors import TransomError
from transom_models.manifest import MAX_MANIFEST_BYTES, Descriptor, Manifest
from transom_models.name import DEFAULT_HOST, InvalidName, ModelName
from transom_server.exchange.counting import Counting
from transom_server.exchange.regular_file import NotRegular, hard_link
from transom_server.store import Store, StoreError
from transom_server.store.partial_file import SUFFIX, make_folders
from transom_server.transfer.status import Report

COPY_BYTES: Final = 1024 * 1024
# Beyond a few, threads wait for the disk.
MAX_THREADS: Final = 8
# Host, namespace, model, tag.
NAME_PARTS: Final = 4


class NotAnOllamaStore(TransomError):
    """The folder has no `manifests` and `blobs`."""


@dataclass(frozen=True, slots=True)
class AdoptedModel:
    """A model that is in the store now. `source` is its name in the other one; `is_new` is false
    when it was here already."""

    name: ModelName
    source: str
    digest: Digest
    bytes: int
    is_new: bool


@dataclass(slots=True)
class Adoption:
    """What an adoption did, or would do: models, those left out and why, and bytes by how."""

    models: list[AdoptedModel] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    linked: int = 0
    copied: int = 0
    there: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A model of the other store that can be read."""

    full: ModelName
    data: bytes
    rows: tuple[Descriptor, ...]


def adopt(
    store: Store,
    folder: Path,
    report: Report,
    *,
    dry_run: bool = False,
    cancelled: threading.Event | None = None,
) -> Adoption:
    """Adopt every model of the Ollama store in `folder`. Again is harmless: what is here is kept.

    A name is short (`namespace/model:tag`, no host) unless two hosts have the same, or something
    else has it here: then it is whole. `dry_run` reads and hashes, and writes nothing. Raises
    `NotAnOllamaStore`.
    """
    adoption = Adoption()
    found = _read_models(folder, adoption)
    bad = _hash_blobs(folder, found, report, cancelled or threading.Event())
    whole = []
    for model in found:
        reasons = [bad[row.digest] for row in model.rows if row.digest in bad]
        if reasons:
            adoption.skipped.append((str(model.full), "; ".join(dict.fromkeys(reasons))))
        else:
            whole.append(model)
    with store.adding() if not dry_run else _nothing() as lease:
        done: set[Digest] = set()
        for model, name in _named(store, whole, adoption):
            if lease is not None:
                lease.keep(*(row.digest for row in model.rows), Digest.of(model.data))
            for row in model.rows:
                if row.digest not in done:
                    done.add(row.digest)
                    _take(store, _blob(folder, row.digest), row, adoption, dry_run)
            here = store.resolve(name) is not None
            if not (dry_run or here):
                store.put_index(name, model.data)
            size = sum({row.digest: row.size for row in model.rows}.values())
            digest = Digest.of(model.data)
            adoption.models.append(
                AdoptedModel(name, str(model.full), digest, size, is_new=not here)
            )
    return adoption


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


def _blob(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / f"sha256-{digest.hex}"


def _read_models(folder: Path, adoption: Adoption) -> list[_Found]:
    manifests = folder / "manifests"
    if not manifests.is_dir() or not (folder / "blobs").is_dir():
        raise NotAnOllamaStore(
            f"{folder} has no folders `manifests` and `blobs`; name the folder of an Ollama store"
        )
    found = []
    for path in sorted(manifests.rglob("*")):
        if path.is_dir():
            continue
        text = path.relative_to(manifests).as_posix()
        parts = text.split("/")
        if any(part.startswith(".") for part in parts):
            continue  # `.DS_Store`
        try:
            if len(parts) != NAME_PARTS:
                raise InvalidName(f"is not {'/'.join(('HOST', 'NAMESPACE', 'MODEL', 'TAG'))}")
            host, namespace, model, tag = parts
            name = ModelName(host, namespace, model, tag)
            data = _read_small(path)
            rows = Manifest.from_bytes(data).descriptors
        except (TransomError, OSError) as error:
            adoption.skipped.append((text, str(error)))
        else:
            found.append(_Found(name, data, tuple({row.digest: row for row in rows}.values())))
    return found


def _read_small(path: Path) -> bytes:
    with _open_file(path) as file:
        # One byte more than may be: `Manifest` says what is wrong with it.
        return file.read(MAX_MANIFEST_BYTES + 1)


def _open_file(path: Path) -> BinaryIO:
    """A file, or what a link leads to; people keep large blobs on other disks that way."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _hash_blobs(
    folder: Path, found: Sequence[_Found], report: Report, cancelled: threading.Event
) -> dict[Digest, str]:
    """Hash every blob that a model needs, side by side; gives what is wrong with which."""
    rows = {row.digest: row for model in found for row in model.rows}
    counting = Counting(report, "hashing", sum(row.size for row in rows.values()), cancelled)

    def check(row: Descriptor) -> str | None:
        try:
            with _open_file(_blob(folder, row.digest)) as file:
                size = os.fstat(file.fileno()).st_size
                if size != row.size:
                    return f"blob {row.digest} has {size} bytes, not {row.size}"
                hasher = Hasher()
                while piece := file.read(COPY_BYTES):
                    hasher.update(piece)
                    counting.advance(len(piece))
        except FileNotFoundError:
            return f"blob {row.digest} is missing"
        except (OSError, NotRegular) as error:
            return f"blob {row.digest} cannot be read: {error}"
        return None if hasher.digest() == row.digest else f"blob {row.digest} is damaged"

    order = sorted(rows.values(), key=lambda row: -row.size)
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        try:
            results = dict(zip(order, pool.map(check, order), strict=True))
        except BaseException:
            # Ctrl-C, or a thread that was told of it: nobody wants the rest.
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
    return {row.digest: reason for row, reason in results.items() if reason is not None}


def _named(
    store: Store, models: Sequence[_Found], adoption: Adoption
) -> Iterator[tuple[_Found, ModelName]]:
    """A name in this store for each model; the skipped ones are told to `adoption`."""
    hosts: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for model in models:
        hosts[_short(model.full).folded].add(model.full.host)
    for model in models:
        short, digest = _short(model.full), Digest.of(model.data)
        free = [short, model.full] if len(hosts[short.folded]) == 1 else [model.full]
        here = [name for name in (short, model.full) if _digest_here(store, name) == digest]
        chosen = here or [name for name in free if store.resolve(name) is None]
        if chosen:
            yield model, chosen[0]
        else:
            reason = f"{model.full} is another model here; `transom rm {model.full}` makes room"
            adoption.skipped.append((str(model.full), reason))


def _digest_here(store: Store, name: ModelName) -> Digest | None:
    try:
        return store.get_index(name).digest
    except TransomError:
        return None


def _short(name: ModelName) -> ModelName:
    return ModelName(DEFAULT_HOST, name.namespace, name.model, name.tag)


def _take(store: Store, path: Path, row: Descriptor, adoption: Adoption, dry_run: bool) -> None:
    """Make a checked blob of the other store one of this store."""
    if _is_here(store, path, row):
        adoption.there += row.size
    elif dry_run:
        adoption.linked += row.size
    elif _link(store, path, row.digest):
        adoption.linked += row.size
    else:
        store.put_file(path, row.digest)
        adoption.copied += row.size


def _is_here(store: Store, path: Path, row: Descriptor) -> bool:
    """Whether this store has the blob, undamaged."""
    try:
        if store.blob_size(row.digest) != row.size:
            return False
        root = _root(store)
        is_same = root is not None and row.digest.path_under(root).samefile(path)
        return is_same or store.hash_blob(row.digest) == row.digest
    except (TransomError, OSError):
        return False


def _root(store: Store) -> Path | None:
    """The store's folder; None for one in an object store."""
    try:
        return store.root
    except StoreError:
        return None


def _link(store: Store, path: Path, digest: Digest) -> bool:
    """Hard-link a blob into this store; False where only a copy will do."""
    if path.is_symlink() or _root(store) is None:
        return False
    make_folders(store.scratch)
    partial = store.scratch / (secrets.token_hex(8) + SUFFIX)
    if not hard_link(path, partial):
        return False
    try:
        with partial.open("rb") as file:
            # As long as it is locked, no cleaner takes it for what a dead process left.
            fcntl.flock(file, fcntl.LOCK_EX)
            store.take_file(partial, digest)
    except (TransomError, OSError):
        # Another person's file may be linked, but not made read-only.
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True
