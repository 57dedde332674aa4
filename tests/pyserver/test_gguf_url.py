"""pytest tests/pyserver/test_gguf_url.py: GGUF files from plain addresses and from a hub."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import flaky_server as flaky
from tests.fakes.flaky_server import Answer, Asked, Fault, FlakyServer
from tests.fakes.tiny_gguf import TinyGguf, TinyTensor
from tests.pyserver.pulling import PIECE_BYTES, Heard, options
from transom_cli.main import run as run_cli
from transom_models.digest import Digest, InvalidDigest
from transom_models.name import InvalidName, ModelName
from transom_server.app import create_app
from transom_server.model.gguf_facts import InvalidGguf
from transom_server.settings.config import Config
from transom_server.store import Store
from transom_server.transfer.address import InvalidAddress
from transom_server.transfer.gguf_url import NoHub, NotGguf, name_of_url, pull_url, read_address
from transom_server.transfer.http_client import TransferError
from transom_server.transfer.terms import LicenseNotAccepted

HUB = "https://hub.example.com"
NAME = ModelName.parse("fetched")


def gguf(licence: str | None = "apache-2.0") -> bytes:
    """A small model of a few pieces."""
    metadata = [("general.architecture", "llama")]
    if licence is not None:
        metadata.append(("general.license", licence))
    count = PIECE_BYTES + 19
    weights = random.Random(3).randbytes(4 * count)
    return TinyGguf(metadata, [TinyTensor("w", (count,), data=weights)]).to_bytes()


# Addresses


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://example.com/a/m.gguf", "https://example.com/a/m.gguf"),
        ("https://example.com/a/m.gguf?x=y", "https://example.com/a/m.gguf?x=y"),
        ("hf://org/repo/m.gguf", f"{HUB}/org/repo/resolve/main/m.gguf"),
        ("hf://org/repo/sub/m.gguf", f"{HUB}/org/repo/resolve/main/sub/m.gguf"),
        ("hf://org/repo@v1.0/m.gguf", f"{HUB}/org/repo/resolve/v1.0/m.gguf"),
        (f"{HUB}/org/repo/blob/main/m.gguf", f"{HUB}/org/repo/resolve/main/m.gguf"),
        (f"{HUB}/org/repo/resolve/main/m.gguf", f"{HUB}/org/repo/resolve/main/m.gguf"),
    ],
)
def test_addresses(url: str, read: str) -> None:
    address = read_address(url, {"HF_ENDPOINT": HUB, "HF_TOKEN": "hf_secret"})
    assert address.url == read
    assert address.authorization == ("Bearer hf_secret" if read.startswith(HUB) else None)
    assert address.file_name == "m.gguf"


def test_a_digest_after_the_address() -> None:
    digest = Digest.of(b"x")
    assert read_address(f"https://example.com/m.gguf#sha256={digest.hex}", {}).digest == digest
    with pytest.raises(InvalidDigest):
        read_address("https://example.com/m.gguf#sha256=123", {})
    with pytest.raises(InvalidAddress, match="sha256=<64 hex digits>"):
        read_address("https://example.com/m.gguf#top", {})


def test_a_hub_that_nobody_named() -> None:
    with pytest.raises(NoHub, match="HF_ENDPOINT"):
        read_address("hf://org/repo/m.gguf", {})


@pytest.mark.parametrize(
    "url", ["hf://org/m.gguf", "hf://org/repo/m.bin", "hf://org/repo/../../x.gguf", "hf://"]
)
def test_what_is_no_file_of_a_hub(url: str) -> None:
    with pytest.raises(InvalidAddress, match="hf://org/repo/file"):
        read_address(url, {"HF_ENDPOINT": HUB})


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.example.com.evil.example/org/repo/resolve/main/m.gguf",
        "https://hub.example.com:8443/m.gguf",
        "http://hub.example.com/m.gguf",
    ],
)
def test_the_token_is_for_the_hub(url: str) -> None:
    environ = {"HF_ENDPOINT": HUB, "HF_TOKEN": "hf_secret"}
    assert read_address(url, environ).authorization is None


def test_names() -> None:
    assert str(name_of_url("https://example.com/a/Tiny-1.5b.Q4_0.gguf?x=y")) == "Tiny-1.5b.Q4_0"
    assert str(name_of_url("hf://org/repo/tiny.gguf")) == "tiny"
    with pytest.raises(InvalidName, match="--name"):
        name_of_url("https://example.com/")
    with pytest.raises(InvalidName, match="--name"):
        name_of_url("https://example.com/a%20b.gguf")


# Files


class Host:
    """A plain file server, played by a flaky one: any answer is in its hands."""

    def __init__(self, fake: FlakyServer, data: bytes, etag: str | None = '"v1"') -> None:
        self.fake = fake
        self.data = data
        self.etag = etag
        self.faults: dict[int, Fault] = {}
        fake.plan = self._plan
        self.url = f"http://{fake.place}/files/tiny.gguf"

    @property
    def sent(self) -> int:
        return sum(row.sent for row in self.fake.all_answered())

    def _plan(self, asked: Asked) -> Fault:
        headers = self.fake.requests[asked.number]
        fault = self.faults.pop(asked.first, None) if asked.first is not None else None

        def change(answer: Answer) -> None:
            self.answer(answer, headers)
            if fault is not None:
                fault(answer)

        return change

    def answer(self, answer: Answer, headers: dict[str, str]) -> None:
        answer.status, answer.body, answer.headers = 200, self.data, {}
        if self.etag is not None:
            answer.headers["ETag"] = self.etag
        span = headers.get("range", "").removeprefix("bytes=")
        if span and headers.get("if-range") in (None, self.etag):
            first, last = (int(part) for part in span.split("-"))
            last = min(last, len(self.data) - 1)
            answer.status, answer.body = 206, self.data[first : last + 1]
            answer.headers["Content-Range"] = f"bytes {first}-{last}/{len(self.data)}"


@pytest.fixture
def fake() -> Iterator[FlakyServer]:
    with flaky.flaky_server(None) as fake:
        yield fake


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def kept(store: Store, name: ModelName = NAME) -> bytes:
    """The model's GGUF, as the store has it."""
    model = store.get_index(name)
    layers = store.get_manifest(model.index.manifests[0]).layers
    assert store.verify().problems == ()
    with store.open_blob(layers[0].digest) as file:
        return file.read()


