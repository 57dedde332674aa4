"""What the server costs: tokens a second through the API over llama.cpp's child asked directly.

    python -m tests.bench.serve --gguf FILE [--tokens 64] [--rounds 3] [--streams 1,8] [--threads 1]

The same prompts, greedy, each stream in a thread that reads lines; the rounds take turns, so that a
busy machine slows all rows alike, and each figure is the best of the rounds. The last column
compares it with the child of the same number of streams. The row of one after the other sends as
many requests as the most streams, and says what several at once bring. First bytes are medians of
short requests to a model that is loaded.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.pyserver.native_models import put_native
from transom_api.engine import LoadOptions, ModelFiles
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.store import Store

PROMPT: Final = "Number {number}. Once upon a time there was a"
CONTEXT_TOKENS: Final = 1024
FIRST_BYTES: Final = 20
SERVER: Final = """
import os, sys
from transom_server.app import create_app
from transom_server.config import Config
from transom_server.serving import serving
config = Config.read(os.environ, port="0")
with serving(create_app(config), config) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
# Answers stream for minutes on a slow machine.
TIMEOUT_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody to ask: `body` makes a request of a prompt and a number of tokens."""

    address: str
    path: str
    headers: dict[str, str]
    body: Callable[[str, int], dict[str, Any]]

    def ask(self, prompt: str, tokens: int) -> tuple[int, float]:
        """Lines of data, and the seconds until the first one."""
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_SECONDS)
        started = time.perf_counter()
        body = json.dumps(self.body(prompt, tokens))
        connection.request("POST", self.path, body, self.headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise SystemExit(f"{self.path}: {response.read().decode()}")
        lines, first = 0, 0.0
        while line := response.readline():
            if not lines:
                first = time.perf_counter() - started
            lines += bool(line.strip())
        connection.close()
        return lines, first


def tokens_a_second(target: Target, streams: int, requests: int, tokens: int) -> float:
    prompts = [PROMPT.format(number=number) for number in range(requests)]
    started = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(lambda prompt: target.ask(prompt, tokens), prompts))
    return requests * tokens / (time.perf_counter() - started)


def completion(prompt: str, tokens: int) -> dict[str, Any]:
    """For the child."""
    more = {"return_tokens": True, "ignore_eos": True}
    return {"prompt": prompt, "n_predict": tokens, "temperature": 0, "stream": True, **more}


def openai_completion(prompt: str, tokens: int) -> dict[str, Any]:
    fields = {"model": "bench", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    return {**fields, "stream": True, "ignore_eos": True}


@contextmanager
def served(folder: str, parallel: int) -> Iterator[str]:
    """A server in a process of its own, so that it does not share this one's lock."""
    environment = {**os.environ, "TRANSOM_MODELS": folder, "TRANSOM_PARALLEL": str(parallel)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("http://")
        process.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", default="1,8")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    counts = [int(text) for text in options.streams.split(",")]
    parallel = max(counts)
    loading = LoadOptions(CONTEXT_TOKENS, threads=options.threads, parallel=parallel)
    with tempfile.TemporaryDirectory() as folder:
        parameters = {"num_thread": options.threads, "num_ctx": CONTEXT_TOKENS}
        put_native(Store(Path(folder)), "bench", options.gguf.read_bytes(), parameters=parameters)
        child = LlamaCpp(ModelFiles(str(options.gguf)), loading, lambda: False)
        try:
            with served(folder, parallel) as address:
                targets = {
                    "child": Target(
                        child._client.address, "/completion", child._client._headers, completion
                    ),
                    "API": Target(
                        address,
                        "/v1/completions",
                        {"Content-Type": "application/json"},
                        openai_completion,
                    ),
                }
                report(targets, counts, options.tokens, options.rounds)
        finally:
            child.close()


def report(targets: dict[str, Target], counts: list[int], tokens: int, rounds: int) -> None:
    most = max(counts)
    rows = [(name, streams, most) for streams in [*counts] for name in targets]
    best: dict[tuple[str, int, int], float] = {}
    for target in targets.values():
        target.ask("warm", 2)
    for _ in range(rounds):
        for row in rows:
            name, streams, requests = row
            speed = tokens_a_second(targets[name], streams, requests, tokens)
            best[row] = max(best.get(row, 0.0), speed)
    print(f"{most} requests of {tokens} tokens, tokens a second")
    for row, speed in best.items():
        name, streams, _ = row
        ratio = speed / best["child", streams, most]
        print(f"{name:6} {streams:2} at once  {speed:8.1f}  {ratio:5.2f} of the child")
    for name in targets:
        gain = best[name, most, most] / best[name, min(counts), most]
        print(f"{name}: {most} at once over {min(counts)}: {gain:.2f}")
    firsts = {
        name: statistics.median(target.ask("a", 2)[1] for _ in range(FIRST_BYTES))
        for name, target in targets.items()
    }
    print("first byte, ms: " + ", ".join(f"{name} {1000 * at:.1f}" for name, at in firsts.items()))


if __name__ == "__main__":
    main()
