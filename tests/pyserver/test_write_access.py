"""pytest tests/pyserver/test_write_access.py: who may change the store over HTTP."""

import pytest
from werkzeug.test import TestResponse

from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

DENIED = 403


def post(store: Store, path: str, *, origin: str | None = None, **settings: str) -> TestResponse:
    app = create_app(Config.read(settings, models=str(store.root)))
    headers = {} if origin is None else {"Origin": origin}
    with app.test_client() as client:
        return client.post(path, headers=headers)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/tiny/blobs/uploads/",
        "/api/create",
        "/api/copy",
        "/api/pull",
        "/api/push",
        "/api/blobs/sha256:" + "0" * 64,
    ],
)
def test_a_server_that_others_can_reach_is_read_only(filled: Store, path: str) -> None:
    refused = post(filled, path, TRANSOM_HOST="0.0.0.0")
    assert refused.status_code == DENIED
    assert "TRANSOM_WRITABLE" in refused.text
    assert post(filled, path, TRANSOM_WRITABLE="no").status_code == DENIED
    assert post(filled, path).status_code != DENIED
    told = post(filled, path, TRANSOM_HOST="0.0.0.0", TRANSOM_WRITABLE="yes")
    assert told.status_code != DENIED


@pytest.mark.parametrize("path", ["/api/pull", "/v2/tiny/blobs/uploads/", "/v1/models"])
def test_a_strange_page_may_not_even_send(filled: Store, path: str) -> None:
    """The browser would send a form without asking; CORS hides only the answer."""
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        refused = post(filled, path, origin=origin)
        assert refused.status_code == DENIED
        assert "TRANSOM_ORIGINS" in refused.text
    for origin in (None, "http://localhost", "http://localhost:5173"):
        assert post(filled, path, origin=origin).status_code != DENIED


def test_the_page_of_a_public_name_is_this_servers_own(filled: Store) -> None:
    environ = {"TRANSOM_HOSTS": "box.local"}
    with create_app(Config.read(environ, models=str(filled.root))).test_client() as client:

        def status(origin: str) -> int:
            headers = {"Host": "box.local:8080", "Origin": origin}
            return client.post("/v1/models", headers=headers).status_code

        assert status("http://box.local:8080") != DENIED
        assert status("http://box.local:8081") == DENIED
        assert status("https://box.local:8080") == DENIED