def fetch(host: Host, store: Store, url: str | None = None, **changes: object) -> Heard:
    heard = Heard()
    pull_url(store, url or host.url, NAME, options(**changes), heard)
    return heard


def test_a_file_becomes_a_native_model(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf())
    heard = fetch(host, store)
    assert kept(store) == host.data
    platform = store.get_index(NAME).index.manifests[0].platform
    assert str(platform) == "native/gguf"
    assert "license: apache-2.0" in heard.texts
    assert "pulling tiny.gguf" in heard.texts
    assert heard.texts[-1] == "success"
    assert host.sent == len(host.data) + 4


def test_a_digest_that_is_promised_is_held(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf())
    hex_digits = hashlib.sha256(host.data).hexdigest()
    fetch(host, store, f"{host.url}#sha256={hex_digits}")
    assert kept(store) == host.data
    fake.forget()
    fetch(host, store, f"{host.url}#sha256={hex_digits}")  # four bytes, to see what is there
    assert host.sent == 4
    with pytest.raises(TransferError, match="other bytes than its digest"):
        fetch(host, store, f"{host.url}#sha256={'0' * 64}")


def test_a_drop_is_gone_on_with(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf())
    host.faults = {PIECE_BYTES: flaky.drop(500), 3 * PIECE_BYTES: flaky.status(404)}
    with pytest.raises(TransferError, match=r"has no tiny\.gguf"):
        fetch(host, store, connections=1)
    fetch(host, store)
    assert kept(store) == host.data
    # Twice the first four bytes; the drop cost nothing, as what came was kept.
    assert host.sent == len(host.data) + 8


def test_another_version_is_not_mixed_in(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf())
    host.faults = {3 * PIECE_BYTES: flaky.status(404)}
    with pytest.raises(TransferError):
        fetch(host, store, connections=1)
    host.data, host.etag = host.data[:-1] + b"!", '"v2"'
    fake.forget()
    fetch(host, store)
    assert kept(store) == host.data
    assert host.sent == len(host.data) + 4


