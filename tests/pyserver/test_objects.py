"""pytest tests/pyserver/test_objects.py: parts of the object storage that need no server, and what
a server that refuses is told to mean."""

import fcntl
import io
import mmap
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.pyserver.s3_server import CREDENTIALS
from transom_models.digest import Digest
from transom_server.settings.config import Config, InvalidSetting
from transom_server.store import Store, StoreError, open_store
from transom_server.store import bucket as bucket_module
from transom_server.store.keys import blob_key
from transom_server.store.local_copies import SPARED_SECONDS, LocalCopies
from transom_server.store.object_file import FIRST_BLOCK, LARGEST_BLOCK, ObjectFile
from transom_server.store.objects import ObjectStorage
from transom_server.store.storage import Entry

# Files far away


class FarFile:
    """Remembers what was fetched of it."""

    def __init__(self, size: int) -> None:
        self.data = bytes(size)
        self.fetched: list[tuple[int, int]] = []

    def fetch(self, first: int, count: int) -> bytes:
        self.fetched.append((first, count))
        return self.data[first : first + count]

    def open(self) -> ObjectFile:
        return ObjectFile(len(self.data), self.fetch)


def test_blocks_grow_for_whoever_reads_on() -> None:
    far = FarFile(40 * 1024 * 1024)
    with far.open() as file:
        while file.read(64 * 1024):
            pass
    counts = [count for _, count in far.fetched]
    assert counts[0] == FIRST_BLOCK
    assert max(counts) == LARGEST_BLOCK
    assert sum(counts) == len(far.data)
    assert len(counts) < 12


def test_a_look_here_and_there_fetches_little() -> None:
    far = FarFile(40 * 1024 * 1024)
    with far.open() as file:
        for place in (30_000_000, 1_000_000, 20_000_000):
            file.seek(place)
            assert len(file.read(10)) == 10
            file.seek(place + 100)
            assert len(file.read(10)) == 10
    assert [count for _, count in far.fetched] == [FIRST_BLOCK] * 3


def test_nothing_is_fetched_beyond_a_range_that_was_told() -> None:
    far = FarFile(40 * 1024 * 1024)
    first, count = 1_234_567, 9_876_543
    with far.open() as file:
        file.will_read(first, count)
        while count:
            count -= len(file.read(min(count, 64 * 1024)))
    assert sum(number for _, number in far.fetched) == 9_876_543
    assert far.fetched[0][0] == first


def test_an_object_that_shrinks_while_it_is_read_is_an_error() -> None:
    far = FarFile(1000)
    with far.open() as file:
        far.data = bytes(500)
        with pytest.raises(OSError, match="has changed"):
            file.read()


# Local copies


def entry(data: bytes) -> Entry:
    return Entry(blob_key(Digest.of(data)), len(data), 0)


def take(copies: LocalCopies, data: bytes) -> Path:
    return copies.take(entry(data), io.BytesIO(data))


def not_used_for(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_copy_is_checked_as_it_comes(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path / "copies", 1000)
    with pytest.raises(OSError, match="transom verify"):
        copies.take(entry(b"abc"), io.BytesIO(b"abd"))
    with pytest.raises(OSError, match="cut short"):
        copies.take(entry(b"abc"), io.BytesIO(b"ab"))
    assert copies.find(entry(b"abc")) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert take(copies, b"abc").read_bytes() == b"abc"
    assert copies.find(entry(b"abc")) == take(copies, b"abc")


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path, 100)
    old, older, young = (take(copies, letter * 30) for letter in (b"a", b"b", b"c"))
    not_used_for(old, SPARED_SECONDS + 10)
    not_used_for(older, SPARED_SECONDS + 20)
    take(copies, b"d" * 30)
    assert not older.exists()
    assert old.exists()
    # Asking for it is using it.
    assert copies.find(entry(b"a" * 30)) == old
    take(copies, b"e" * 30)
    assert old.exists()
    assert young.exists()


def test_what_is_open_or_mapped_stays(tmp_path: Path) -> None:
    if not hasattr(fcntl, "F_SETLEASE"):
        pytest.skip("only Linux tells who has a file open")
    copies = LocalCopies(tmp_path, 100)
    opened, mapped, free = (take(copies, letter * 30) for letter in (b"a", b"b", b"c"))
    for path in (opened, mapped, free):
        not_used_for(path, 2 * SPARED_SECONDS)
    with opened.open("rb") as file, mapped.open("rb") as other:
        view = mmap.mmap(other.fileno(), 0, prot=mmap.PROT_READ)
        other.close()
        take(copies, b"d" * 90)
        assert opened.exists()
        assert mapped.exists()
        assert not free.exists()
        view.close()
        file.close()
        take(copies, b"e" * 90)
    assert not opened.exists()
    assert not mapped.exists()


def test_many_threads_fetch_once(tmp_path: Path) -> None:
    copies, data, reads = LocalCopies(tmp_path, 10**9), bytes(300_000), list[int]()

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads.append(1)
            return super().read(size)

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: copies.take(entry(data), Counting(data)), range(8)))
    assert len(set(paths)) == 1
    assert len(reads) == 2


