"""pytest tests/pyserver/test_api_keys.py: keys in their file, at the door, and on the command
line."""

import base64
import json
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.fakes.fake_engine import FakeLoader
from tests.pyserver.native_models import put_native
from transom_cli.main import run
from transom_server.access import api_keys
from transom_server.access.api_keys import (
    DAY_SECONDS,
    MAX_FILE_BYTES,
    KeyProblem,
    KeyRing,
    KeysUnreadable,
    create_key,
    keys_path,
    read_keys,
    revoke_key,
)
from transom_server.access.key_door import needed_scopes
from transom_server.app import create_app
from transom_server.engines import choice
from transom_server.settings.config import Config
from transom_server.store import Store

NOW = 1_700_000_000.0
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSOM_CONFIG", str(tmp_path / "config"))
    return keys_path(os.environ)


@pytest.fixture
def apps(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Flask]]:
    """Makes nothing; ends what `app_of` made."""
    monkeypatch.setattr(choice, "LlamaCpp", FakeLoader("one", " two", " three"))
    put_native(store, "tiny")
    made: list[Flask] = []
    yield made
    for app in made:
        app.extensions["transom_close"]()


@pytest.fixture
def app(store: Store, apps: list[Flask]) -> Flask:
    return app_of(store, apps)


def app_of(store: Store, apps: list[Flask], **settings: str) -> Flask:
    apps.append(create_app(Config.read(settings, models=str(store.root))))
    return apps[-1]


def ask(
    app: Flask,
    path: str,
    key: str | None = None,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> TestResponse:
    shown = {} if key is None else {"Authorization": f"Bearer {key}"}
    with app.test_client() as client:
        return client.open(path, method=method, json=body, headers={**shown, **(headers or {})})


def chat(app: Flask, key: str | None, path: str = "/v1/chat/completions") -> TestResponse:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "stream": False}
    return ask(app, path, key, method="POST", body=body)


# The file


def test_a_key_is_kept_as_a_digest_in_a_file_of_its_owner(path: Path) -> None:
    secret = create_key(path, "laptop", now=NOW, days=2)
    assert len(secret) > 50
    text = path.read_text()
    assert secret not in text
    assert secret.removeprefix("transom-") not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = KeyRing(path).find(secret)
    assert found is not None
    assert found.name == "laptop"
    assert found.scopes == {"chat", "read"}
    assert not found.has_expired(NOW + 2 * DAY_SECONDS - 1)
    assert found.has_expired(NOW + 2 * DAY_SECONDS)
    for wrong in ("", secret[:-1], secret + "a", secret.upper(), "x" * 1000, "\udc80", "ключ"):
        assert KeyRing(path).find(wrong) is None


def test_making_and_revoking_counts_at_once(path: Path) -> None:
    ring = KeyRing(path)
    assert not ring.exists
    first = create_key(path, "a", now=NOW)
    assert ring.exists
    second = create_key(path, "b", now=NOW)
    assert [found and found.name for found in map(ring.find, (first, second))] == ["a", "b"]
    assert revoke_key(path, "a") == 1
    assert ring.find(first) is None
    # The last one gone leaves the door shut.
    assert revoke_key(path, "b") == 0
    assert ring.exists
    path.unlink()
    assert not ring.exists


def test_what_is_no_name_or_taken_is_refused(path: Path) -> None:
    create_key(path, "a", now=NOW)
    for name in ("", "a b", "-a", "a\n", "ä", "a" * 65):
        with pytest.raises(KeyProblem, match="no name for a key"):
            create_key(path, name, now=NOW)
    with pytest.raises(KeyProblem, match="transom key revoke a"):
        create_key(path, "a", now=NOW)
    with pytest.raises(KeyProblem, match="no key 'b'"):
        revoke_key(path, "b")


