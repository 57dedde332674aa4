"""pytest tests/pyserver/test_proxies.py: who asks, behind proxies that are trusted or not."""

import ipaddress
from typing import Any

import pytest

from transom_server.access.proxies import MAX_HEADER_CHARS, behind_proxies, client_address
from transom_server.settings.config import Config, InvalidSetting

TRUSTED = (ipaddress.ip_network("127.0.0.1"), ipaddress.ip_network("10.0.0.0/8"))


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        # What the client wrote itself stands before what the proxy appended.
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", "127.0.0.1"),
        ("junk", "127.0.0.1"),
        ("192.0.2.7, junk", "127.0.0.1"),
        ("192.0.2.7, junk, 10.1.2.3", "10.1.2.3"),
        ("192.0.2.7," * MAX_HEADER_CHARS, "127.0.0.1"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_counts(forwarded: str, client: str) -> None:
    assert client_address("127.0.0.1", forwarded, TRUSTED) == client


def test_only_a_trusted_peer_is_believed() -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]))
        return []

    wrapped = behind_proxies(app, TRUSTED)
    for peer in ("127.0.0.1", "::ffff:10.9.9.9", "192.0.2.99", ""):
        environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"}
        environ |= {"HTTP_X_FORWARDED_FOR": "203.0.113.5", "HTTP_X_FORWARDED_PROTO": "HTTPS"}
        wrapped(environ, print)
    assert seen == [
        ("203.0.113.5", "https"),
        ("203.0.113.5", "https"),
        ("192.0.2.99", "http"),
        ("", "http"),
    ]


def test_the_setting_is_checked_and_makes_the_store_read_only() -> None:
    config = Config.read({"TRANSOM_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"})
    assert config.trusted_proxies == TRUSTED
    assert not config.writable
    assert Config.read({}).writable
    for wrong in ("localhost", "10.0.0.1/8", "*"):
        with pytest.raises(InvalidSetting, match="TRANSOM_TRUSTED_PROXIES"):
            Config.read({"TRANSOM_TRUSTED_PROXIES": wrong})
