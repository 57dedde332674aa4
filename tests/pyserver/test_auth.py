"""pytest tests/pyserver/test_auth.py: who we are is told to those who may know."""

import base64
import io
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.token_registry import SERVICE, TokenRegistry, token_registry
from transom_cli.main import run
from transom_models.name import ModelName
from transom_server.store import Store
from transom_server.transfer.address import Address
from transom_server.transfer.auth import (
    Challenge,
    ForeignTokenHost,
    LoginRefused,
    RegistryAuth,
    may_learn,
    parse_challenges,
)
from transom_server.transfer.credentials import (
    Credentials,
    CredentialsError,
    Login,
    credentials_path,
    remove_login,
    save_login,
)
from transom_server.transfer.http_client import HttpClient, TransferError
from transom_server.transfer.pull import pull
from transom_server.transfer.push import push
from transom_server.transfer.registry_client import Denied
from transom_server.transfer.status import Patience, TransferOptions

ANA = Login("ana", "secret:with:colons")
TINY = ModelName.parse("tiny")


@pytest.fixture
def registry(filled: Store) -> Iterator[TokenRegistry]:
    """Has the tiny model."""
    with token_registry(filled.root) as registry:
        yield registry


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return Store(tmp_path / "mine")


def options(registry: TokenRegistry, login: Login | None = None) -> TransferOptions:
    credentials = None if login is None else Credentials({registry.host: login})
    return TransferOptions(
        credentials=credentials, patience=Patience(first_wait=0.01), connections=2
    )


def pull_tiny(mine: Store, registry: TokenRegistry, login: Login | None = None) -> None:
    pull(mine, TINY, options(registry, login), lambda status: None, registry=registry.host)


def push_tiny(filled: Store, registry: TokenRegistry, login: Login | None = None) -> None:
    target = ModelName.parse(f"{registry.host}/me/tiny")
    push(filled, TINY, options(registry, login), lambda status: None, target=target, registry="")


# Challenges


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Basic", [("basic", {})]),
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        ("bearer REALM=x, service = y", [("bearer", {"realm": "x", "service": "y"})]),
        (
            'Bearer realm="https://a/t?b=c,d",scope="repository:x:pull,push", Basic realm="q"',
            [
                ("bearer", {"realm": "https://a/t?b=c,d", "scope": "repository:x:pull,push"}),
                ("basic", {"realm": "q"}),
            ],
        ),
        (r'Basic realm="a \"b\" c"', [("basic", {"realm": 'a "b" c'})]),
        ('Bearer realm="x",realm="y"', [("bearer", {"realm": "x"})]),
        ("Negotiate abc==, Basic realm=x", [("negotiate", {})]),
        ('Bearer realm="never ends', [("bearer", {})]),
        ("", []),
        (",,,", []),
        ("é", []),
    ],
)
def test_challenges(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges([header]) == [Challenge(*row) for row in found]


def test_a_huge_challenge_takes_no_time() -> None:
    for header in ("a " * 10**6, "," * 10**6, 'B r="' + "\\" * 10**6, "a=" * 10**6):
        parse_challenges([header])


# Tokens


def test_anybody_gets_a_token_to_pull(mine: Store, registry: TokenRegistry) -> None:
    pull_tiny(mine, registry)
    assert mine.verify().problems == ()
    (asked,) = registry.asked
    # What the token is for is said by us, whatever the challenge says.
    assert asked == {
        "service": SERVICE,
        "scope": "repository:library/tiny:pull",
        "authorization": "",
    }


def test_a_login_is_shown_to_the_token_server_only(mine: Store, registry: TokenRegistry) -> None:
    registry.anonymous = False
    with pytest.raises(LoginRefused, match=r"no token to nobody without a login; .*transom login"):
        pull_tiny(mine, registry)
    registry.asked.clear()
    pull_tiny(mine, registry, ANA)
    (asked,) = registry.asked
    assert asked["authorization"] == ANA.basic
    assert asked["account"] == "ana"


def test_a_push_asks_for_both(filled: Store, registry: TokenRegistry) -> None:
    push_tiny(filled, registry, ANA)
    scopes = {asked["scope"] for asked in registry.asked}
    assert "repository:me/tiny:pull,push" in scopes
    assert scopes <= {"repository:me/tiny:pull", "repository:me/tiny:pull,push"}


def test_an_expired_token_is_fetched_anew_once_a_request(
    mine: Store, registry: TokenRegistry
) -> None:
    registry.uses = 1
    alone = replace(options(registry), connections=1)
    pull(mine, TINY, alone, lambda status: None, registry=registry.host)
    assert mine.verify().problems == ()
    assert len(registry.asked) > 5


def test_a_token_that_helps_nothing_ends_it(mine: Store, registry: TokenRegistry) -> None:
    registry.uses = 0
    with pytest.raises(Denied, match=r"status 401: who are you.*transom login 127"):
        pull_tiny(mine, registry)
    assert len(registry.asked) == 1


def test_a_wrong_password_is_one_clear_error(mine: Store, registry: TokenRegistry) -> None:
    with pytest.raises(LoginRefused, match="gives no token to 'ana'; log in with: transom login"):
        pull_tiny(mine, registry, Login("ana", "wrong"))
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "{}",
        '{"token": 7}',
        '{"token": "a\\r\\nX: y"}',
        '{"token": "\\u00e9"}',
        "[" * 9999,
        '{"token": "' + "a" * 10**6 + '"}',
    ],
    ids=lambda answer: answer[:12],
)
def test_what_is_no_token_is_not_sent(mine: Store, registry: TokenRegistry, answer: str) -> None:
    registry.answer = answer
    with pytest.raises(TransferError, match=r"no token|larger than"):
        pull_tiny(mine, registry)
    registry.answer = None
    pull_tiny(mine, registry)


