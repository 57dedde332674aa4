"""Answers to `/api/chat` and `/api/generate`: NDJSON, a line a piece, or one object. Pure: the time
of day and how long it has taken are given in."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from transom_api.chat import ToolCall
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Finish,
    Logprobs,
    Reasoning,
    TokenLogprob,
    Usage,
)
from transom_api.ollama.chat import Asked
from transom_api.session import Answer
from transom_models.errors import public_text

NDJSON: Final = "application/x-ndjson"
# Python's clients take these for ends of lines, too; other control characters JSON spells itself.
_LINE_ENDS: Final = str.maketrans({0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"})


class OllamaWriter:
    """See `Writer`. `now` gives RFC 3339, `elapsed` whole nanoseconds since the request came."""

    content_type = NDJSON

    def __init__(self, asked: Asked, now: Callable[[], str], elapsed: Callable[[], int]) -> None:
        self._asked, self._now, self._elapsed = asked, now, elapsed
        self._call: ToolCall | None = None
        self._calls = 0
        self._finish: Finish = "stop"
        self._usage = Usage(0, 0, 0)

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        return []

    def write(self, delta: Delta) -> list[bytes]:
        if isinstance(delta, CallArguments):
            assert self._call is not None
            written = self._call.arguments + delta.text
            self._call = ToolCall(self._call.id, self._call.name, written)
            return []
        # A call is one piece, with its arguments as an object.
        lines = self._whole_call()
        if isinstance(delta, CallBegins):
            self._call = ToolCall(delta.id, delta.name, "")
        elif isinstance(delta, Content):
            lines.append(self._piece(content=delta.text, logprobs=delta.logprobs))
        elif isinstance(delta, Reasoning):
            lines.append(self._piece(thinking=delta.text))
        elif isinstance(delta, Ended):
            self._finish = delta.reason
        elif isinstance(delta, Usage):
            self._usage = delta
        return lines

    def end(self) -> list[bytes]:
        return [_line({**self._said(""), **self._last(self._finish, self._usage)})]

    def fail(self, error: Exception) -> list[bytes]:
        return [_line({"error": public_text(error)})]

    def body(self, answers: Sequence[Answer], usage: Usage) -> Mapping[str, Any]:
        (answer,) = answers
        calls = [_call_row(call, number) for number, call in enumerate(answer.calls)]
        said = self._said(answer.content, answer.reasoning, calls, answer.logprobs)
        return {**said, **self._last(answer.finish, usage)}

    def nothing(self, reason: Literal["load", "unload"]) -> dict[str, Any]:
        """The only object when nothing was asked."""
        return {**self._said(""), "done": True, "done_reason": reason}

    def _whole_call(self) -> list[bytes]:
        if self._call is None:
            return []
        row = _call_row(self._call, self._calls)
        self._call, self._calls = None, self._calls + 1
        return [_line({**self._said("", calls=[row]), "done": False})]

    def _piece(
        self, *, content: str = "", thinking: str = "", logprobs: Sequence[Logprobs] = ()
    ) -> bytes:
        return _line({**self._said(content, thinking, logprobs=logprobs), "done": False})

    def _said(
        self,
        content: str,
        thinking: str = "",
        calls: Sequence[Mapping[str, Any]] = (),
        logprobs: Sequence[Logprobs] = (),
    ) -> dict[str, Any]:
        more: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if calls:
            more["tool_calls"] = list(calls)
        if self._asked.kind == "generate":
            said = {"response": content, **more}
        else:
            said = {"message": {"role": "assistant", "content": content, **more}}
        if logprobs:
            said["logprobs"] = [_logprobs_row(row) for row in logprobs]
        return {"model": self._asked.chat.model, "created_at": self._now(), **said}

    def _last(self, finish: Finish, usage: Usage) -> dict[str, Any]:
        return {
            "done": True,
            # It has no word of its own for an answer that ends with calls.
            "done_reason": "length" if finish == "length" else "stop",
            "total_duration": self._elapsed(),
            "load_duration": round(usage.load_seconds * 1e9),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": round(usage.prompt_seconds * 1e9),
            "eval_count": usage.completion_tokens,
            "eval_duration": round(usage.completion_seconds * 1e9),
        }


def _call_row(call: ToolCall, index: int) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        # An answer may end in the middle of a call.
        arguments = {}
    function = {"index": index, "name": call.name, "arguments": arguments}
    return {"id": call.id, "function": function}


def _logprobs_row(row: Logprobs) -> dict[str, Any]:
    return {**_logprob_row(row.chosen), "top_logprobs": [_logprob_row(each) for each in row.top]}


def _logprob_row(row: TokenLogprob) -> dict[str, Any]:
    return {"token": row.token, "logprob": row.logprob, "bytes": list(row.bytes)}


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_LINE_ENDS).encode() + b"\n"
