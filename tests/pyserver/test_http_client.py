"""pytest tests/pyserver/test_http_client.py: redirects, logins, waits, proxies and cancelling."""

import email.utils
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import flaky_server as flaky
from tests.fakes.flaky_server import Asked, FlakyServer
from tests.pyserver.pulling import QUICK, options
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.transfer.http_client import Faltering, HttpClient, TransferError, Tries
from transom_server.transfer.status import Cancelled, Patience


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[int]:
    config = Config.read({}, models=str(tmp_path / "models"), port="0")
    with serving(create_app(config), config) as server:
        yield server.port


@pytest.fixture
def fake(upstream: int) -> Iterator[FlakyServer]:
    with flaky.flaky_server(upstream) as fake:
        yield fake


def test_a_login_goes_to_its_own_host_only(fake: FlakyServer, upstream: int) -> None:
    with flaky.flaky_server(upstream) as other:
        targets = {
            "/same": "/healthz",
            "/port": f"http://127.0.0.1:{other.port}/healthz",
            "/name": f"http://localhost:{fake.port}/healthz",
            "/there-and-back": f"http://127.0.0.1:{other.port}/back",
        }
        fake.plan = lambda asked: (
            flaky.redirect(targets[asked.path]) if asked.path in targets else None
        )
        back = f"http://{fake.place}/healthz"
        other.plan = lambda asked: flaky.redirect(back) if asked.path == "/back" else None
        with HttpClient(options()) as http:
            for path in targets:
                url = f"http://{fake.place}{path}"
                with http.open("GET", url, authorization="Bearer secret") as answer:
                    assert answer.status == 200
        sent = [headers.get("authorization") for headers in fake.requests]
        # /same twice, /port, /name, and by that name, /there-and-back, and back again at home.
        secret = "Bearer secret"
        assert sent == [secret, secret, secret, secret, None, secret, secret]
        assert [headers.get("authorization") for headers in other.requests] == [None, None]


def test_redirects_are_followed_when_nothing_is_sent_up(fake: FlakyServer) -> None:
    fake.plan = lambda asked: flaky.redirect("/healthz") if asked.path != "/healthz" else None
    with HttpClient(options()) as http:
        url = f"http://{fake.place}/x"
        with http.open("HEAD", url) as answer:
            assert answer.status == 200
        with http.open("GET", url, follow=False) as answer:
            assert (answer.status, answer.header("Location")) == (307, "/healthz")


def test_five_redirects_and_no_more(fake: FlakyServer) -> None:
    def plan(asked: Asked) -> flaky.Fault | None:
        number = int(asked.path.removeprefix("/"))
        return flaky.redirect(f"/{number - 1}") if number else flaky.status(200)

    fake.plan = plan
    with HttpClient(options()) as http:
        with http.open("GET", f"http://{fake.place}/5") as answer:
            assert answer.status == 200
        with (
            pytest.raises(TransferError, match="more than 5 times"),
            http.open("GET", f"http://{fake.place}/6"),
        ):
            pass


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("7", 7, 7),
        ("3600", 9, 9),  # capped
        ("99999999999999999999", 9, 9),
        ("-1", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
    ],
)
def test_retry_after(text: str, least: float, most: float, fake: FlakyServer) -> None:
    assert least <= retry_after(text, fake) <= most


@pytest.mark.parametrize(("seconds", "wait"), [(3600, 9), (-3600, 0)])
def test_retry_after_a_date(seconds: float, wait: float, fake: FlakyServer) -> None:
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    assert retry_after(date, fake) == wait


def retry_after(text: str, fake: FlakyServer) -> float:
    """What a client that waits for 9 seconds at most makes of it."""
    fake.plan = lambda asked: flaky.status(503, Retry_After=text)
    patience = Patience(longest_retry_after=9)
    with (
        HttpClient(options(patience=patience)) as http,
        pytest.raises(Faltering) as caught,
        http.open("GET", f"http://{fake.place}/"),
    ):
        pass
    return caught.value.wait


def test_waits_grow_and_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    patience = Patience(tries=8, first_wait=1, longest_wait=10)
    with HttpClient(options(patience=patience)) as http:
        monkeypatch.setattr(http, "pause", waits.append)
        tries = Tries(http)
        for _ in range(7):
            tries.failed(Faltering("host is busy"))
        with pytest.raises(TransferError, match="host is busy; gave up after 8 tries"):
            tries.failed(Faltering("host is busy"))
        tries.progress()
        tries.failed(Faltering("host is busy", wait=30))
    assert all(
        0.5 * n <= wait <= n for n, wait in zip((1, 2, 4, 8, 10, 10, 10), waits, strict=False)
    )
    assert waits[-1] == 30


def test_a_connection_is_used_again(fake: FlakyServer) -> None:
    with HttpClient(options()) as http:
        for method in ("GET", "HEAD", "GET"):
            with http.open(method, f"http://{fake.place}/healthz") as answer:
                answer.read(1000, "health")
        pool = http._pools[""].connection_from_url(f"http://{fake.place}/")
        assert (pool.num_connections, pool.num_requests) == (1, 3)


def test_a_dead_host_that_was_alive_is_asked_again(upstream: int) -> None:
    with HttpClient(options()) as http:
        with flaky.flaky_server(upstream) as fake:
            url = f"http://{fake.place}/healthz"
            with http.open("GET", url) as answer:
                answer.read(1000, "health")
        with pytest.raises(Faltering), http.open("GET", url):
            pass
    with (
        HttpClient(options()) as http,
        pytest.raises(TransferError, match="connection refused") as caught,
        http.open("GET", url),
    ):
        pass
    assert not isinstance(caught.value, Faltering)


def test_the_proxy_of_the_environment(fake: FlakyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://{fake.place}")
    fake.plan = lambda asked: flaky.status(204)
    with HttpClient(options(insecure=True)) as http:
        with http.open("GET", "http://registry.invalid/v2/") as answer:
            assert answer.status == 204
        # This machine is never behind it.
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with http.open("GET", f"http://{fake.place}/") as answer:
            assert answer.status == 204
    assert fake.requests[0]["host"] == "registry.invalid"


def test_cancelling_wakes_whoever_waits(fake: FlakyServer) -> None:
    cancelled = threading.Event()
    fake.plan = lambda asked: flaky.slow(60)
    patience = Patience(read_timeout=3600)
    with HttpClient(options(cancelled=cancelled, patience=patience)) as http:
        threading.Timer(0.1, cancelled.set).start()
        with pytest.raises(Cancelled), http.open("GET", f"http://{fake.place}/"):
            pass
        with pytest.raises(Cancelled):
            http.pause(3600)


def test_nothing_is_asked_once_cancelled(fake: FlakyServer) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with (
        HttpClient(options(cancelled=cancelled)) as http,
        pytest.raises(Cancelled),
        http.open("GET", f"http://{fake.place}/"),
    ):
        pass
    assert fake.requests == []


def test_patience_is_for_those_who_falter(fake: FlakyServer) -> None:
    calls: list[int] = []

    def action() -> int:
        calls.append(1)
        if len(calls) < QUICK.tries:
            raise Faltering("again")
        return 7

    with HttpClient(options()) as http:
        assert http.patiently(action) == 7
        with pytest.raises(ZeroDivisionError):
            http.patiently(lambda: 1 // 0)
