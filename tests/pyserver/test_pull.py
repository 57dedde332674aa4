"""pytest tests/pyserver/test_pull.py: pulls between real servers: resumed, killed, cancelled."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import flaky_server as flaky
from tests.fakes.flaky_server import Asked, Fault, FlakyServer
from tests.pyserver.bundles import write_bundle
from tests.pyserver.pulling import PIECE_BYTES, SIZES, Heard, blobs_of, options, put_model
from transom_cli.main import run as run_cli
from transom_cli.pull import Rate
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import InvalidManifest
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.exchange.bundle_import import import_bundle
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.store import Store, StoreError
from transom_server.transfer import downloads
from transom_server.transfer.http_client import TransferError
from transom_server.transfer.pull import NoRegistry, pull
from transom_server.transfer.registry_client import NotInRegistry
from transom_server.transfer.status import Cancelled, Patience, Status
from transom_server.transfer.terms import LicenseNotAccepted

# Of `put_model`: its config.
CONFIG_BYTES = 23
LARGE = (20 * PIECE_BYTES + 5, 3 * PIECE_BYTES, 500)


@pytest.fixture
def origin(tmp_path: Path) -> Store:
    return Store(tmp_path / "origin")


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "target")


@pytest.fixture
def port(origin: Store) -> Iterator[int]:
    config = Config.read({}, models=str(origin.root), port="0")
    with serving(create_app(config), config) as server:
        yield server.port


@pytest.fixture
def fake(port: int) -> Iterator[FlakyServer]:
    with flaky.flaky_server(port) as fake:
        yield fake


def name_at(port: int, model: str = "many") -> ModelName:
    return ModelName.parse(f"127.0.0.1:{port}/library/{model}")


def test_a_bundle_from_a_second_server(
    tmp_path: Path, origin: Store, port: int, target: Store
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    import_bundle(origin, bundle.folder, ModelName.parse("tiny"), bundle.files)
    heard = Heard()
    digest = pull(target, name_at(port, "tiny"), options(), heard, registry="")
    stored = target.get_index(name_at(port, "tiny"))
    assert stored.data == origin.get_index(ModelName.parse("tiny")).data
    assert stored.digest == digest
    assert blobs_of(target, bundle.index) == blobs_of(origin, bundle.index)
    assert target.verify().problems == ()
    # In Ollama's words and order.
    assert heard.texts[0] == "pulling manifest"
    assert heard.texts[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    config = Digest.of(b'{"model_format":"gguf"}')
    assert f"pulling {config.hex[:12]}" in heard.texts
    ends = {status.digest: status for status in heard.statuses if status.digest is not None}
    assert all(status.completed == status.total for status in ends.values())


def test_what_is_here_is_not_fetched_again(origin: Store, fake: FlakyServer, target: Store) -> None:
    put_model(origin, "many")
    put_model(origin, "tuned", (*SIZES, 2000))  # a fine-tune: the same bytes and some more
    pull(target, name_at(fake.port), options(), Heard(), registry="")
    fake.forget()
    pull(target, name_at(fake.port, "tuned"), options(), Heard(), registry="")
    assert fake.blob_bytes() == 2000
    fake.forget()
    pull(target, name_at(fake.port, "tuned"), options(), Heard(), registry="")
    assert [row.asked.path for row in fake.all_answered()] == ["/v2/library/tuned/manifests/latest"]


def test_a_short_name_is_the_registry_s(origin: Store, port: int, target: Store) -> None:
    put_model(origin, "many")
    name = ModelName.parse("many")
    with pytest.raises(NoRegistry, match="TRANSOM_REGISTRY"):
        pull(target, name, options(), Heard(), registry="")
    pull(target, name, options(), Heard(), registry=f"127.0.0.1:{port}")
    assert [str(model.name) for model in target.list_models()] == ["many"]


def test_a_name_that_is_not_there(origin: Store, port: int, target: Store) -> None:
    with pytest.raises(NotInRegistry, match=f"127.0.0.1:{port} has no manifest latest of library"):
        pull(target, name_at(port, "none"), options(), Heard(), registry="")
    # A tag alone: nothing was made that somebody would have to clean up.
    assert target.list_models() == []


def test_a_host_that_is_not_there(target: Store) -> None:
    with pytest.raises(TransferError, match=r"cannot reach 127\.0\.0\.1:9: connection refused"):
        pull(target, name_at(9), options(), Heard(), registry="")


def test_plain_http_is_for_this_machine(target: Store) -> None:
    heard = Heard()
    name = ModelName.parse("registry.invalid/library/many")
    # https is tried, and fails for want of such a host.
    with pytest.raises(TransferError, match=r"cannot find the host registry\.invalid"):
        pull(target, name, options(), heard, registry="")


def test_a_pinned_digest(origin: Store, port: int, target: Store) -> None:
    put_model(origin, "many", seed=1)
    before = origin.get_index(ModelName.parse("many"))
    put_model(origin, "many", seed=2)
    pinned = ModelName.parse(f"127.0.0.1:{port}/library/many@{before.digest}")
    assert pull(target, pinned, options(), Heard(), registry="") == before.digest
    assert target.get_index(name_at(port)).data == before.data
    other = ModelName.parse(f"127.0.0.1:{port}/library/many@sha256:{'0' * 64}")
    with pytest.raises(NotInRegistry):
        pull(target, other, options(), Heard(), registry="")


def test_a_single_manifest_as_ollama_has_them(origin: Store, port: int, target: Store) -> None:
    layer, config = b"GGUF" + bytes(1000), b"{}"
    value = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST,
        "config": _row(origin, media_types.OLLAMA_CONFIG, config),
        "layers": [_row(origin, media_types.OLLAMA_MODEL, layer)],
    }
    data = json.dumps(value, indent=3).encode()  # kept byte for byte, odd as it is
    origin.put_index(ModelName.parse("olla"), data)
    pull(target, name_at(port, "olla"), options(), Heard(), registry="")
    stored = target.get_index(name_at(port, "olla"))
    assert stored.data == data
    assert stored.media_type == media_types.DOCKER_MANIFEST
    assert target.verify().problems == ()


def _row(store: Store, media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(store.put_bytes(data)), "size": len(data)}


def test_what_the_name_held_before_goes(origin: Store, port: int, target: Store) -> None:
    first = put_model(origin, "many", seed=1)
    pull(target, name_at(port), options(), Heard(), registry="")
    old = set(blobs_of(target, first))
    second = put_model(origin, "many", seed=2)
    heard = Heard()
    pull(target, name_at(port), options(), heard, registry="")
    new = set(blobs_of(target, second))
    assert "removing unused layers" in heard.texts
    assert all(target.has_blob(digest) for digest in new)
    # What both have is not old: the empty blob, and the config.
    assert not any(target.has_blob(digest) for digest in old - new)
    assert target.verify().problems == ()


def test_a_target_name_of_one_s_own(origin: Store, port: int, target: Store) -> None:
    put_model(origin, "many")
    mine = ModelName.parse("mine:v2")
    pull(target, name_at(port), options(), Heard(), registry="", target=mine)
    assert [str(model.name) for model in target.list_models()] == ["mine:v2"]


# Going on


PULL = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from tests.pyserver.pulling import options
    from transom_models.name import ModelName
    from transom_server.store import Store
    from transom_server.transfer.pull import pull
    name = ModelName.parse(sys.argv[2])
    pull(Store(Path(sys.argv[1])), name, options(connections=3), lambda status: None, registry="")
    """
)


