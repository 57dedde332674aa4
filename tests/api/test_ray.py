"""`transom serve --engine ray` on a cluster of two nodes, one of which dies under load."""

import json
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import ROOT, Server, serve
from tests.waiting import wait_for

STREAMS = 4
# Of the whole test no step takes as long unless something hangs.
PATIENCE_SECONDS = 120


class Nodes:
    """See `ray_nodes.py`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.address: str = self._line()

    def ask(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def ray_nodes(python: Path, log_path: Path) -> Iterator[Nodes]:
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            [str(python), str(Path(__file__).with_name("ray_nodes.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
        ) as process,
    ):
        try:
            yield Nodes(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_SECONDS)


def post(server: Server, path: str, body: dict[str, Any]) -> Any:
    # The same for each: another number of threads would be another way to load the model.
    body = {"model": "smollm2", **body}
    body["options"] = {"num_thread": 1, **body.get("options", {})}
    request = urllib.request.Request(server.address + path, json.dumps(body).encode())
    return urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)


def say(server: Server, **more: Any) -> str:
    body = {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 5, **more}
    with post(server, "/v1/chat/completions", body) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


class Stream(threading.Thread):
    """A long answer, as it comes."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self.begun = threading.Event()
        self.events: list[Any] = []
        self._server, self._number = server, number

    def run(self) -> None:
        body = {
            "messages": [{"role": "user", "content": f"Tell story {self._number}"}],
            "max_tokens": 300,
            "ignore_eos": True,
            "stream": True,
        }
        with post(self._server, "/v1/chat/completions", body) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    data = line[6:].strip()
                    self.events.append(data if data == b"[DONE]" else json.loads(data))
                    if len(self.events) > 2:
                        self.begun.set()

    @property
    def was_cut(self) -> bool:
        return isinstance(self.events[-1], dict) and "error" in self.events[-1]


def left_over(python: Path) -> list[str]:
    """Processes of the environment that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(python.parents[1]) in line or "ray::" in line:
            found.append(line[:200])
    return found


def is_pair(replicas: list[str]) -> bool:
    """Two on one node: Serve may count the dead one among those that run for a while."""
    return len(replicas) == 2 and len(set(replicas)) == 1


@pytest.mark.timeout(900)
def test_a_node_dies_under_load(
    environment: Callable[[str], Path], models: Path, tmp_path: Path
) -> None:
    python = environment("ray")
    assert left_over(python) == []
    arguments = ("--engine", "ray", "--ray-replicas", "2", "--parallel", "2")
    with ray_nodes(python, tmp_path / "nodes.log") as nodes:
        with serve(
            models,
            tmp_path / "serve.log",
            *arguments,
            environment={"TRANSOM_RAY_ADDRESS": nodes.address},
            command=python.with_name("transom"),
        ) as server:
            expected = say(server, temperature=0)
            wait_for(lambda: len(set(nodes.ask("replicas"))) == 2, "one replica on each node")

            streams = [Stream(server, number) for number in range(STREAMS)]
            for stream in streams:
                stream.start()
            for stream in streams:
                assert stream.begun.wait(PATIENCE_SECONDS)
            assert nodes.ask("kill") == "killed"
            for stream in streams:
                stream.join(PATIENCE_SECONDS)
                assert not stream.is_alive(), "a request hangs"
            cut = [stream for stream in streams if stream.was_cut]
            whole = [stream for stream in streams if stream.events[-1] == b"[DONE]"]
            assert len(cut) + len(whole) == STREAMS
            assert 1 <= len(cut) < STREAMS
            assert "machine" in cut[0].events[-1]["error"]["message"]

            # What is left answers, with the same words; and there are two again.
            assert say(server, temperature=0) == expected
            wait_for(lambda: is_pair(nodes.ask("replicas")), "the replica does not come back")
            assert say(server, temperature=0) == expected

            with urllib.request.urlopen(f"{server.address}/api/ps") as answer:
                (row,) = json.load(answer)["models"]
            assert row["size"] > 2 * 80_000_000
            with post(server, "/api/generate", {"keep_alive": 0}) as answer:
                assert json.load(answer)["done_reason"] == "unload"
            wait_for(lambda: nodes.ask("apps") == [], "the model stays on the cluster")
            assert say(server, temperature=0) == expected
        # Its end takes what it had with it.
        wait_for(lambda: nodes.ask("replicas") == [], "the server left replicas behind")
    wait_for(lambda: left_over(python) == [], f"left: {left_over(python)}")