def test_access_token_is_a_token_too(mine: Store, registry: TokenRegistry) -> None:
    registry.left["of-another-name"] = 1_000_000
    registry.answer = '{"access_token": "of-another-name"}'
    pull_tiny(mine, registry)


def test_basic(mine: Store, registry: TokenRegistry) -> None:
    registry.scheme = "basic"
    with pytest.raises(Denied, match="transom login 127"):
        pull_tiny(mine, registry)
    with pytest.raises(Denied):
        pull_tiny(mine, registry, Login("ana", "wrong"))
    pull_tiny(mine, registry, ANA)
    assert registry.asked == []


# Hosts that are not the registry


def test_a_foreign_token_host_gets_no_credentials_cve_2025_51471(
    mine: Store, registry: TokenRegistry
) -> None:
    # The smallest legal neighbour: the registry's own host, on another port.
    pull_tiny(mine, registry, ANA)
    assert registry.asked[0]["authorization"] == ANA.basic
    registry.asked.clear()
    registry.left.clear()
    registry.token_host = registry.token_host.replace("127.0.0.1", "localhost")
    with pytest.raises(ForeignTokenHost, match=f"login {registry.host} --token-host localhost"):
        pull_tiny(mine, registry, ANA)
    assert registry.asked == []
    # Whoever has no login has nothing to lose.
    pull_tiny(mine, registry)
    assert [asked["authorization"] for asked in registry.asked] == [""]


def test_a_token_host_that_the_owner_listed(mine: Store, registry: TokenRegistry) -> None:
    registry.token_host = registry.token_host.replace("127.0.0.1", "localhost")
    listed = Login(ANA.username, ANA.password, ("localhost",))
    pull_tiny(mine, registry, listed)
    assert registry.asked[0]["authorization"] == ANA.basic


@pytest.mark.parametrize(
    ("registry", "realm", "allowed"),
    [
        ("registry.example.com", "https://registry.example.com/token", True),
        ("registry.example.com", "https://REGISTRY.example.com:8443/token", True),
        ("registry.example.com", "https://example.com/token", True),
        ("registry.example.com", "https://auth.example.com/token", False),
        ("registry.example.com", "https://com/token", False),
        ("registry.example.com", "https://ample.com/token", False),
        ("registry.example.com", "https://registry.example.com.evil.example/token", False),
        ("registry.example.com", "https://evil.example/registry.example.com", False),
        ("registry.example.com", "https://listed.example.net/token", True),
        ("registry.example.com", "https://sub.listed.example.net/token", False),
        ("127.0.0.1:5000", "http://127.0.0.1:6000/token", True),
        ("127.0.0.1:5000", "http://0.0.1:6000/token", False),
    ],
)
def test_who_may_learn_a_login(registry: str, realm: str, allowed: bool) -> None:
    login = Login("ana", "x", ("listed.example.net",))
    scheme = "http" if registry.startswith("127") else "https"
    address = Address.parse(f"{scheme}://{registry}")
    assert may_learn(login, address, Address.parse(realm)) is allowed


@pytest.mark.parametrize(
    "realm",
    [
        "http://registry.example.com/token",  # not from https to http
        "http://127.0.0.1:11435/token",  # nor to this machine
        "https://localhost/token",
        "https://[::1]/token",
        "file:///etc/passwd",
        "https://user:word@registry.example.com/token",
        "https://exa mple.com/",
    ],
)
def test_token_addresses_that_nobody_is_asked_at(realm: str) -> None:
    with HttpClient(TransferOptions()) as http:
        auth = RegistryAuth(http, "registry.example.com", "a/b", None, False)
        with pytest.raises(TransferError, match=r"registry.example.com has its tokens at no good"):
            auth.challenged([f'Bearer realm="{realm}"'], "pull", None)


def test_no_authorization_goes_to_where_a_redirect_leads(
    mine: Store, registry: TokenRegistry
) -> None:
    """Blobs of large registries lie at another host."""
    registry.redirect_blobs_to = f"http://{registry.token_host}"
    pull_tiny(mine, registry, ANA)
    assert mine.verify().problems == ()
    # The first is the token's; the others had no use for a login.
    assert len(registry.elsewhere) > 3
    assert set(registry.elsewhere) == {"", ANA.basic}
    assert registry.elsewhere.count(ANA.basic) == len(registry.asked)