def test_kill_9_costs_at_most_a_piece_per_connection(
    origin: Store, fake: FlakyServer, target: Store
) -> None:
    index = put_model(origin, "many", LARGE)
    dice = random.Random(4)
    kills = 0
    while True:
        reached, seen = threading.Event(), []
        deadly = dice.randrange(2, 9)

        def plan(
            asked: Asked,
            reached: threading.Event = reached,
            seen: list[str] = seen,
            deadly: int = deadly,
        ) -> Fault:
            if asked.is_blob:
                seen.append(asked.path)
            if len(seen) == deadly:
                reached.set()
            # Held back from then on, so that it does not end before it is killed.
            return flaky.stall(0) if len(seen) > deadly + 3 else flaky.slow(0.003)

        fake.plan = plan
        command = [sys.executable, "-c", PULL, str(target.root), str(name_at(fake.port))]
        with subprocess.Popen(command) as child:
            while child.poll() is None and not reached.wait(0.005):
                pass
            time.sleep(dice.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        # The tag is the last that it writes: killed on its way out, it was done.
        if child.returncode == 0 or target.list_models():
            break
        assert child.returncode == -signal.SIGKILL
        kills += 1
        assert target.verify().problems == ()
    assert kills >= 3
    assert target.verify().problems == ()
    assert blobs_of(target, index) == blobs_of(origin, index)
    again = fake.blob_bytes() - sum(LARGE) - CONFIG_BYTES
    assert again <= kills * 3 * PIECE_BYTES


def test_pieces_that_rotted_are_fetched_again(
    origin: Store, fake: FlakyServer, target: Store
) -> None:
    """As after a power cut: the journal says more than the disk holds, and ends in half a line."""
    index = put_model(origin, "many", LARGE)
    fake.plan = lambda asked: flaky.status(404) if asked.first == 12 * PIECE_BYTES else None
    with pytest.raises(NotInRegistry):
        pull(target, name_at(fake.port), options(connections=1), Heard(), registry="")
    journal = next((target.scratch / "downloads").glob("*.pieces"))
    data = journal.with_suffix("")
    assert journal.read_text().count("\n") == 13
    with data.open("r+b") as file:
        for number in (3, 7):
            file.seek(number * PIECE_BYTES + 5)
            file.write(b"rotten")
    with journal.open("ab") as file:
        file.write(b"19 0123")
    fake.plan = lambda asked: None
    fake.forget()
    pull(target, name_at(fake.port), options(), Heard(), registry="")
    assert fake.blob_bytes() == sum(LARGE) + CONFIG_BYTES - 10 * PIECE_BYTES
    assert blobs_of(target, index) == blobs_of(origin, index)


def test_pieces_of_another_cut_are_not_taken(
    origin: Store, fake: FlakyServer, target: Store
) -> None:
    index = put_model(origin, "many", LARGE)
    fake.plan = lambda asked: flaky.status(404) if asked.first == 12 * PIECE_BYTES else None
    with pytest.raises(NotInRegistry):
        pull(target, name_at(fake.port), options(connections=1), Heard(), registry="")
    fake.plan = lambda asked: None
    larger = options(piece_bytes=4 * PIECE_BYTES)
    pull(target, name_at(fake.port), larger, Heard(), registry="")
    assert blobs_of(target, index) == blobs_of(origin, index)


def test_two_pulls_of_the_same_fetch_it_once(
    origin: Store, fake: FlakyServer, target: Store
) -> None:
    index = put_model(origin, "many", LARGE)
    put_model(origin, "tuned", (*LARGE, 77))
    fake.plan = lambda asked: flaky.slow(0.003)
    errors: list[BaseException] = []

    def work(model: str) -> None:
        try:
            pull(target, name_at(fake.port, model), options(), Heard(), registry="")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(model,)) for model in ("many", "tuned")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert fake.blob_bytes() == sum(LARGE) + CONFIG_BYTES + 77
    assert blobs_of(target, index) == blobs_of(origin, index)
    assert list((target.scratch / "downloads").glob("*")) == []


