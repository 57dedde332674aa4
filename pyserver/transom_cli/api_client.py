"""The server over HTTP, as a command uses it: one that runs, or one of our own for a while.

Asks and reads Ollama's routes; knows no verb and prints nothing.
"""

import contextlib
import http.client
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from transom_models.errors import TransomError
from transom_server.access.origins import bracketed
from transom_server.settings.config import ANY_ADDRESS, Config
from transom_server.settings.toml_file import read_config

# Whoever listens on this machine answers at once, or is no server of ours.
HELLO_TIMEOUT_SECONDS: Final = 2
# An answer that comes whole; licences are the longest part of one.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_LINE_BYTES: Final = 64 * 1024 * 1024


class ServerError(TransomError):
    """What the server answered instead; `status` is HTTP's, 200 when it had begun to answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoServer(TransomError):
    """Nobody answers where the server should be."""


class ApiClient:
    """A server at `url`. Each request has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._address = urlsplit(url).netloc

    def get(self, path: str) -> Any:
        """A JSON answer. Raises `ServerError`, `NoServer`."""
        with self._response("GET", path, None) as response:
            return json.loads(response.read(MAX_ANSWER_BYTES))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A JSON answer that comes whole; asks for one (`"stream": false`)."""
        with self._response("POST", path, {"stream": False, **body}) as response:
            return json.loads(response.read(MAX_ANSWER_BYTES))

    def stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The lines of an answer; closing it lets the server know that nobody reads on."""
        with self._response("POST", path, {"stream": True, **body}) as response:
            while line := response.readline(MAX_LINE_BYTES):
                value = json.loads(line)
                if "error" in value:
                    raise ServerError(str(value["error"]), http.HTTPStatus.OK)
                yield value

    @contextmanager
    def _response(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> Iterator[http.client.HTTPResponse]:
        text = None if body is None else json.dumps(body)
        headers = {} if text is None else {"Content-Type": "application/json"}
        if key := os.environ.get("TRANSOM_API_KEY", "").strip():
            headers["Authorization"] = f"Bearer {key}"
        connection = http.client.HTTPConnection(self._address)
        try:
            with contextlib.closing(connection):
                connection.request(method, path, text, headers)
                with connection.getresponse() as response:
                    if response.status >= http.HTTPStatus.BAD_REQUEST:
                        data = response.read(MAX_ANSWER_BYTES)
                        reason = _reason(data, response.status)
                        if response.status == http.HTTPStatus.UNAUTHORIZED:
                            reason = _wants_key(self.url, "Authorization" in headers)
                        raise ServerError(reason, response.status)
                    yield response
        except ConnectionRefusedError:
            raise NoServer(_nobody(self.url)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            words = str(error) or type(error).__name__
            raise NoServer(f"the server at {self.url} broke off: {words}") from error


@contextmanager
def any_server() -> Iterator[ApiClient]:
    """The server of the settings when it runs, else one in this process for the block."""
    running = find_server()
    if running is not None:
        yield running
        return
    from transom_server.app import create_app
    from transom_server.http.serving import serving

    # Ours alone, for a moment, at a port nobody knows: keys are for those who come to stay.
    config = read_config(os.environ, host="127.0.0.1", port="0", keys="off")
    with serving(create_app(config), config) as server:
        yield ApiClient(server.url)


def running_server() -> ApiClient:
    """The server of the settings. Raises `NoServer`."""
    running = find_server()
    if running is None:
        raise NoServer(_nobody(_url(read_config(os.environ))))
    return running


def find_server() -> ApiClient | None:
    """The server of the settings (`TRANSOM_HOST`, `TRANSOM_PORT`), or None when none answers."""
    url = _url(read_config(os.environ))
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=HELLO_TIMEOUT_SECONDS)
    try:
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            with connection.getresponse() as response:
                healthy = json.loads(response.read(1024)) == {"status": "ok"}
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return ApiClient(url) if healthy else None


def _url(config: Config) -> str:
    host = "127.0.0.1" if config.host in ANY_ADDRESS else bracketed(config.host)
    return f"http://{host}:{config.port}"


def _nobody(url: str) -> str:
    return f"no server answers at {url}; start one with: transom serve"


def _wants_key(url: str, has_one: bool) -> str:
    if has_one:
        return f"the server at {url} does not take the API key in TRANSOM_API_KEY"
    return (
        f"the server at {url} wants an API key: put one into TRANSOM_API_KEY; "
        "its owner makes one with: transom key create NAME"
    )


def _reason(data: bytes, status: int) -> str:
    """The text of an error answer."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(data)["error"])
    text = data.decode(errors="replace").strip().removeprefix("error: ")
    return text or f"the server answers {status}"
