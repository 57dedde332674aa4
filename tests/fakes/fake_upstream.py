"""A server that should speak OpenAI's dialect, and sends whatever bytes a test wants instead."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENTS = "text/event-stream"


@dataclass
class Reply:
    """An answer without a length: it ends with its connection. `holds`: not before the client's.
    `forever`: what is sent again and again at its end."""

    body: Sequence[bytes] = ()
    status: int = 200
    kind: str = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)
    holds: bool = False
    forever: bytes = b""


def said(value: Any, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply([json.dumps(value).encode()], status, "application/json")


def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """A chunk of a chat, as an event."""
    row = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return event({"choices": [row]})


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


USAGE = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
DONE = b"data: [DONE]\n\n"
HELLO = Reply([chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), USAGE, DONE])


class FakeUpstream:
    """`replies` by path below `/v1`; `asked` are bodies with their paths, `keys` what came as
    Authorization, `gone` is set when a client left an answer that was held."""

    def __init__(self, models: Sequence[str]) -> None:
        rows = [{"id": model, "object": "model", "created": 1_000} for model in models]
        self.replies: dict[str, Reply] = {"/v1/models": said({"object": "list", "data": rows})}
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []
        self.gone = threading.Event()
        self.url = ""

    @property
    def chats(self) -> list[Any]:
        return [body for path, body in self.asked if path == "/v1/chat/completions"]

    @contextmanager
    def running(self) -> Iterator["FakeUpstream"]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake._answer(self, None)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                fake._answer(self, json.loads(self.rfile.read(length)))

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        self.asked.append((handler.path, body))
        self.keys.append(handler.headers.get("Authorization"))
        reply = self.replies.get(handler.path, said({"error": {"message": "no such route"}}, 404))
        handler.close_connection = True
        with suppress(OSError):
            handler.send_response(reply.status)
            handler.send_header("Content-Type", reply.kind)
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            for part in reply.body:
                handler.wfile.write(part)
                handler.wfile.flush()
            if reply.holds:
                handler.connection.settimeout(30)
                while handler.connection.recv(1):
                    pass
                self.gone.set()
        with suppress(OSError):
            while reply.forever:
                handler.wfile.write(reply.forever)
        if reply.forever:
            self.gone.set()
        with suppress(OSError):
            handler.connection.shutdown(socket.SHUT_WR)