# The file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings" / "auth.json"


def test_a_login_is_kept_for_its_owner_alone(path: Path) -> None:
    save_login(path, "Registry.example.com:5000", ANA)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "auths": {
            "registry.example.com:5000": {
                "auth": base64.b64encode(b"ana:secret:with:colons").decode()
            }
        }
    }
    read = Credentials.read(path)
    assert read.of("registry.EXAMPLE.com:5000") == ANA
    assert read.of("registry.example.com") is None
    assert "secret" not in repr(read)


def test_logins_come_and_go_one_by_one(path: Path) -> None:
    other = Login("bo", "", ("auth.example.net",))
    save_login(path, "a.example.com", ANA)
    save_login(path, "b.example.com", other)
    assert dict(Credentials.read(path).logins) == {"a.example.com": ANA, "b.example.com": other}
    assert remove_login(path, "A.example.com")
    assert not remove_login(path, "a.example.com")
    assert dict(Credentials.read(path).logins) == {"b.example.com": other}
    assert [item.name for item in path.parent.iterdir()] == ["auth.json"]


def test_no_file_is_no_login(path: Path) -> None:
    assert Credentials.read(path) == Credentials()
    assert not path.parent.exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    save_login(path, "a.example.com", ANA)
    path.chmod(mode)
    for action in (lambda: Credentials.read(path), lambda: save_login(path, "b", ANA)):
        with pytest.raises(CredentialsError, match=rf"mode {mode:04o} lets others.*chmod 600 "):
            action()
    path.chmod(0o600)
    assert Credentials.read(path).of("a.example.com") == ANA
    path.chmod(0o400)
    assert Credentials.read(path).of("a.example.com") == ANA


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"auths": []}',
        '{"auths": {"h": {}}}',
        '{"auths": {"h": []}}',
        '{"auths": {"h": {"auth": 7}}}',
        '{"auths": {"h": {"auth": "???"}}}',
        '{"auths": {"h": {"auth": "bm9jb2xvbg=="}}}',
        '{"auths": {"h": {"auth": "YTpi", "token_hosts": [7]}}}',
    ],
)
def test_a_damaged_file_is_named(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(CredentialsError, match=r"auth.json"):
        Credentials.read(path)


def test_a_pipe_or_folder_is_no_file_of_logins(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(CredentialsError, match=r"auth.json"):
        Credentials.read(path)
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(CredentialsError, match="not a file"):
        Credentials.read(path)


# The commands


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSOM_CONFIG", str(tmp_path / "settings"))
    return credentials_path(os.environ)


def login(
    monkeypatch: pytest.MonkeyPatch, registry: TokenRegistry, password: str, *more: str
) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    return run(["login", registry.host, "-u", "ana", "--password-stdin", *more])


def test_login_pull_logout(
    registry: TokenRegistry,
    kept: Path,
    mine: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.anonymous = False
    monkeypatch.setenv("TRANSOM_MODELS", str(mine.root))
    assert login(monkeypatch, registry, "wrong") == 2
    assert "no token to 'ana'" in capsys.readouterr().err
    assert not kept.exists()
    assert run(["pull", f"{registry.host}/library/tiny"]) == 2
    assert login(monkeypatch, registry, ANA.password) == 0
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert ANA.password not in "".join(capsys.readouterr())
    # A login's own token is for nothing in particular.
    assert "scope" not in registry.asked[-1]
    assert run(["pull", f"{registry.host}/library/tiny"]) == 0
    assert run(["logout", registry.host]) == 0
    assert run(["logout", registry.host]) == 0
    assert capsys.readouterr().out.endswith(f"there was no login for {registry.host}\n")
    assert Credentials.read(kept) == Credentials()


def test_login_by_basic(
    registry: TokenRegistry,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.scheme = "basic"
    assert login(monkeypatch, registry, "wrong") == 2
    capsys.readouterr()
    assert login(monkeypatch, registry, ANA.password, "--json") == 0
    told = {"registry": registry.host, "username": "ana", "file": str(kept)}
    assert json.loads(capsys.readouterr().out) == told
    assert Credentials.read(kept).of(registry.host) == ANA
    for removed in (True, False):
        assert run(["logout", registry.host, "--json"]) == 0
        told = {"registry": registry.host, "removed": removed}
        assert json.loads(capsys.readouterr().out) == told


def test_login_with_a_token_host(
    registry: TokenRegistry, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.token_host = registry.token_host.replace("127.0.0.1", "localhost")
    assert login(monkeypatch, registry, ANA.password) == 2
    assert registry.asked == []
    assert login(monkeypatch, registry, ANA.password, "--token-host", "localhost") == 0
    found = Credentials.read(kept).of(registry.host)
    assert found is not None
    assert found.token_hosts == ("localhost",)


def test_login_needs_somebody_to_ask(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(["login", "registry.example.com"]) == 2
    assert "--password-stdin" in capsys.readouterr().err
