"""What the store costs: put, read, verify, pull and collect, in a folder and in S3.

    python -m tests.bench.store [--megabytes 256] [--rounds 3] [--only folder,s3]

The rounds take turns, so that a busy machine slows all rows alike; each figure is the best of the
rounds. The ratio compares it with hashing the same bytes in memory (for rows of bytes) or with the
folder's row (for rows of blobs), in the same run. S3 is moto's server on this machine: Python, so
its figures say what our side costs at least, not what S3 does. Peak memory is that of a process
that puts one blob of all the bytes.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.pyserver.s3_server import S3Server, s3_server
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Manifest
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.store import Store, open_store
from transom_server.transfer.pull import pull
from transom_server.transfer.status import TransferOptions

BLOBS: Final = 8
SMALL_BLOBS: Final = 100
MODEL: Final = ModelName.parse("bench")
MANY: Final = ModelName.parse("many")

PEAK = """
import io, sys
from transom_server.store import open_store
class Stream(io.RawIOBase):
    left = int(sys.argv[2])
    def read(self, size=-1):
        size = min(size, self.left, 1 << 20)
        self.left -= size
        return b"x" * size
open_store(sys.argv[1]).put_blob(Stream())
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


class Figures:
    """Best seconds of each row, place by place."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = {}

    @contextmanager
    def measure(self, row: str, place: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        taken = time.perf_counter() - begun
        self.seconds[row, place] = min(taken, self.seconds.get((row, place), taken))


def put_model(store: Store, name: ModelName, blobs: list[bytes]) -> None:
    """A model whose layers are `blobs`."""
    config = Descriptor(media_types.CONFIG, store.put_bytes(b"{}"), 2)
    rows = [
        Descriptor(media_types.SHARD, store.put_blob(io.BytesIO(data)), len(data)) for data in blobs
    ]
    store.put_index(name, Manifest(config, tuple(rows)).to_bytes())


def one_round(figures: Figures, place: str, location: str, megabytes: int) -> None:
    """All rows over an empty store, which is empty again at the end."""
    store = open_store(location)
    blobs = [os.urandom(megabytes * 10**6 // BLOBS) for _ in range(BLOBS)]
    with figures.measure("hash", "memory"):
        digests = [Digest(hashlib.sha256(data).hexdigest()) for data in blobs]
    with figures.measure("put", place):
        put_model(store, MODEL, blobs)
    with figures.measure("read", place):
        for digest in digests:
            with store.open_blob(digest) as file:
                while file.read(1024 * 1024):
                    pass
    with figures.measure("verify", place):
        assert store.verify().sound
    with figures.measure("pull", place), tempfile.TemporaryDirectory() as folder:
        config = Config.read(os.environ, models=store.location, port="0")
        target = Store(Path(folder))
        with serving(create_app(config), config) as server:
            host = f"127.0.0.1:{server.port}"
            pull(target, MODEL, TransferOptions(), lambda status: None, registry=host)
    small = [b"%d" % number for number in range(SMALL_BLOBS)]
    with figures.measure("put 100 small", place):
        put_model(store, MANY, small)
    with figures.measure("name 100 small", place):
        store.copy_model(MANY, ModelName.parse("again"))
    with figures.measure("list", place):
        assert len(store.list_models()) == 3
    for model in store.list_models():
        store.remove_tag(model.name)
    with figures.measure("collect 110", place):
        assert store.collect_garbage(0).removed.blobs > BLOBS + SMALL_BLOBS


def requests_of_naming(server: S3Server) -> int:
    """Requests that giving a second name to a model of 100 blobs takes."""
    store = open_store(server.new_bucket())
    put_model(store, MANY, [b"%d" % number for number in range(SMALL_BLOBS)])
    before = len(server.requests())
    store.copy_model(MANY, MODEL)
    return len(server.requests()) - before


def peak_mebibytes(location: str, size: int) -> float:
    """Peak memory of a process that puts one blob of `size` bytes."""
    command = [sys.executable, "-c", PEAK, location, str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def report(figures: Figures, places: list[str], megabytes: int) -> None:
    hash_seconds = figures.seconds["hash", "memory"]
    print(f"{'':>16}  {'place':<8} {'MB/s':>8}  of hashing in memory")
    print(f"{'hash':>16}  {'memory':<8} {megabytes / hash_seconds:8.0f}  1.00")
    for row in ("put", "read", "verify", "pull"):
        for place in places:
            seconds = figures.seconds[row, place]
            speed, ratio = megabytes / seconds, hash_seconds / seconds
            print(f"{row:>16}  {place:<8} {speed:8.0f}  {ratio:.2f}")
    print(f"\n{'':>16}  {'place':<8} {'ms':>8}  of {places[0]}")
    for row in ("put 100 small", "name 100 small", "list", "collect 110"):
        first = figures.seconds[row, places[0]]
        for place in places:
            seconds = figures.seconds[row, place]
            print(f"{row:>16}  {place:<8} {seconds * 1000:8.0f}  {seconds / first:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="folder,s3", help="places, by comma")
    given = parser.parse_args()
    places = given.only.split(",")
    figures = Figures()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["TRANSOM_CACHE"] = str(work / "cache")
        locations = {"folder": str(work / "models")}
        if "s3" in places:
            server = stack.enter_context(s3_server())
            os.environ |= server.environ
            locations["s3"] = f"{server.new_bucket()}/bench"
        for _ in range(given.rounds):
            for place in places:
                one_round(figures, place, locations[place], given.megabytes)
        report(figures, places, given.megabytes)
        print()
        for place in places:
            small, large = (
                peak_mebibytes(locations[place], size) for size in (1, given.megabytes * 10**6)
            )
            own = large - small
            print(f"peak memory of putting, {place}: {large:.0f} MiB, {own:.0f} for the bytes")
        if "s3" in places:
            print(f"requests to name a model of 100 blobs: {requests_of_naming(server)}")


if __name__ == "__main__":
    main()
