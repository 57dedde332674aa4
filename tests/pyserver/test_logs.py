"""pytest tests/pyserver/test_logs.py: what the log says, and what it never does."""

import http.client
import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.pyserver.native_models import put_native
from transom_server import logs
from transom_server.app import create_app
from transom_server.engines import choice
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
CANARY = "Kanarienvogel"
SAID = [{"role": "user", "content": CANARY}]
SCHEMA = {"type": "object", "properties": {CANARY: {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": CANARY, "parameters": SCHEMA}}
# Each way in for words: asked well, and asked badly.
BODIES: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {"messages": SAID},
        {"messages": SAID, "stream": True},
        {"messages": SAID, "tools": [TOOL]},
        {"messages": [{"role": CANARY, "content": CANARY}]},
        {"messages": SAID, "temperature": CANARY},
        {"messages": SAID, "response_format": {"type": CANARY}},
    ],
    "/v1/completions": [{"prompt": CANARY}, {"prompt": CANARY, "stream": True, "n": CANARY}],
    "/v1/responses": [{"input": CANARY}, {"input": CANARY, "stream": True}, {"input": {CANARY: 1}}],
    "/v1/embeddings": [{"input": CANARY}, {"input": {CANARY: 1}}],
    "/v1/rerank": [{"query": CANARY, "documents": [CANARY]}],
    "/v1/messages": [
        {"messages": SAID, "max_tokens": 5},
        {"messages": SAID, "max_tokens": 5, "stream": True},
        {"messages": SAID, "max_tokens": CANARY},
    ],
    "/v1/messages/count_tokens": [{"messages": SAID}],
    "/api/chat": [{"messages": SAID}, {"messages": SAID, "stream": False}, {"messages": CANARY}],
    "/api/generate": [{"prompt": CANARY}, {"prompt": CANARY, "options": {CANARY: 1}}],
    "/api/embed": [{"input": CANARY}, {"input": 3}],
    "/tokenize": [{"content": CANARY}],
    f"/{CANARY}": [{}],
    f"/v1/{CANARY}": [{}],
}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written, as JSON."""
    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    yield from kept_loggers(text)


def kept_loggers(text: io.StringIO) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("transom_server", "waitress")}
    for handler in before:
        root.removeHandler(handler)
    logs.start_log("json", "info", None)
    yield text
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


@pytest.fixture
def server(log: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The answer is the canary too."""
    loader = FakeLoader(CANARY, CANARY)
    monkeypatch.setattr(choice, "LlamaCpp", loader)
    put_native(Store(tmp_path / "models"), "tiny")
    config = Config.read({}, models=str(tmp_path / "models"), port="0")
    with serving(create_app(config), config) as server:
        yield server


def rows(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def requests(log: io.StringIO, count: int) -> list[dict[str, Any]]:
    """The lines of so many requests. A line is written after the answer, so they may yet come."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = [row for row in rows(log) if row["event"] == "request"]
        if len(found) >= count:
            assert len(found) == count
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def ask(
    server: Server, method: str, path: str, body: Any = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request(method, path, None if body is None else json.dumps(body), named)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer, data


def test_no_word_and_no_key_is_in_the_log(server: Server, log: io.StringIO) -> None:
    heard, asked = 0, 0
    for path, bodies in BODIES.items():
        for body in bodies:
            for key in ({"authorization": f"Bearer {CANARY}"}, {"x-api-key": CANARY}):
                _, data = ask(server, "POST", path, {"model": "tiny", **body}, **key)
                heard, asked = heard + (CANARY.encode() in data), asked + 1
    ask(server, "POST", "/api/chat", {"model": CANARY, "messages": SAID})
    ask(server, "GET", f"/v1/models?key={CANARY}")
    ask(server, CANARY.upper(), "/api/tags")
    ask(server, "GET", "/healthz", x_request_id=f"{CANARY} of no sane form")
    ask(server, "GET", "/healthz", **{CANARY: "x" * 70_000})
    told = requests(log, asked + 5)
    assert CANARY.lower() not in log.getvalue().lower()
    # The words came in and went out.
    assert heard >= 10
    assert {row["status"] for row in told} >= {200, 400, 404, 431}


def test_one_line_when_a_request_has_ended(server: Server, log: io.StringIO) -> None:
    body = {"model": "tiny", "messages": SAID, "stream": True}
    answer, _ = ask(server, "POST", "/v1/chat/completions", body, x_request_id="mine-1")
    assert answer.headers["x-request-id"] == "mine-1"
    (row,) = requests(log, 1)
    assert "tiny" in [row["model"] for row in rows(log) if row["event"] == "model loaded"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row.pop("time"))
    assert 0 < row.pop("first_byte_ms") / 1000 <= row.pop("seconds") < SECONDS
    assert row == {
        "level": "info",
        "event": "request",
        "id": "mine-1",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "client": "127.0.0.1",
        "model": "tiny",
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "finish": "stop",
    }


def test_a_download_is_told_when_it_is_through(
    server: Server, log: io.StringIO, tmp_path: Path
) -> None:
    digest = Store(tmp_path / "models").put_bytes(bytes(8_000_000))
    answer, data = ask(server, "GET", f"/v2/x/blobs/{digest}")
    assert len(data) == 8_000_000
    (row,) = requests(log, 1)
    assert row["id"] == answer.headers["x-request-id"]
    assert "blobs" in row["route"]
    assert str(digest) not in json.dumps(row)


def test_every_answer_says_its_id(server: Server) -> None:
    plain, _ = ask(server, "GET", "/healthz")
    assert re.fullmatch(r"req_[0-9a-f]{24}", plain.headers["x-request-id"])
    assert "request-id" not in plain.headers
    missing = {"model": "none", "max_tokens": 1, "messages": SAID}
    theirs, data = ask(server, "POST", "/v1/messages", missing)
    assert theirs.status == 404
    assert theirs.headers["request-id"] == theirs.headers["x-request-id"]
    assert json.loads(data)["request_id"] == theirs.headers["request-id"]


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/v1/chat/completions", ("error", "message")),
        ("/v1/messages", ("error", "message")),
        ("/api/chat", ("error",)),
        ("/v2/", ("errors", 0, "message")),
    ],
)
def test_what_cannot_be_read_is_refused_in_the_dialect(
    server: Server, log: io.StringIO, path: str, where: tuple[str | int, ...]
) -> None:
    cases = (
        ({"x": "y" * 70_000}, 431),
        ({"content-length": "1e3"}, 400),
        ({"content-length": str(65 * 1024 * 1024)}, 413),
    )
    for number, (headers, status) in enumerate(cases, 1):
        answer, data = ask(server, "POST", path, **headers)
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/json"
        found = json.loads(data)
        for step in where:
            found = found[step]
        assert found
        assert requests(log, number)[-1]["id"] == answer.headers["x-request-id"]


def test_without_a_thread_there_is_a_503(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._threads, "_most", 0)
    monkeypatch.setattr(server._threads, "active_count", 10**6)
    answer, data = ask(server, "POST", "/v1/chat/completions")
    monkeypatch.undo()
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert "as many requests as it can" in json.loads(data)["error"]["message"]


def test_text_is_one_line_and_quotes_what_needs_it() -> None:
    formatter = logs._Formatter(is_json=False, tells_words=False)
    record = logging.makeLogRecord({"msg": "an\nevent", "levelname": "INFO"})
    record.fields = {"a": "two words", "b": "x\ny", "c": 1.5, "d": "é", "long": "z" * 9000}
    line = formatter.format(record)
    assert "\n" not in line
    assert 'an?event a="two words" b="x\\ny" c=1.5 d=é long=zzz' in line
    assert len(line) < 700


@pytest.mark.parametrize("tells", [False, True])
def test_an_exception_says_where_and_its_words_at_debug_only(tells: bool) -> None:
    formatter = logs._Formatter(is_json=True, tells_words=tells)
    try:
        json.loads(CANARY)
    except ValueError as error:
        error.args = (f"cannot read {CANARY}",)
        record = logging.makeLogRecord({"exc_info": (type(error), error, error.__traceback__)})
    row = json.loads(formatter.format(record))
    assert "JSONDecodeError" in row["error"]
    assert "test_logs.py" in row["error"]
    assert (CANARY in row["error"]) == tells


def test_what_fails_names_no_address(
    server: Server, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError(CANARY)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "get_index", fail)
        assert ask(server, "GET", f"/v2/{CANARY.lower()}/manifests/latest")[0].status == 500
    requests(log, 1)
    logging.getLogger("waitress").error(f"Exception while serving /v2/{CANARY}")
    assert rows(log)[-1]["event"] == "Exception"
    text = log.getvalue()
    assert "KeyError at " in text
    assert "test_logs.py" in text
    assert CANARY.lower() not in text.lower()


def test_a_file_that_is_moved_away_is_begun_anew(log: io.StringIO, tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs.start_log("text", "warning", path)
    logger = logging.getLogger("transom_server.test")
    logs.event(logger, logging.INFO, "not told")
    logs.event(logger, logging.WARNING, "first", none=None, some=0)
    path.rename(tmp_path / "old")
    logs.event(logger, logging.WARNING, "second")
    assert (tmp_path / "old").read_text().endswith(" warning first some=0\n")
    assert path.read_text().endswith(" warning second\n")
    logs.start_log("json", "info", None)
    assert log.getvalue() == ""
