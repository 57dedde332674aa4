"""pytest tests/pyserver/test_address.py: which addresses may be asked, and where redirects lead."""

import pytest

from transom_server.transfer.address import (
    MAX_URL_CHARS,
    Address,
    InvalidAddress,
    is_loopback,
    registry_url,
)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://models.example.com", ("https", "models.example.com", 443)),
        ("http://models.example.com:8080/a?b=c", ("http", "models.example.com", 8080)),
        ("HTTPS://Models.Example.COM/x", ("https", "models.example.com", 443)),
        ("http://[::1]:5000/x", ("http", "::1", 5000)),
    ],
)
def test_addresses(url: str, origin: tuple[str, str, int]) -> None:
    assert Address.parse(url).origin == origin


def test_a_fragment_is_nobody_s_business() -> None:
    assert Address.parse("https://example.com/a#sha256=b").url == "https://example.com/a"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/a",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "https://",
        "https:///a",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://[::1/",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com/a b",
        "https://example.com/a\r\nX: y",
        "https://example.com\\@evil.example/",
        "https://exämple.com/",
        "https://example.com/" + "a" * MAX_URL_CHARS,
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        Address.parse(url)
    assert len(str(caught.value)) < 300
    assert "secret" not in str(caught.value)


def test_plain_http_is_for_loopback_or_for_those_who_said_so() -> None:
    for url in ("http://localhost/", "http://127.0.0.1:5000/", "http://[::1]/", "https://a.b/"):
        Address.parse(url).check(insecure=False)
    remote = Address.parse("http://registry.example.com/")
    with pytest.raises(InvalidAddress, match=r"registry\.example\.com .*plain http.*--insecure"):
        remote.check(insecure=False)
    assert remote.check(insecure=True) is remote


REMOTE, LOCAL = "https://registry.example.com/v2/x", "http://127.0.0.1:5000/v2/x"


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        (REMOTE, "/other", "https://registry.example.com/other"),
        (REMOTE, "y?z", "https://registry.example.com/v2/y?z"),
        (REMOTE, "https://cdn.example.net/b", "https://cdn.example.net/b"),
        (REMOTE, "//cdn.example.net/b", "https://cdn.example.net/b"),
        (LOCAL, "http://localhost:6000/b", "http://localhost:6000/b"),
        (LOCAL, "https://cdn.example.net/b", "https://cdn.example.net/b"),
    ],
)
def test_redirects(url: str, location: str, target: str) -> None:
    assert Address.parse(url).redirected(location, insecure=False).url == target


@pytest.mark.parametrize(
    ("url", "location", "reason"),
    [
        (REMOTE, "http://registry.example.com/x", "from https to http"),
        (REMOTE, "http://127.0.0.1/x", "from https to http"),
        (REMOTE, "https://127.0.0.1:8443/x", "to this machine"),
        (REMOTE, "https://localhost/x", "to this machine"),
        (REMOTE, "https://[::1]/x", "to this machine"),
        (LOCAL, "http://cdn.example.net/b", "plain http"),
        (LOCAL, "ftp://cdn.example.net/b", "no address"),
        (LOCAL, "data:text/plain,x", "no address"),
        (LOCAL, "http://user:secret@localhost/", "user name"),
    ],
)
def test_redirects_that_are_not_followed(url: str, location: str, reason: str) -> None:
    with pytest.raises(InvalidAddress, match=reason):
        Address.parse(url).redirected(location, insecure=False)


def test_insecure_lets_no_redirect_leave_https() -> None:
    with pytest.raises(InvalidAddress, match="from https to http"):
        Address.parse(REMOTE).redirected("http://registry.example.com/x", insecure=True)


@pytest.mark.parametrize(
    ("registry", "insecure", "url"),
    [
        ("registry.example.com", False, "https://registry.example.com"),
        ("registry.example.com:5000", False, "https://registry.example.com:5000"),
        ("registry.example.com", True, "http://registry.example.com"),
        ("localhost:11435", False, "http://localhost:11435"),
        ("127.0.0.1", False, "http://127.0.0.1"),
        ("[::1]:5000", False, "http://[::1]:5000"),
        ("Localhost", False, "http://Localhost"),
        # Names that only look like this machine.
        ("localhost.example.com", False, "https://localhost.example.com"),
        ("127.0.0.1.example.com", False, "https://127.0.0.1.example.com"),
    ],
)
def test_registries(registry: str, insecure: bool, url: str) -> None:
    assert registry_url(registry, insecure) == url


@pytest.mark.parametrize(
    "registry", ["", "a/b", "user@host", "host:99999", "host:", "https://host", "a b", "::1", "h\n"]
)
def test_what_is_no_registry(registry: str) -> None:
    with pytest.raises(InvalidAddress, match="no registry"):
        registry_url(registry, insecure=False)


def test_loopback() -> None:
    assert is_loopback("127.8.9.10")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("example.com")