def test_cancelled_and_gone_on_with(origin: Store, fake: FlakyServer, target: Store) -> None:
    index = put_model(origin, "many", LARGE)
    cancelled = threading.Event()

    def plan(asked: Asked) -> None:
        if asked.first == 8 * PIECE_BYTES:
            cancelled.set()

    fake.plan = plan
    heard = Heard()
    with pytest.raises(Cancelled, match="goes on where"):
        pull(target, name_at(fake.port), options(cancelled=cancelled), heard, registry="")
    assert heard.texts[-1].startswith("pulling ")
    assert target.list_models() == []
    assert threading.active_count() < 40
    before = fake.blob_bytes()
    assert before < sum(LARGE)
    pull(target, name_at(fake.port), options(), Heard(), registry="")
    assert fake.blob_bytes() <= sum(LARGE) + CONFIG_BYTES + 4 * PIECE_BYTES
    assert blobs_of(target, index) == blobs_of(origin, index)


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_cancelling_does_not_wait_for_a_host_that_stalls(
    path: str, origin: Store, fake: FlakyServer, target: Store
) -> None:
    put_model(origin, "many")
    cancelled = threading.Event()

    def plan(asked: Asked) -> Fault | None:
        if path not in asked.path:
            return None
        threading.Timer(0.1, cancelled.set).start()
        return flaky.stall(10)

    fake.plan = plan
    # A minute: pytest's own limit of a test would come first.
    patience = Patience(read_timeout=3600)
    with pytest.raises(Cancelled):
        pull(
            target,
            name_at(fake.port),
            options(cancelled=cancelled, patience=patience),
            Heard(),
            registry="",
        )


