"""What the server costs: through the API over llama.cpp's child asked directly.

    python -m tests.bench.serve --gguf FILE [--tokens 64] [--prompt 256] [--rounds 3]
                                [--streams 1,8] [--threads 1]

Tokens a second while a model writes (short prompts, greedy) and while it reads (long prompts, one
token), each stream in a thread that reads lines. The rounds take turns, so that a busy machine
slows all rows alike, and each figure is the best of the rounds; the ratio is to the child with as
many streams. The row of one at a time sends as many requests as the most streams, and says what
several at once bring.

On a machine that computes with all its cores, what the server takes the model lacks, so its
processor time per token is told too; it says the same on a busy machine. First bytes are medians of
short requests to a model that is loaded and remembers their prompt. Last, whether each answer is
the same alone and beside others, and the same through the API as without.
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

SHORT: Final = "Number {number}. Once upon a time there was a"
# One token in most vocabularies.
WORD: Final = " time"
CONTEXT_TOKENS: Final = 1024
FIRST_BYTES: Final = 40
COMPARED_TOKENS: Final = 32
SERVER: Final = """
import os, sys
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.http.serving import serving
config = Config.read(os.environ, port="0")
with serving(create_app(config), config) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
# Answers stream for minutes on a slow machine.
TIMEOUT_SECONDS: Final = 600
_END: Final = b"data: [DONE]"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody to ask: `body` makes a request of a prompt and a number of tokens, `text` reads an
    event of the answer."""

    address: str
    path: str
    headers: dict[str, str]
    body: Callable[[str, int], Body]
    text: Callable[[Body], str]

    def ask(self, prompt: str, tokens: int) -> tuple[list[bytes], float]:
        """Lines of data, and the seconds until the first one."""
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_SECONDS)
        started = time.perf_counter()
        body = json.dumps(self.body(prompt, tokens))
        connection.request("POST", self.path, body, self.headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise SystemExit(f"{self.path}: {response.read().decode()}")
        lines: list[bytes] = []
        first = 0.0
        while line := response.readline():
            first = first or time.perf_counter() - started
            if line.strip():
                lines.append(line)
        connection.close()
        return lines, first

    def ask_all(self, prompts: list[str], streams: int, tokens: int) -> list[str]:
        """The answers, so many at once."""
        with ThreadPoolExecutor(streams) as pool:
            answers = list(pool.map(lambda prompt: self.ask(prompt, tokens)[0], prompts))
        events = [[line for line in lines if not line.startswith(_END)] for lines in answers]
        return [
            "".join(self.text(json.loads(line.removeprefix(b"data:"))) for line in lines)
            for lines in events
        ]


def completion(prompt: str, tokens: int) -> Body:
    """For the child."""
    fields = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "stream": True}
    return {**fields, "return_tokens": True, "ignore_eos": True, "cache_prompt": tokens > 1}


def openai_completion(prompt: str, tokens: int) -> Body:
    fields = {"model": "bench", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    return {**fields, "stream": True, "ignore_eos": True, "cache_prompt": tokens > 1}


def openai_chat(prompt: str, tokens: int) -> Body:
    messages = [{"role": "user", "content": prompt}]
    fields = {"model": "bench", "messages": messages, "max_tokens": tokens, "temperature": 0}
    return {**fields, "stream": True, "ignore_eos": True}


@contextmanager
def served(folder: str, parallel: int) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, so that it does not share this one's lock,
    and the number of the process."""
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
        yield process.stdout.readline().strip().removeprefix("http://"), process.pid
        process.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=256)
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
            with served(folder, parallel) as (address, pid):
                plain = {"Content-Type": "application/json"}
                client = child._client
                targets = {
                    "child": Target(
                        client.address,
                        "/completion",
                        client._headers,
                        completion,
                        lambda event: str(event["content"]),
                    ),
                    "API": Target(
                        address,
                        "/v1/completions",
                        plain,
                        openai_completion,
                        lambda event: str(event["choices"][0]["text"]),
                    ),
                }
                for target in targets.values():
                    target.ask("warm", 2)
                speeds(targets, counts, options, pid)
                chat = Target(address, "/v1/chat/completions", plain, openai_chat, str)
                first_bytes({**targets, "API's chat": chat})
                comparison(targets, parallel)
        finally:
            child.close()


def speeds(
    targets: dict[str, Target], counts: list[int], options: argparse.Namespace, pid: int
) -> None:
    most = max(counts)
    short = [SHORT.format(number=number) for number in range(most)]
    # Each begins otherwise, so that nobody remembers another's.
    long = [f"{number}" + WORD * options.prompt for number in range(most)]
    kinds = {"write": (short, options.tokens, options.tokens), "read": (long, 1, options.prompt)}
    rows = [(kind, streams, name) for kind in kinds for streams in counts for name in targets]
    best: dict[tuple[str, int, str], float] = {}
    processor: dict[tuple[str, int, str], float] = {}
    for _ in range(options.rounds):
        for row in rows:
            kind, streams, name = row
            prompts, tokens, counted = kinds[kind]
            used, started = processor_seconds(pid), time.perf_counter()
            targets[name].ask_all(prompts, streams, tokens)
            speed = most * counted / (time.perf_counter() - started)
            best[row] = max(best.get(row, 0.0), speed)
            each = (processor_seconds(pid) - used) / (most * counted)
            processor[row] = min(processor.get(row, each), each)
    print(f"{most} requests; write: {options.tokens} tokens; read: {options.prompt} and 1")
    print("            at once   tokens/s   of the child   processor of the server per token")
    for row, speed in best.items():
        kind, streams, name = row
        line = f"{kind:6} {name:6} {streams:4}  {speed:10.1f}"
        if name != "child":
            ratio = speed / best[kind, streams, "child"]
            line += f"  {ratio:10.2f}  {1e6 * processor[row]:14.0f} µs"
        print(line)
    for kind in kinds:
        gains = {name: best[kind, most, name] / best[kind, min(counts), name] for name in targets}
        each = ", ".join(f"{name} {gain:.2f}" for name, gain in gains.items())
        print(f"{kind}: {most} at once over {min(counts)}: {each}")


def first_bytes(targets: dict[str, Target]) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(FIRST_BYTES):
        for name, target in targets.items():
            seconds[name].append(target.ask("Once upon a time", 2)[1])
    medians = {name: 1000 * statistics.median(each) for name, each in seconds.items()}
    print("first byte, ms: " + ", ".join(f"{name} {at:.1f}" for name, at in medians.items()))


def comparison(targets: dict[str, Target], most: int) -> None:
    prompts = [SHORT.format(number=number) for number in range(most)]
    expected = targets["child"].ask_all(prompts, 1, COMPARED_TOKENS)
    for name, target in targets.items():
        for streams in (1, most):
            found = target.ask_all(prompts, streams, COMPARED_TOKENS)
            same = sum(one == other for one, other in zip(expected, found, strict=True))
            print(f"{name}, {streams} at once: {same} of {most} answers are the child's alone")


def processor_seconds(pid: int) -> float:
    """What a process has used so far, its threads that have ended too; without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
