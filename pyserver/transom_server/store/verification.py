"""Proof of what a store holds: every blob read and hashed again, every model looked through."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Final

from transom_models.digest import Digest, InvalidDigest
from transom_models.errors import TransomError
from transom_models.manifest import Descriptor
from transom_models.name import ModelName
from transom_server.store.keys import BLOBS

if TYPE_CHECKING:
    from transom_server.store.store import Store, StoredModel

# Beyond a few, threads wait for the disk.
MAX_THREADS: Final = 8

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not what its name says: a blob, with the models that need it, or a tag.

    `damaged`: the blob, where other bytes lie in its place.
    """

    subject: str
    reason: str
    models: tuple[ModelName, ...]
    damaged: Digest | None = None

    def __str__(self) -> str:
        needed = f" (needed by {', '.join(map(str, self.models))})" if self.models else ""
        return f"{self.subject} {self.reason}{needed}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was read, and every problem found; none means that all is as promised."""

    models: int
    blobs: int
    bytes: int
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(
    store: "Store", names: Sequence[ModelName] | None, report: Report | None
) -> Verification:
    """Check all blobs and models, or those of `names`; `report` is told bytes done and in all.

    Raises `ModelNotFound` for a name that is not there.
    """
    models, problems = _models(store, names)
    needs: dict[Digest, list[ModelName]] = defaultdict(list)
    promised: dict[Digest, int] = {}
    for model in models:
        found, problem = _rows(store, model)
        problems += problem
        sizes = {model.digest: len(model.data), **{row.digest: row.size for row in found}}
        for digest, size in sizes.items():
            needs[digest].append(model.name)
            promised.setdefault(digest, size)
    stored: dict[Digest, int] = {}
    for entry in store.storage.entries(BLOBS):
        try:
            digest = Digest(entry.key.rpartition("/")[2])
        except InvalidDigest:
            if names is None:
                problems.append(Problem(f"file {entry.key}", "is not named by a digest", ()))
            continue
        if names is None or digest in needs:
            stored[digest] = entry.size
    for digest, size in promised.items():
        if digest not in stored:
            problems.append(Problem(f"blob {digest}", "is missing", tuple(needs[digest])))
        elif stored[digest] != size:
            reason = f"has {stored[digest]} bytes, not {size}"
            problems.append(Problem(f"blob {digest}", reason, tuple(needs[digest]), digest))
    for digest, reason in _hash_all(store, stored, report):
        if all(problem.damaged != digest for problem in problems):
            problems.append(Problem(f"blob {digest}", reason, tuple(needs[digest]), digest))
    return Verification(len(models), len(stored), sum(stored.values()), tuple(problems))


def _models(
    store: "Store", names: Sequence[ModelName] | None
) -> tuple[list["StoredModel"], list[Problem]]:
    """The models to look at; those that cannot be read as problems."""
    if names is not None:
        return [store.get_index(name) for name in names], []
    models, problems = [], []
    for name in store.names():
        try:
            models.append(store.read_model(name))
        except TransomError as error:
            problems.append(Problem(f"model {name}", f"cannot be read: {error}", (name,)))
    return models, problems


def _rows(store: "Store", model: "StoredModel") -> tuple[list[Descriptor], list[Problem]]:
    """Every descriptor of a model, as far as its manifests can be read."""
    rows, problems = [], []
    for row in model.index.manifests:
        rows.append(row)
        try:
            rows += store.get_manifest(row).descriptors
        except TransomError as error:
            # A missing manifest is told once, as a missing blob.
            if store.has_blob(row.digest):
                reason = f"cannot be read: {error}"
                problems.append(Problem(f"manifest {row.digest}", reason, (model.name,)))
    return rows, problems


def _hash_all(
    store: "Store", sizes: dict[Digest, int], report: Report | None
) -> Iterator[tuple[Digest, str]]:
    """Hash blobs side by side, the largest first; gives those that are not what they are called."""
    total, done, lock, stopped = sum(sizes.values()), 0, Lock(), Event()

    def advance(count: int) -> None:
        nonlocal done
        if stopped.is_set():
            raise InterruptedError
        with lock:
            done += count
            if report is not None:
                report(done, total)

    def check(digest: Digest) -> str | None:
        try:
            actual = store.hash_blob(digest, advance)
        except FileNotFoundError:
            return None  # removed meanwhile
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        return None if actual == digest else f"holds {actual}"

    order: Iterable[Digest] = sorted(sizes, key=lambda digest: (-sizes[digest], digest.hex))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        try:
            for digest, reason in zip(order, pool.map(check, order), strict=True):
                if reason is not None:
                    yield digest, reason
        finally:
            # Ctrl-C must not wait for gigabytes that were queued.
            stopped.set()
            pool.shutdown(cancel_futures=True)
