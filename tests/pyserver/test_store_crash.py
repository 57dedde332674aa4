"""pytest tests/pyserver/test_store_crash.py: kill -9, a full disk, a read-only disk.

Each runs in a child process, on the real store. What a child printed before it died is a promise
that the store must keep.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.pyserver.bundles import write_bundle
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import Store, StoreError

# Puts blobs and models for ever; prints each digest once the store has said that it keeps it.
WRITER = textwrap.dedent(
    """
    import io, sys, pathlib, itertools
    from transom_models.name import ModelName
    from transom_server.exchange.bundle_import import import_bundle
    from transom_server.store import Store
    from tests.pyserver.bundles import write_bundle
    store, scratch = Store(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
    print("ready", flush=True)
    for number in itertools.count():
        data = number.to_bytes(8, "little") * 100_000
        print("blob", store.put_blob(io.BytesIO(data)).hex, flush=True)
        bundle = write_bundle(scratch / str(number), seed=str(number).encode())
        import_bundle(store, bundle.folder, ModelName.parse("tiny"), bundle.files)
        print("model", number, flush=True)
    """
)


def start(program: str, *arguments: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_at_any_instant_leaves_a_valid_store(tmp_path: Path) -> None:
    rounds = 25
    random.seed(2)
    store = Store(tmp_path / "models")
    promised: set[str] = set()
    left_behind = 0
    for number in range(rounds):
        with start(WRITER, store.root, tmp_path / f"scratch-{number}") as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            # Now and then before the first promise, and now and then after it.
            first = child.stdout.readline() if number % 2 else ""
            time.sleep(random.uniform(0, 0.1))
            os.kill(child.pid, signal.SIGKILL)
            lines = (first + child.stdout.read()).splitlines()
        promised |= {line.split()[1] for line in lines if line.startswith("blob ")}
        assert store.verify().problems == ()
        assert all(store.has_blob(Digest(hex_digits)) for hex_digits in promised)
        if any(line.startswith("model ") for line in lines):
            store.get_index(ModelName.parse("tiny"))
        left_behind += store.remove_stale_partials()
        assert list((store.root / ".tmp").glob("*.partial")) == []
    # Else the kills came between the puts, and the test shows nothing.
    assert left_behind > 0
    assert promised


FULL_DISK = textwrap.dedent(
    """
    import io, resource, sys, pathlib
    from transom_server.store import Store, StoreError
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    store = Store(pathlib.Path(sys.argv[1]))
    store.put_blob(io.BytesIO(bytes(900_000)))
    try:
        store.put_blob(io.BytesIO(bytes(9_000_000)))
    except StoreError as error:
        print(error)
    """
)


def test_a_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    with start(FULL_DISK, store.root) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
    assert child.returncode == 0
    assert "File too large" in printed
    assert "TRANSOM_MODELS" in printed
    assert printed.count("\n") == 1
    assert store.verify().problems == ()
    kept = [path for path in store.root.rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in kept] == [900_000]


# A disk of one megabyte, in a name space of its own that ends with the process.
SMALL_DISK = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
FILL = textwrap.dedent(
    """
    import io, sys, pathlib
    from transom_server.store import Store, StoreError
    root = pathlib.Path(sys.argv[1])
    store = Store(root)
    store.put_blob(io.BytesIO(bytes(500_000)))
    try:
        store.put_blob(io.BytesIO(b"x" * 900_000))
    except StoreError as error:
        print(error)
    sizes = sorted(p.stat().st_size for p in root.rglob("*") if p.is_file() and p.stat().st_size)
    print(list(store.verify().problems), sizes)
    """
)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    own_space = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*own_space, "true"], capture_output=True).returncode != 0:
        own_space = ["unshare", "--mount"]
        if subprocess.run([*own_space, "true"], capture_output=True).returncode != 0:
            pytest.skip("no name space of its own to mount a small disk in (unshare --mount)")
    command = [*own_space, "sh", "-c", SMALL_DISK, "sh", str(root), sys.executable, FILL]
    done = subprocess.run(command, capture_output=True, text=True)
    if "mount:" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    first, second = done.stdout.splitlines()
    assert "No space left on device" in first
    assert "TRANSOM_MODELS" in first
    assert second == "[] [500000]"


READ_ONLY = textwrap.dedent(
    """
    import os, sys, pathlib
    from transom_models.name import ModelName
    from transom_server.store import Store, StoreError
    if os.getuid() == 0:
        os.setuid(65534)
    store = Store(pathlib.Path(sys.argv[1]))
    print([str(model.name) for model in store.list_models()], list(store.verify().problems))
    print(store.remove_stale_partials())
    try:
        store.put_bytes(b"new")
    except StoreError as error:
        print(error)
    """
)


def test_a_read_only_store_can_be_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    bundle = write_bundle(tmp_path / "bundle")
    import_bundle(store, bundle.folder, ModelName.parse("tiny"), bundle.files)
    (store.root / ".tmp" / "0123.partial").write_bytes(b"left by the dead")
    folders = [tmp_path, store.root, *(path for path in store.root.rglob("*") if path.is_dir())]
    # pytest's own folders above are the user's alone.
    parents = [path for path in tmp_path.parents if path.is_relative_to(tmp_path.parents[2])]
    modes = {folder: folder.stat().st_mode for folder in (*folders, *parents)}
    for parent in parents:
        parent.chmod(0o755)
    for folder in folders:
        folder.chmod(0o555)
    try:
        with start(READ_ONLY, store.root) as child:
            assert child.stdout is not None
            printed = child.stdout.read().splitlines()
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert printed[:2] == ["['tiny'] []", "0"]
    assert "Permission denied" in printed[2]


def test_a_root_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(StoreError, match="models"):
        Store(tmp_path / "models").put_bytes(b"abc")