def test_keys_made_at_the_same_time_are_all_there(path: Path) -> None:
    threads = [
        threading.Thread(target=create_key, args=(path, f"k{number}"), kwargs={"now": NOW})
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read_keys(path) or ()) == sorted(f"k{n}" for n in range(12))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": {"a": {}}}',
        '{"keys": {"a b": {"sha256": "%s", "scopes": []}}}' % ("0" * 64),
        '{"keys": {"a": {"sha256": "short", "scopes": []}}}',
        '{"keys": {"a": {"sha256": "%s", "scopes": ["root"]}}}' % ("0" * 64),
        '{"keys": {"a": {"sha256": "%s", "scopes": [], "expires": "x"}}}' % ("0" * 64),
        "[" * 100_000,
        " " * (MAX_FILE_BYTES + 1),
    ],
)
def test_a_file_that_cannot_be_read_shuts_the_door(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = create_key(path, "a", now=NOW)
    ring = KeyRing(path)
    assert ring.find(secret)
    path.write_text(text)
    with pytest.raises(KeyProblem, match=r"api_keys\.json"):
        read_keys(path)
    for _ in range(2):
        with pytest.raises(KeysUnreadable) as refused:
            ring.find(secret)
    assert str(path) not in str(refused.value)
    assert caplog.text.count(str(path)) == 1
    path.unlink()
    create_key(path, "a", now=NOW)
    assert ring.exists


def test_a_file_that_others_can_read_shuts_the_door(path: Path, app: Flask) -> None:
    secret = create_key(path, "a", now=NOW)
    assert ask(app, "/v1/models", secret).status_code == 200
    path.chmod(0o644)
    refused = ask(app, "/v1/models", secret)
    assert refused.status_code == 500
    assert "its log says why" in refused.text
    path.chmod(0o600)
    assert ask(app, "/v1/models", secret).status_code == 200


# The door


def test_keys_are_asked_for_once_there_is_one(path: Path, app: Flask) -> None:
    assert chat(app, "any").status_code == 200
    secret = create_key(path, "a", now=NOW)
    assert chat(app, "any").status_code == 401
    assert chat(app, None).status_code == 401
    assert chat(app, secret).status_code == 200


def test_settings_ask_always_or_never(path: Path, store: Store, apps: list[Flask]) -> None:
    assert chat(app_of(store, apps, TRANSOM_KEYS="required"), None).status_code == 401
    create_key(path, "a", now=NOW)
    assert chat(app_of(store, apps, TRANSOM_KEYS="off"), None).status_code == 200


def test_each_way_to_show_a_key(path: Path, app: Flask) -> None:
    secret = create_key(path, "a", now=NOW)
    basic = base64.b64encode(f"anybody:{secret}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {secret}"},
        {"Authorization": f"bearer  {secret} "},
        {"Authorization": f"Basic {basic}"},
        {"x-api-key": secret},
        # A client that has a key for somebody else, too.
        {"x-api-key": secret, "Authorization": "Bearer other"},
    ):
        assert ask(app, "/v1/models", headers=headers).status_code == 200, headers
    for headers in (
        {"Authorization": secret},
        {"Authorization": f"Digest {secret}"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + "x" * 100_000},
        {"Cookie": f"key={secret}"},
        {},
    ):
        assert ask(app, "/v1/models", headers=headers).status_code == 401, headers
    assert ask(app, f"/v1/models?key={secret}").status_code == 401


def test_an_expired_key_is_none(path: Path, app: Flask) -> None:
    secret = create_key(path, "old", now=NOW, days=1)
    refused = ask(app, "/v1/models", secret)
    assert refused.status_code == 401
    assert "old has expired" in refused.text