def test_no_blob_is_collected_on_its_way(origin: Store, fake: FlakyServer, target: Store) -> None:
    """A collection without any grace, while the tag is not written yet."""
    index = put_model(origin, "many", LARGE)
    collected: list[int] = []

    def report(status: Status) -> None:
        if status.completed is not None and status.completed == status.total:
            collected.append(target.collect_garbage(grace_seconds=0).removed.blobs)

    pull(target, name_at(fake.port), options(), report, registry="")
    assert len(collected) >= len(LARGE)
    assert set(collected) == {0}
    assert blobs_of(target, index) == blobs_of(origin, index)


def test_a_disk_that_is_too_small_is_said_first(
    origin: Store, fake: FlakyServer, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(origin, "many", LARGE)
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match="free, of which 16777216 stay so; free some space"):
        pull(target, name_at(fake.port), options(), Heard(), registry="")
    assert fake.blob_bytes() == 0


def test_the_cap_on_bandwidth_is_for_all_connections(
    origin: Store, fake: FlakyServer, target: Store
) -> None:
    put_model(origin, "many", [4 * PIECE_BYTES])
    started = time.monotonic()
    capped = options(bytes_per_second=1_000_000, connections=4)
    pull(target, name_at(fake.port), capped, Heard(), registry="")
    # A lower bound: no machine is so busy that it breaks.
    assert time.monotonic() - started >= 4 * PIECE_BYTES / 1_000_000


# Terms


OPEN = {media_types.ANNOTATION_LICENSES: "apache-2.0"}
CLOSED = {media_types.ANNOTATION_LICENSES: "llama3.2"}


def test_an_open_licence_is_shown_before_blobs(origin: Store, port: int, target: Store) -> None:
    put_model(origin, "many", annotations=OPEN)
    heard = Heard()
    pull(target, name_at(port), options(), heard, registry="")
    assert heard.texts[:2] == ["pulling manifest", "license: apache-2.0"]


def test_terms_that_are_not_open_need_a_yes(
    origin: Store, fake: FlakyServer, target: Store
) -> None:
    put_model(origin, "many", annotations=CLOSED)
    heard = Heard()
    with pytest.raises(LicenseNotAccepted, match=r"llama3\.2.*--accept-license"):
        pull(target, name_at(fake.port), options(), heard, registry="")
    assert "license: llama3.2 (not open)" in heard.texts
    assert fake.blob_bytes() == 0
    assert target.list_models() == []
    pull(target, name_at(fake.port), options(accept_license=True), heard, registry="")
    assert len(target.list_models()) == 1


def test_a_licence_is_read_from_its_text(origin: Store, fake: FlakyServer, target: Store) -> None:
    text = "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release Date: …"
    put_model(origin, "many", license_text=text)
    with pytest.raises(LicenseNotAccepted, match=r"llama3\.2"):
        pull(target, name_at(fake.port), options(), Heard(), registry="")
    # Of all blobs only the text came.
    assert fake.blob_bytes() == len(text.encode())


