"""A command at a terminal: a pty, what it printed so far, keys typed into it."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

TIMEOUT_SECONDS = 60
CTRL_C = "\x03"
CTRL_D = "\x04"
UP = "\x1b[A"
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])")


class Terminal:
    """A running command. `seen` is what it printed, without escape sequences."""

    def __init__(self, pid: int, fd: int) -> None:
        self._pid, self._fd = pid, fd
        self._raw = b""
        self._mark = 0

    @property
    def seen(self) -> str:
        text = _ESCAPES.sub("", self._raw.decode(errors="replace"))
        return text.replace("\r\n", "\n").replace("\r", "")

    def type(self, text: str) -> None:
        """Press keys; only what is printed from here on is waited for."""
        self._mark = len(self.seen)
        os.write(self._fd, text.encode())

    def wait_for(self, *texts: str) -> str:
        """What was printed since the last keys, once `texts` are in it, one after the other."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not _in_order(texts, said := self.seen[self._mark :]):
            assert self._read(deadline), f"no {texts} in {said!r}"
        return said

    def wait_for_end(self) -> int:
        """Its exit code."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._read(deadline):
            pass
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)

    def _read(self, deadline: float) -> bool:
        """Read what is there; False at its end."""
        left = deadline - time.monotonic()
        assert left > 0, f"out of time; seen: {self.seen!r}"
        if not select.select([self._fd], [], [], left)[0]:
            return True
        try:
            data = os.read(self._fd, 4096)
        except OSError:  # Linux's end of a pty
            return False
        self._raw += data
        return bool(data)


def _in_order(texts: tuple[str, ...], said: str) -> bool:
    at = 0
    for text in texts:
        found = said.find(text, at)
        if found < 0:
            return False
        at = found + len(text)
    return True


@contextmanager
def terminal(arguments: list[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """`transom …` at a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        # Terminals answer where the cursor is; this one does not.
        os.environ.update({"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm", "COLUMNS": "80"})
        os.environ.update(environment)
        code = "import sys; from transom_cli.main import run; sys.exit(run(sys.argv[1:]))"
        os.execv(sys.executable, [sys.executable, "-c", code, *arguments])
    running = Terminal(pid, fd)
    try:
        yield running
    finally:
        running.close()