# Opening


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:secret@bucket/folder",
        "s3://bucket/folder?versionId=1",
        "s3://bucket/../other",
        "s3://bucket//folder",
        "s3://",
        "simplecache::s3://bucket",
        "s3://bucket/a b",
        "nosuchkind://bucket/folder",
        "s3://bucket/\nfolder",
    ],
)
def test_a_url_that_is_no_place_for_a_store(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert "TRANSOM_MODELS" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transom_server.store.objects", "transom_server.store.bucket"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StoreError, match=r"pip install 'transom\[objects\]'"):
        open_store("s3://bucket/folder")


def test_a_kind_whose_package_is_missing_is_named() -> None:
    with pytest.raises(StoreError, match="gcsfs"):
        open_store("gs://bucket/folder")


def test_a_folder_loads_no_object_store() -> None:
    program = "import sys, transom_server.store as s; s.open_store('/nowhere')"
    program += "; assert not {'fsspec', 's3fs', 'botocore'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_copies_have_a_limit_that_is_a_setting() -> None:
    assert Config.read({"TRANSOM_CACHE_BYTES": "5"}).cache_bytes == 5
    for wrong in ("-1", "5 GB", "1" * 19, "1e9"):
        with pytest.raises(InvalidSetting, match="TRANSOM_CACHE_BYTES"):
            Config.read({"TRANSOM_CACHE_BYTES": wrong})


def test_each_url_has_scratch_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path))
    one, two = open_store("memory://one"), open_store("memory://two")
    assert one.scratch != two.scratch
    assert one.scratch == open_store("memory://one/").scratch
    assert one.scratch.is_relative_to(tmp_path)


# A server that refuses


class Refusing(BaseHTTPRequestHandler):
    """Answers each request as the next line of `script` says, the last one again and again."""

    protocol_version = "HTTP/1.1"
    script: list[tuple[int, str]]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        status, code = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        body = b""
        if code == "body":
            body = b"abc"
        elif code:
            body = f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def refusing(*script: tuple[int, str]) -> Iterator[str]:
    handler = type("Handler", (Refusing,), {"script": list(script)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path))
    # No waits between tries worth the name.
    backoff = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(backoff, lambda self, context: 0)
    monkeypatch.setattr(bucket_module, "BODY_TRIES", 1)
    store = open_store("s3://models/folder")
    yield store
    assert isinstance(store.storage, ObjectStorage)
    store.storage.close()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (404, "NoSuchBucket", "there is no such bucket"),
        (403, "AccessDenied", "access denied"),
        (403, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "clock is wrong"),
        (400, "InvalidBucketName", "the name of a bucket"),
        (400, "ExpiredToken", "has expired"),
        (503, "SlowDown", "fewer requests"),
        (503, "ServiceUnavailable", "busy"),
        (500, "InternalError", "because"),
        (418, "SomethingNew", "because"),
    ],
)
def test_a_refusal_is_one_clear_line(
    s3: Store, monkeypatch: pytest.MonkeyPatch, status: int, code: str, said: str
) -> None:
    with refusing((status, code)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        for ask in (lambda: s3.has_blob(Digest.of(b"abc")), s3.list_models):
            with pytest.raises(StoreError) as caught:
                ask()
            assert said in str(caught.value)
            assert "s3://models/folder" in str(caught.value)
            assert "\n" not in str(caught.value)
        with pytest.raises(StoreError, match=said):
            s3.put_blob(io.BytesIO(b"abc"))
        with pytest.raises(StoreError, match=said):
            s3.adding().__enter__()


def test_a_server_that_asks_to_slow_down_is_asked_again(
    s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = [(503, "SlowDown"), (500, "InternalError"), (200, "body")]
    with refusing(*script) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert s3.blob_size(Digest.of(b"abc")) == 3


def test_nobody_there(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing((500, "")) as url:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(StoreError, match="nobody answers there; check the network"):
        s3.list_models()


def test_no_credentials(s3: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no credentials were found; check AWS_ACCESS_KEY_ID"):
        s3.put_blob(io.BytesIO(b"abc"))


# Processes

FORKING = textwrap.dedent(
    """
    import os, sys
    from transom_models.digest import Digest
    from transom_server.store import StoreError, open_store
    store = open_store("s3://models/folder")
    assert store.list_models() == []
    child = os.fork()
    if child == 0:
        assert store.list_models() == []
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert store.list_models() == []
    """
)


def test_a_forked_child_asks_too_and_the_end_is_quiet(tmp_path: Path) -> None:
    with refusing((200, "")) as url:
        environ = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": url}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORKING],
            env={**environ, "TRANSOM_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_parts_fit_the_largest_file() -> None:
    """5 TB, S3's largest object, in 10 000 parts of at most 5 GB."""
    part = max(bucket_module.PART_BYTES, -(-5 * 10**12 // bucket_module.MAX_PARTS))
    assert part * bucket_module.MAX_PARTS >= 5 * 10**12
    assert part < 5 * 10**9