def test_a_licence_of_megabytes_is_none(origin: Store, fake: FlakyServer, target: Store) -> None:
    put_model(origin, "many", license_text="x" * (1024 * 1024 + 1))
    with pytest.raises(InvalidManifest, match=r"license text .* over 1048576"):
        pull(target, name_at(fake.port), options(), Heard(), registry="")
    assert fake.blob_bytes() == 0


# The command


def test_the_command(
    origin: Store, port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    put_model(origin, "many", annotations=OPEN)
    name = str(name_at(port))
    assert run_cli(["pull", name]) == 0
    printed = capfd.readouterr()
    assert printed.out == f"{name} is in the store\n"
    assert "license: apache-2.0" in printed.err
    assert "success" in printed.err
    assert run_cli(["pull", name, "--name", "mine", "--json", "--limit-rate", "100M"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[-1]["event"] == "report"
    assert lines[-1]["name"] == "mine"
    monkeypatch.setenv("TRANSOM_REGISTRY", f"127.0.0.1:{port}")
    assert run_cli(["pull", "many"]) == 0
    store = Store(Path(os.environ["TRANSOM_MODELS"]))
    assert [str(model.name) for model in store.list_models()] == [name, "many", "mine"]


def test_the_command_says_what_is_wrong(
    origin: Store, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    put_model(origin, "many", annotations=CLOSED)
    assert run_cli(["pull", str(name_at(port))]) == 2
    assert "--accept-license" in capfd.readouterr().err
    assert run_cli(["pull", str(name_at(port)), "--accept-license"]) == 0
    assert run_cli(["pull", "a/b/c/d"]) == 2
    assert run_cli(["pull", "many", "--limit-rate", "fast"]) == 2
    assert "500k, 10M or 1G" in capfd.readouterr().err
    assert run_cli(["pull", "many", "--connections", "0"]) == 2


@pytest.mark.parametrize(
    ("text", "rate"),
    [("500k", 500_000), ("10M", 10_000_000), ("1.5G", 1_500_000_000), ("2000", 2000)],
)
def test_rates(text: str, rate: int) -> None:
    assert Rate().convert(text, None, None) == rate


def test_ctrl_c_stops_and_the_next_goes_on(origin: Store, fake: FlakyServer, target: Store) -> None:
    put_model(origin, "many", LARGE)
    reached = threading.Event()

    def plan(asked: Asked) -> Fault | None:
        if not asked.is_blob:
            return None
        reached.set()
        return flaky.stall(10)

    fake.plan = plan
    environ = {**os.environ, "TRANSOM_MODELS": str(target.root)}
    command = [sys.executable, "-c", "from transom_cli.main import main; main()"]
    command += ["pull", str(name_at(fake.port))]
    child = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    with child:
        assert reached.wait(30)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        said = child.stderr.read()
    assert child.returncode == 130
    assert said.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in said
    fake.plan = lambda asked: None
    assert subprocess.run(command, env=environ, capture_output=True).returncode == 0
    assert target.verify().problems == ()
    assert len(target.list_models()) == 1


# Memory


PEAK = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from transom_models.name import ModelName
    from transom_server.store import Store
    from transom_server.transfer.pull import pull
    from transom_server.transfer.status import TransferOptions

    def peak():
        # Not ru_maxrss, which begins with what the parent had.
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

    before = peak()
    name = ModelName.parse(sys.argv[2])
    pull(Store(Path(sys.argv[1])), name, TransferOptions(), lambda status: None, registry="")
    print(peak() - before)
    """
)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells of peak memory")
def test_pieces_are_not_held_in_memory(origin: Store, port: int, target: Store) -> None:
    put_model(origin, "many", [64 * 1024 * 1024])
    command = [sys.executable, "-c", PEAK, str(target.root), str(name_at(port))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Less than one piece of 16 MiB: 3 MiB when this was written, and a few more where the system
    # maps libraries in larger parts.
    assert int(done.stdout) < 16 * 1024