def test_refusals_have_each_dialects_shape(path: Path, app: Flask) -> None:
    create_key(path, "a", now=NOW)
    reading = create_key(path, "reads", scopes=["read"], now=NOW)

    def refused(path: str, key: str) -> tuple[int, Any]:
        answer = ask(app, path, key, method="POST", body={})
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"].startswith('Basic realm="transom"')
        return answer.status_code, json.loads(answer.data)

    status, body = refused("/v1/chat/completions", "wrong")
    assert status == 401
    assert body["error"] == {
        "message": "incorrect API key: this server does not know it",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    status, body = refused("/v1/messages", "wrong")
    assert (status, body["type"]) == (401, "error")
    assert body["error"]["type"] == "authentication_error"
    assert refused("/api/chat", "wrong") == (401, {"error": "unauthorized"})
    status, body = refused("/v2/x/blobs/uploads/", "wrong")
    assert (status, body["errors"][0]["code"]) == (401, "UNAUTHORIZED")

    status, body = refused("/v1/chat/completions", reading)
    assert (status, body["error"]["type"]) == (403, "permission_error")
    assert body["error"]["code"] == "missing_scope"
    assert "scope chat" in body["error"]["message"]
    status, body = refused("/v1/messages", reading)
    assert (status, body["error"]["type"]) == (403, "permission_error")
    status, body = refused("/api/chat", reading)
    assert (status, list(body)) == (403, ["error"])
    status, body = refused("/v2/x/blobs/uploads/", reading)
    assert (status, body["errors"][0]["code"]) == (403, "DENIED")


def test_what_is_open_stays_open(path: Path, app: Flask) -> None:
    create_key(path, "a", now=NOW)
    for address in ("/healthz", "/readyz"):
        assert ask(app, address).status_code == 200
    assert ask(app, "/").status_code in (200, 503)  # the page may not be built
    assert ask(app, "/v1/models", method="OPTIONS").status_code == 200
    for address in ("/metrics", "/v1/models", "/v2/", "/api/tags", "/v2/tiny/tags/list"):
        assert ask(app, address).status_code == 401, address


def test_every_route_but_those_is_behind_the_door(path: Path, app: Flask) -> None:
    """Also one that is added tomorrow."""
    create_key(path, "a", now=NOW)
    open_rules = {"/", "/<page:file>", "/embed.json", "/healthz", "/readyz"}
    asked = 0
    for rule in app.url_map.iter_rules():
        if rule.rule in open_rules:
            continue
        assert rule.methods is not None
        address = rule.rule
        for argument in rule.arguments:
            for form in (f"<path:{argument}>", f"<{argument}>"):
                address = address.replace(form, "x")
        for method in sorted(rule.methods - {"OPTIONS"}):
            assert ask(app, address, method=method).status_code == 401, (method, address)
            asked += 1
    assert asked > 40


@pytest.mark.parametrize(
    ("method", "address", "scopes"),
    [
        ("POST", "/v1/chat/completions", {"chat"}),
        ("POST", "/v1/messages/count_tokens", {"chat"}),
        ("POST", "/api/embed", {"chat"}),
        ("POST", "/rerank", {"chat"}),
        ("POST", "/tokenize", {"chat"}),
        ("GET", "/v1/responses/resp_1", {"chat"}),
        ("DELETE", "/v1/responses/resp_1", {"chat"}),
        ("GET", "/v1/models", {"chat", "read"}),
        ("POST", "/api/show", {"chat", "read"}),
        ("GET", "/v2/", {"chat", "read", "write", "metrics"}),
        ("GET", "/v2/tiny/blobs/sha256:00", {"read"}),
        ("GET", "/webllm/library/tiny/latest/resolve/main/x", {"read"}),
        ("PUT", "/v2/tiny/manifests/latest", {"write"}),
        ("POST", "/v2/tiny/blobs/uploads/", {"write"}),
        ("GET", "/v2/tiny/blobs/uploads/1", {"read"}),
        ("POST", "/api/pull", {"write"}),
        ("POST", "/api/blobs/sha256:00", {"write"}),
        ("DELETE", "/api/delete", {"write"}),
        ("GET", "/metrics", {"metrics"}),
        ("PUT", "/anything/new", {"write"}),
        ("GET", "/anything/new", {"read"}),
    ],
)
def test_what_an_address_needs(method: str, address: str, scopes: set[str]) -> None:
    assert needed_scopes(method, address) == scopes


def test_a_key_that_writes_may_change_a_store_that_others_reach(
    path: Path, store: Store, apps: list[Flask]
) -> None:
    writing = create_key(path, "ci", scopes=["write"], now=NOW)
    chatting = create_key(path, "chat", now=NOW)
    public = app_of(store, apps, TRANSOM_HOST="0.0.0.0")
    start = "/v2/x/blobs/uploads/"
    assert ask(public, start, writing, method="POST").status_code == 202
    assert ask(public, "/v2/tiny/tags/list", writing).status_code == 200
    assert ask(public, start, chatting, method="POST").status_code == 403
    assert chat(public, writing).status_code == 403
    # On one's own machine a key counts no less.
    assert ask(app_of(store, apps), start, chatting, method="POST").status_code == 403
    never = app_of(store, apps, TRANSOM_WRITABLE="no")
    refused = ask(never, start, writing, method="POST")
    assert refused.status_code == 403
    assert "TRANSOM_WRITABLE" in refused.text


def test_how_much_of_a_body_is_taken_depends_on_the_key(
    path: Path, store: Store, apps: list[Flask]
) -> None:
    """Asked before a body is read."""
    public = app_of(store, apps, TRANSOM_HOST="0.0.0.0").extensions["transom_access"]
    alone = app_of(store, apps).extensions["transom_access"]
    assert (public.judge({}), alone.judge({})) == ("client", "writer")
    assert alone.judge({"ORIGIN": "http://localhost"}) == "client"
    writing = create_key(path, "ci", scopes=["write"], now=NOW)
    reading = create_key(path, "r", now=NOW)
    for each in (public, alone):
        assert each.judge({}) == "stranger"
        assert each.judge({"AUTHORIZATION": f"Bearer {writing}"}) == "writer"
        assert each.judge({"X_API_KEY": writing}) == "writer"
        assert each.judge({"AUTHORIZATION": f"Bearer {reading}"}) == "client"
    path.write_text("broken")
    assert public.judge({"X_API_KEY": writing}) == "stranger"


# Limits


def test_too_many_requests_are_a_429_that_says_when(path: Path, app: Flask) -> None:
    secret = create_key(path, "a", requests_per_minute=2, now=NOW)
    first = chat(app, secret)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert "x-ratelimit-limit-tokens" not in first.headers
    assert ask(app, "/v1/models", secret).status_code == 200  # asks no model
    second = ask(
        app,
        "/v1/messages",
        secret,
        method="POST",
        body={"model": "tiny", "messages": HELLO, "max_tokens": 8},
    )
    assert second.status_code == 200
    assert second.headers["anthropic-ratelimit-requests-remaining"] == "0"
    refused = chat(app, secret)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    error = json.loads(refused.data)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "2 requests a minute" in error["message"]
    assert list(json.loads(chat(app, secret, "/api/chat").data)) == ["error"]
    # Another key is another client.
    assert chat(app, create_key(path, "b", requests_per_minute=2, now=NOW)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_counted_when_the_answer_ends(path: Path, app: Flask, stream: bool) -> None:
    secret = create_key(path, "a", tokens_per_minute=1, now=NOW)
    body = {"model": "tiny", "messages": HELLO, "stream": stream}
    with app.test_client() as client:
        headers = {"Authorization": f"Bearer {secret}"}
        answer = client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200
        assert answer.data
        answer.close()
    refused = chat(app, secret)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert "tokens a minute" in refused.text


# The command line


def test_create_list_revoke(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["key", "list"]) == 0
    assert "no key" in capsys.readouterr().out
    arguments = ["--scope", "chat", "--scope", "metrics", "--rate", "60/min", "--expires", "7"]
    assert run(["key", "create", "laptop", *arguments, "--tokens", "1000"]) == 0
    out = capsys.readouterr()
    secret = out.out.strip()
    assert KeyRing(path).find(secret) is not None
    assert "only once" in out.err
    assert run(["key", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "laptop"
    assert row["scopes"] == ["chat", "metrics"]
    assert (row["requests_per_minute"], row["tokens_per_minute"]) == (60, 1000)
    assert row["expires"] is not None
    assert "sha256" not in row
    assert run(["key", "list"]) == 0
    assert "60 requests, 1000 tokens" in capsys.readouterr().out
    assert run(["key", "revoke", "laptop"]) == 0
    assert "TRANSOM_KEYS=off" in capsys.readouterr().err
    assert run(["key", "revoke", "laptop"]) == 2
    for wrong in (["--rate", "0"], ["--rate", "6/s"], ["--scope", "root"], ["--expires", "0"]):
        assert run(["key", "create", "x", *wrong]) == 2
    assert "error:" in capsys.readouterr().err
    assert api_keys.read_keys(path) == ()