def test_a_version_that_changes_meanwhile(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf())

    def swap(answer: Answer) -> None:
        host.data, host.etag = host.data[:-1] + b"!", '"v2"'

    host.faults = {PIECE_BYTES: swap}
    with pytest.raises(TransferError, match=r"tiny\.gguf changed at .* while it came"):
        fetch(host, store, connections=1)
    assert store.list_models() == []
    fetch(host, store)
    assert kept(store) == host.data


def test_a_host_whose_versions_nobody_can_tell_apart(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf(), etag=None)
    fetch(host, store)
    assert kept(store) == host.data
    # All at once, after the look at its first bytes: pieces could be of two versions.
    assert host.sent == len(host.data) + 4


@pytest.mark.parametrize("etag", ['W/"weak"', "bare", '"' + "x" * 600 + '"', '"a\\"b"'])
def test_an_etag_that_says_little(etag: str, fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf(), etag)
    fetch(host, store)
    assert kept(store) == host.data


def test_what_is_no_gguf_is_not_fetched(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, b"<!doctype html>" + bytes(PIECE_BYTES * 3))
    with pytest.raises(NotGguf, match=r"tiny\.gguf at .* is no GGUF file: it begins with b'<!do'"):
        fetch(host, store)
    assert host.sent == 4


def test_a_gguf_that_is_only_a_beginning(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, b"GGUF")
    with pytest.raises(InvalidGguf, match="truncated"):
        fetch(host, store)
    assert store.list_models() == []


def test_terms_that_are_not_open(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf(licence="llama3.2"))
    with pytest.raises(LicenseNotAccepted) as caught:
        fetch(host, store)
    hex_digits = hashlib.sha256(host.data).hexdigest()
    again = f"{host.url}#sha256={hex_digits}"
    assert f"transom pull '{again}' --accept-license" in str(caught.value)
    assert store.list_models() == []
    fake.forget()
    fetch(host, store, again, accept_license=True)
    assert host.sent == 4
    assert kept(store) == host.data


def test_a_hub(fake: FlakyServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub knows the digest, wants a token, and has the bytes elsewhere."""
    with flaky.flaky_server(None) as cdn:
        files = Host(cdn, gguf())
        hex_digits = hashlib.sha256(files.data).hexdigest()

        def hub(asked: Asked) -> Fault:
            if fake.requests[asked.number].get("authorization") != "Bearer hf_secret":
                return flaky.status(401)
            assert asked.path == "/org/repo/resolve/main/tiny.gguf"
            return flaky.status(
                302,
                Location=f"http://localhost:{cdn.port}/signed",
                X_Linked_ETag=f'"{hex_digits}"',
            )

        fake.plan = hub
        monkeypatch.setenv("HF_ENDPOINT", f"http://{fake.place}")
        url = f"http://{fake.place}/org/repo/blob/main/tiny.gguf"
        with pytest.raises(TransferError, match="set HF_TOKEN"):
            pull_url(store, url, NAME, options(), Heard())
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        pull_url(store, "hf://org/repo/tiny.gguf", NAME, options(), Heard())
        assert kept(store) == files.data
        assert all("authorization" not in headers for headers in cdn.requests)
        # Bytes that are not what the hub says are not taken.
        store.remove_model(NAME)
        files.data = files.data[:-1] + b"!"
        with pytest.raises(TransferError, match="other bytes than its digest"):
            pull_url(store, url, NAME, options(), Heard())


def test_the_server_fetches_it_for_a_page(fake: FlakyServer, store: Store) -> None:
    host = Host(fake, gguf())
    app = create_app(Config.read({}, models=str(store.location)))
    with app.test_client() as client:
        answer = client.post("/api/pull", json={"model": host.url})
        lines = [json.loads(line) for line in answer.data.splitlines()]
        assert lines[-1] == {"status": "success"}
        assert client.get("/api/tags").get_json()["models"][0]["name"] == "tiny:latest"
    assert kept(store, ModelName.parse("tiny")) == host.data


def test_the_command(fake: FlakyServer, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    host = Host(fake, gguf())
    assert run_cli(["pull", host.url]) == 0
    assert capfd.readouterr().out == "tiny is in the store\n"
    assert run_cli(["pull", f"{host.url}#sha256=12"]) == 2
    assert run_cli(["pull", "hf://a/b/c.gguf"]) == 2
    assert "HF_ENDPOINT" in capfd.readouterr().err
