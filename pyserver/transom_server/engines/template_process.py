"""Chat templates rendered in a process of their own (`template_child.py`), which may be ended.

A template that loops for ever or eats memory costs one request, not the server. One process serves
all models; it starts with the first question, and again after it had to be ended.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from transom_api.template_answer import TemplateFailed, check_template, prompt_of

# For systems without a limit on processor time, and for a machine that swaps.
TIMEOUT_SECONDS: Final = 60


class TemplateProcess:
    """Threads may share it; they are answered one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    def render(
        self,
        template: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        bos: str,
        eos: str,
        reply_header: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt, as `transom_api.chat_template.render` makes it. Raises `TemplateFailed` or
        `TemplateRefused`."""
        check_template(template)
        question = {
            "template": template,
            "messages": [dict(message) for message in messages],
            "bos": bos,
            "eos": eos,
            "reply_header": reply_header,
            "tools": None if tools is None else [dict(tool) for tool in tools],
            "variables": dict(variables or {}),
        }
        with self._lock:
            answer = self._ask(json.dumps(question))
        return prompt_of(answer)

    def close(self) -> None:
        """End the process; nothing is rendered after that."""
        with self._lock:
            self._closed = True
            self._end()

    def _ask(self, question: str) -> dict[str, str]:
        if self._closed:
            raise TemplateFailed("the server is ending")
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "transom_server.engines.template_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                # Ctrl-C in a terminal is for us; we end the child ourselves.
                start_new_session=True,
            )
        said: queue.SimpleQueue[str] = queue.SimpleQueue()
        # Also writes: a question may be longer than a pipe takes at once.
        speaker = threading.Thread(target=_exchange, args=(self._process, question, said))
        speaker.start()
        try:
            line = said.get(timeout=TIMEOUT_SECONDS)
            answer: dict[str, str] = json.loads(line)
        except (queue.Empty, ValueError):
            # Nothing, or a line that breaks off: it was ended, or shall be.
            self._process.kill()
            speaker.join()
            self._end()
            raise TemplateFailed(
                "the model's chat template takes too long or too much memory"
            ) from None
        speaker.join()
        return answer

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what it never read
                pipe.close()
        self._process = None


def _exchange(
    process: "subprocess.Popen[str]", question: str, said: "queue.SimpleQueue[str]"
) -> None:
    """One question, one answer; an empty one when the process is gone."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(question + "\n")
        process.stdin.flush()
        said.put(process.stdout.readline())
    except (OSError, ValueError):
        said.put("")
