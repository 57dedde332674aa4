"""A registry on a real socket, and the plain HTTP that tests speak with it."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from transom_models.digest import Digest
from transom_models.media_types import OCI_MANIFEST
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config

CONFIG_TYPE = "application/vnd.example.config.v1+json"
LAYER_TYPE = "application/vnd.example.layer.v1"


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the one error in an OCI error body, whose shape is checked."""
        assert self.headers["content-type"] == "application/json"
        (error,) = self.json["errors"]
        assert set(error) <= {"code", "message", "detail"}
        assert error["message"]
        assert "\n" not in error["message"]
        return str(error["code"])


class Registry:
    """Asks one registry, over one connection that stays open."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request, its path sent as it is; `_` in header names means `-`. Redirects stay."""
        if "://" in url:
            parts = urlsplit(url)
            url = parts.path + ("?" + parts.query if parts.query else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, url, body, named)
        response = self._connection.getresponse()
        data = response.read()
        return Answer(
            response.status, {key.lower(): value for key, value in response.getheaders()}, data
        )

    # What most cases begin with

    def start(self, repository: str) -> str:
        """Begin an upload; gives its location."""
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
        assert answer.status == 202
        return answer.headers["location"]

    def put_blob(self, repository: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        location = self.start(repository)
        answer = self.ask("PUT", f"{location}?digest={digest}", data)
        assert answer.status == 201, answer.body
        return digest

    def put_manifest(
        self, repository: str, reference: str, value: Mapping[str, Any] | bytes
    ) -> Answer:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        kind = OCI_MANIFEST
        if not isinstance(value, bytes):
            kind = str(value.get("mediaType", OCI_MANIFEST))
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", data, Content_Type=kind)

    def image(self, repository: str, *layers: bytes, **fields: Any) -> dict[str, Any]:
        """A manifest whose blobs are pushed by then."""
        rows = [(CONFIG_TYPE, b"{}"), *((LAYER_TYPE, layer) for layer in layers)]
        config, *rest = (
            {"mediaType": kind, "digest": str(self.put_blob(repository, data)), "size": len(data)}
            for kind, data in rows
        )
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": rest,
            **fields,
        }

    def push(self, repository: str, tag: str, *layers: bytes, **fields: Any) -> bytes:
        """Push a manifest with its blobs under a tag; gives its bytes."""
        data = json.dumps(self.image(repository, *layers, **fields)).encode()
        answer = self.put_manifest(repository, tag, data)
        assert answer.status == 201, answer.body
        return data


@contextmanager
def running_registry(models: Path, port: int = 0) -> Iterator[Registry]:
    """A server over the store `models`, for as long as the block runs."""
    config = Config.read({}, models=str(models), port=str(port))
    with serving(create_app(config), config) as server:
        registry = Registry(server.port)
        try:
            yield registry
        finally:
            registry.close()
