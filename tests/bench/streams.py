"""What streams cost the server that has little to say in them: memory, threads, drops.

    python -m tests.bench.streams [--idle 500] [--active 50] [--tokens 200] [--pace 0.02]

A server whose engine is a fake says one word in each idle stream and then nothing, until it is
told; active ones get a token each `pace` seconds meanwhile. Memory is the server's, without its
engine: before, with the idle streams, with all of them, and when all have ended. A stream is
dropped when it ends without its last frame.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.pyserver.native_models import put_native
from transom_server.store import Store

SERVER: Final = """
import os, sys, threading, time
from transom_api.engine import Done, ModelFacts, RequestCancelled, TokenEvent
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.engines import choice
from transom_server.http.serving import serving
tokens, pace = int(sys.argv[1]), float(sys.argv[2])
go = threading.Event()
class Engine:
    facts = ModelFacts(context_tokens=4096, parallel=10_000)
    def __init__(self, files, options, cancelled):
        pass
    def generate(self, request, cancelled):
        yield TokenEvent((1,), b"word ")
        if "idle" in request.prompt:
            while not go.wait(1):
                if cancelled():
                    raise RequestCancelled("gone")
        else:
            due = time.monotonic()
            for _ in range(tokens - 1):
                due += pace
                time.sleep(max(0, due - time.monotonic()))
                yield TokenEvent((1,), b"word ")
        yield Done("stop", 3, 0, 2, 0.5, 0.25)
    def alive(self):
        return True
    def resident_bytes(self):
        return 0
    def close(self):
        go.set()
choice.LlamaCpp = Engine
config = Config.read(os.environ, port="0", queue="100000")
with serving(create_app(config), config) as server:
    print(server.port, flush=True)
    for line in sys.stdin:
        if line == "go\\n":
            go.set()
        print(server.thread_count, flush=True)
"""
# Between the last byte and the end of the threads that wrote.
SETTLE_SECONDS: Final = 25
# Clients that come in one moment.
AT_ONCE: Final = 250


class Server:
    """The server's process."""

    def __init__(self, folder: Path, tokens: int, pace: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(tokens), str(pace)],
            env={**os.environ, "TRANSOM_MODELS": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def tell(self, word: str) -> int:
        """Tell it something; gives its threads."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def mebibytes(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Stream:
    """One answer that is read."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self.begun = asyncio.Event()
        self.times: list[float] = []
        self.whole = False

    async def read(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = {"model": "tiny", "messages": [{"role": "user", "content": self._prompt}]}
        data = json.dumps({**body, "stream": True}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}"
        )
        writer.write(head.encode() + b"\r\n\r\n" + data)
        while line := await reader.readline():
            if b"word" in line:
                self.times.append(time.perf_counter())
                self.begun.set()
            self.whole = self.whole or line.startswith(b"data: [DONE]")
        writer.close()


async def measure(server: Server, idle: int, active: int, tokens: int, pace: float) -> None:
    async def begin(prompt: str, count: int) -> tuple[list[Stream], list[asyncio.Task[None]]]:
        streams: list[Stream] = []
        tasks: list[asyncio.Task[None]] = []
        for first in range(0, count, AT_ONCE):
            new = [Stream(prompt) for _ in range(min(AT_ONCE, count - first))]
            tasks += [asyncio.create_task(stream.read(server.port)) for stream in new]
            await asyncio.wait_for(asyncio.gather(*(stream.begun.wait() for stream in new)), 120)
            streams += new
        return streams, tasks

    def told(what: str) -> float:
        now = server.mebibytes()
        threads, files = server.tell("count"), server.descriptors()
        print(f"{what:>28}  {now:7.1f} MiB  {threads:5} threads  {files:5} descriptors")
        return now

    # What is loaded once is no stream's.
    _, first = await begin("warm", 1)
    await asyncio.gather(*first)
    before = told("before")
    began = time.perf_counter()
    resting, resting_tasks = await begin("idle", idle)
    seconds = time.perf_counter() - began
    with_idle = told(f"with {idle} idle streams")
    print(f"{'':>28}  {(with_idle - before) * 1024 / idle:7.1f} KiB each, begun in {seconds:.1f} s")
    busy, busy_tasks = await begin("busy", active)
    told(f"and {active} active ones")
    await asyncio.gather(*busy_tasks)
    server.tell("go")
    await asyncio.gather(*resting_tasks)
    heard = sum(len(stream.times) for stream in busy)
    late = [
        moment - stream.times[0] - number * pace
        for stream in busy
        for number, moment in enumerate(stream.times)
    ]
    late.sort()
    dropped = sum(not stream.whole for stream in (*resting, *busy))
    print(f"{'tokens':>28}  {heard} of {active * tokens}; streams dropped: {dropped}")
    print(
        f"{'behind their pace':>28}  median {late[len(late) // 2] * 1000:.1f} ms,"
        f" 99th of 100 {late[len(late) * 99 // 100] * 1000:.1f} ms"
    )
    await asyncio.sleep(SETTLE_SECONDS)
    told("when all have ended")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--active", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between two tokens")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        put_native(Store(Path(folder)), "tiny")
        server = Server(Path(folder), given.tokens, given.pace)
        try:
            asyncio.run(measure(server, given.idle, given.active, given.tokens, given.pace))
        finally:
            server.end()


if __name__ == "__main__":
    main()
