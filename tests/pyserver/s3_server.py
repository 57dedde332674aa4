"""A real S3 server in a process of its own (moto), for tests: buckets, and its list of requests."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

# moto believes any.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_REQUEST = re.compile(r'"(?:\x1b\[\d+m)*(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP')


class S3Server:
    """A server that runs; `environ` is what a client needs to find it."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log
        self._buckets = 0

    @property
    def environ(self) -> Mapping[str, str]:
        return {"AWS_ENDPOINT_URL": self.url, **CREDENTIALS}

    def new_bucket(self) -> str:
        """Make a bucket; gives its URL."""
        self._buckets += 1
        name = f"models-{self._buckets}"
        with urlopen(Request(f"{self.url}/{name}", method="PUT")):
            return f"s3://{name}"

    def wait_for(self, count: int, done: Callable[[], bool]) -> None:
        """Wait until it was asked so many times in all, or `done`."""
        while len(self.requests()) < count and not done():
            time.sleep(0.005)

    def requests(self) -> list[str]:
        """All requests so far, as `PUT /bucket/key?query`."""
        return [f"{verb} {path}" for verb, path in _REQUEST.findall(self._log.read_text())]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "NO_COLOR": "1"}
        ) as process:
            assert process.stdout is not None
            try:
                yield S3Server(_address(log.name, process), Path(log.name))
            finally:
                process.kill()


def _address(log: str, process: "subprocess.Popen[bytes]") -> str:
    while process.poll() is None:
        match = re.search(r"Running on (http://127\.0\.0\.1:\d+)", Path(log).read_text())
        if match is not None:
            return match[1]
        time.sleep(0.01)
    raise AssertionError(Path(log).read_text())
