"""The browser's own `fetch`, as `fetching` wants it. The one file that needs Pyodide."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from transom.errors import TransomError

try:
    from js import AbortController, Headers, location
    from js import fetch as js_fetch
    from pyodide.ffi import JsException, to_js
except ImportError as error:
    raise ImportError(
        "this Python is not in a browser; run `transom serve` and use the openai package there"
    ) from error


def origin() -> str:
    """Of the page, also in a worker that was started from a blob."""
    return str(location.origin)


async def fetch(method: str, address: str, headers: Mapping[str, str], body: str | None) -> "_Sent":
    controller = AbortController.new()
    given = Headers.new(to_js(list(headers.items())))
    options: dict[str, Any] = {"method": method, "headers": given, "signal": controller.signal}
    if body is not None:
        options["body"] = body
    try:
        response = await js_fetch(address, **options)
    except JsException as error:
        raise TransomError(f"nobody answers at {address}: {error.message}") from None
    return _Sent(response, controller)


class _Sent:
    def __init__(self, response: Any, controller: Any) -> None:
        self.status = int(response.status)
        self._response = response
        self._controller = controller

    async def text(self) -> str:
        return str(await self._response.text())

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        reader = self._response.body.getReader()
        try:
            while True:
                step = await reader.read()
                if step.done:
                    return
                yield step.value.to_bytes()
        finally:
            # No harm where the body has been read to its end.
            self._controller.abort()
