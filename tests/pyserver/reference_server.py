"""llama.cpp's own HTTP routes with a model's own chat template: the measure for ours.

The child that answers for us has a template that says nothing (`llama_cpp_child.NO_TEMPLATE`), so
this is one more of the same build and settings, which renders by itself.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from transom_api.engine import LoadOptions, ModelFiles

CHILD: Final = """
from transom_server.engines import llama_cpp_child
llama_cpp_child.NO_TEMPLATE = ""
llama_cpp_child.main()
"""
KEY: Final = "reference"
TIMEOUT_SECONDS: Final = 120
_END: Final = "[DONE]"

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answerer:
    """Somebody who listens at an address and speaks these dialects."""

    address: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def send(self, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_SECONDS)
        headers = {**self.headers, "Content-Type": "application/json"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """A whole answer."""
        status, text = self.send(path, body)
        assert status == http.HTTPStatus.OK, text
        return json.loads(text)

    def events(self, path: str, body: Mapping[str, Any]) -> list[Event]:
        """The data of each event of a stream."""
        status, text = self.send(path, {**body, "stream": True})
        assert status == http.HTTPStatus.OK, text
        lines = [line.removeprefix("data: ") for line in text.split("\n") if line[:5] == "data:"]
        return [json.loads(line) for line in lines if line != _END]


@contextmanager
def reference(path: Path, context_tokens: int, **options: Any) -> Iterator[Answerer]:
    """llama.cpp's own server on a file."""
    order = {
        **asdict(ModelFiles(str(path))),
        **asdict(LoadOptions(threads=1, **options)),
        "context_tokens": context_tokens,
        "parallel": 4,
        "key": KEY,
    }
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            address = json.loads(process.stdout.readline())["address"]
            yield Answerer(address, {"Authorization": f"Bearer {KEY}"})
        finally:
            process.kill()
