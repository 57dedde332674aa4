"""The process that llama.cpp runs in: started, watched and ended; its log, its last words.

Knows `llama_cpp_child.py` by its order and its address. Must not know requests.
"""

import contextlib
import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from transom_api.engine import Cancelled, EngineError, RequestCancelled

# How often a wait looks whether anybody still waits for it.
POLL_SECONDS: Final = 0.1
# A child that was killed is gone at once; this is for a machine that swaps.
END_TIMEOUT_SECONDS: Final = 10
LOG_LINES: Final = 50
MAX_REASON_CHARS: Final = 300
# Time and level, as in "0.00.373.293 E ".
_LOG_PREFIX: Final = re.compile(r"[\d.]+ [A-Z] +")

_LOG = logging.getLogger(__name__)


class LlamaCppProcess:
    """The process: its order, its address, its last words."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        """`hear` is given each line of the log, in a thread of its own; an empty one is its end."""
        self._hear = hear
        self._process = subprocess.Popen(
            [sys.executable, "-m", "transom_server.engines.llama_cpp_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            # A failed assertion would call a debugger, which takes seconds and tells us nothing.
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
            # Ctrl-C in a terminal is for us; we end the child ourselves.
            start_new_session=True,
        )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._listeners = [
            # Whoever forgets to close a model shall still be able to end.
            threading.Thread(target=target, name="llama-cpp-log", daemon=True)
            for target in (self._hear_output, self._hear_log)
        ]
        for listener in self._listeners:
            listener.start()
        self._closing = threading.Lock()
        self.gpu_bytes = 0
        """Of graphics cards' memory, once it is loaded."""
        self._is_loaded = self._is_closed = False
        self._ended_by_us: str | None = None

    def order(self, order: dict[str, Any]) -> None:
        """Say what to load."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone; `address` tells
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def address(self, cancelled: Cancelled) -> str:
        """Host and port, once the model is loaded."""
        while not cancelled():
            with contextlib.suppress(queue.Empty):
                line = self._said.get(timeout=POLL_SECONDS)
                if not line:
                    self.wait_for_end(END_TIMEOUT_SECONDS)
                    self._listeners[1].join()
                    raise EngineError(f"llama.cpp cannot load this model: {self._last_words()}")
                self._is_loaded = True
                said = json.loads(line)
                self.gpu_bytes = int(said["gpu_bytes"])
                return str(said["address"])
        raise RequestCancelled("nobody waits for this model any more")

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_for_end(self, seconds: float) -> str | None:
        """How it ended, in words; None when it runs on."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        if self._ended_by_us is not None:
            return self._ended_by_us
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def resident_bytes(self) -> int:
        """Memory it holds; 0 when it has ended, or where the system has no /proc."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
            for line in status.splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        return 0

    def end(self, reason: str) -> None:
        """Kill it, because it is of no use any more; `reason` is how it ended, in words."""
        if self.alive() and not self._is_closed:
            self._ended_by_us = reason
            self._process.kill()

    def close(self) -> None:
        """Kill it, and free what was ours of it. Twice is once."""
        with self._closing:
            # Else it ended by itself, which is still to be told.
            self._is_closed = self._is_closed or self.alive()
            self._process.kill()
            self._process.wait()
            for listener in self._listeners:
                listener.join()
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                assert pipe is not None
                with contextlib.suppress(OSError):  # what it never read
                    pipe.close()

    def _hear_output(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _hear_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._log.append(line.strip())
                self._hear(line.strip())
        self._tell_end()
        self._hear("")

    def _tell_end(self) -> None:
        """An end that nobody wanted is for the log, also where no request is there to meet it."""
        if self._is_loaded:
            reason = self.wait_for_end(END_TIMEOUT_SECONDS) or "says no more"
            if self._process.returncode == -signal.SIGABRT and self._log:
                # What it found to be wrong with itself. Other last lines tell nothing.
                reason = f"{reason}: {_LOG_PREFIX.sub('', self._log[-1])[:MAX_REASON_CHARS]}"
            if not self._is_closed:
                _LOG.error("llama.cpp (process %d) %s", self._process.pid, reason)

    def _last_words(self) -> str:
        """The first line of what is left of the log that speaks of an error."""
        lines = list(self._log)
        faults = [line for line in lines if "error" in line.lower()]
        words = (faults or lines[-1:] or ["it says nothing"])[0]
        return _LOG_PREFIX.sub("", words)[:MAX_REASON_CHARS]
