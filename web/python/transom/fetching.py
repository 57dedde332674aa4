"""Requests to the API of the page's own origin, by the browser's `fetch`.

`use` brings another address, or another way to ask; tests do.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from transom.errors import TransomError


class Answer(Protocol):
    """An HTTP answer whose body has not been read yet."""

    status: int

    async def text(self) -> str:
        """The whole body."""
        ...

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Closing the iterator stops whoever writes it."""
        ...


Fetch = Callable[[str, str, Mapping[str, str], str | None], Awaitable[Answer]]
"""`fetch(method, address, headers, body)`."""


@dataclass(slots=True)
class _Place:
    root: str | None = None
    fetch: Fetch | None = None


_place = _Place()


def use(root: str | None = None, fetch: Fetch | None = None) -> None:
    """Ask elsewhere: `root` is the address above `/v1` and `/api`. None: as in the beginning."""
    if root is not None and urlsplit(root).scheme not in ("http", "https"):
        raise ValueError(f"{root!r} is no http address")
    _place.root = None if root is None else root.rstrip("/")
    _place.fetch = fetch


def base_url() -> str:
    """What OpenAI's clients call `base_url`."""
    return f"{_root()}/v1"


async def ask(method: str, path: str, body: object = None) -> Any:
    """The JSON that comes back. Raises `TransomError` with the API's words."""
    answer = await _send(method, path, body)
    return json.loads(await answer.text())


async def stream(path: str, body: object) -> AsyncGenerator[Any, None]:
    """The JSON of each server-sent event until `[DONE]`. Raises `TransomError`."""
    answer = await _send("POST", path, body)
    rest = b""
    pieces = answer.pieces()
    try:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                data = line[len(b"data:") :].strip()
                if data == b"[DONE]":
                    return
                event = json.loads(data)
                if isinstance(event, dict) and "error" in event:
                    raise TransomError(_words(event))
                yield event
    finally:
        # A loop that was left early must not leave the model working for nobody.
        await pieces.aclose()
    raise TransomError("the answer broke off before its end; ask again")


async def _send(method: str, path: str, body: object) -> Answer:
    text = None if body is None else json.dumps(body)
    headers = {} if text is None else {"Content-Type": "application/json"}
    answer = await _fetch()(method, f"{_root()}{path}", headers, text)
    if answer.status >= 400:
        raise TransomError(_error(await answer.text(), answer.status), answer.status)
    return answer


def _fetch() -> Fetch:
    if _place.fetch is None:
        from transom.browser import fetch

        return fetch
    return _place.fetch


def _root() -> str:
    if _place.root is None:
        from transom.browser import origin

        return origin()
    return _place.root


def _error(text: str, status: int) -> str:
    try:
        return _words(json.loads(text))
    except ValueError:
        # A host of files answers with a page of its own.
        return (
            f"HTTP {status}: nobody answers for the API here; is Transom's page open, and does no"
            " other service worker stand before its own, as JupyterLite's does?"
        )


def _words(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else json.dumps(body)[:500]
