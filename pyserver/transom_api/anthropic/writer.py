"""Deltas to Anthropic's events, or to a whole message. Pure: the id is given in.

    message_start, ping,
    content_block_start, content_block_delta …, content_block_stop      for each block
    message_delta, message_stop

A block is what the model thought, text, or a call of a tool; they follow each other.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from transom_api.anthropic.errors import late_error
from transom_api.anthropic.messages import MessagesRequest
from transom_api.chat import ToolCall
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Finish,
    Reasoning,
    Usage,
)
from transom_api.session import Answer

Kind = Literal["thinking", "text", "tool_use"]
_REASONS: Final[Mapping[Finish, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}


class MessagesWriter:
    """See the module."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, asked: MessagesRequest, message_id: str) -> None:
        self._asked = asked
        self._id = message_id
        self._usage = Usage(0, 0, 0)
        self._ended = Ended(0, "stop")
        self._open: Kind | None = None
        self._index = -1

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        self._usage = Usage(prompt_tokens, 0, 0)
        message = self._message([], None, None)
        return [_event("message_start", message=message), _event("ping")]

    def write(self, delta: Delta) -> list[bytes]:
        if isinstance(delta, Reasoning):
            shown = "" if self._asked.omits_thinking else delta.text
            block = {"type": "thinking", "thinking": "", "signature": ""}
            frames = self._block("thinking", block)
            return frames + self._delta({"type": "thinking_delta", "thinking": shown}, shown)
        if isinstance(delta, Content):
            if not delta.text:
                return []
            frames = self._block("text", {"type": "text", "text": ""})
            return frames + self._delta({"type": "text_delta", "text": delta.text}, delta.text)
        if isinstance(delta, CallBegins):
            call = {"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}}
            return self._close() + self._block("tool_use", call)
        if isinstance(delta, CallArguments):
            piece = {"type": "input_json_delta", "partial_json": delta.text}
            return self._delta(piece, delta.text)
        if isinstance(delta, Ended):
            self._ended = delta
            return self._close()
        self._usage = delta
        return []

    def end(self) -> list[bytes]:
        reason, stop = self._stop(self._ended.reason, self._ended.stop, self._usage)
        delta = {"stop_reason": reason, "stop_sequence": stop}
        usage = _usage(self._usage)
        return [_event("message_delta", delta=delta, usage=usage), _event("message_stop")]

    def fail(self, error: Exception) -> list[bytes]:
        return [_frame("error", late_error(error, self._id))]

    def body(self, answers: Sequence[Answer], usage: Usage) -> Mapping[str, Any]:
        answer = answers[0]
        self._usage = usage
        blocks: list[dict[str, Any]] = []
        if answer.reasoning:
            shown = "" if self._asked.omits_thinking else answer.reasoning
            blocks.append({"type": "thinking", "thinking": shown, "signature": ""})
        if answer.content:
            blocks.append({"type": "text", "text": answer.content})
        blocks += [_tool_use(call) for call in answer.calls]
        return self._message(blocks, *self._stop(answer.finish, answer.stop, usage))

    def _stop(self, finish: Finish, stop: str | None, usage: Usage) -> tuple[str, str | None]:
        if finish == "stop" and stop in self._asked.stop_sequences:
            return "stop_sequence", stop
        if finish == "length" and usage.completion_tokens < self._asked.max_tokens:
            return "model_context_window_exceeded", None
        return _REASONS[finish], None

    def _message(
        self, blocks: list[dict[str, Any]], reason: str | None, stop: str | None
    ) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._asked.model,
            "content": blocks,
            "stop_reason": reason,
            "stop_sequence": stop,
            "usage": _usage(self._usage) | {"service_tier": "standard"},
        }

    def _block(self, kind: Kind, start: dict[str, Any]) -> list[bytes]:
        """Frames that lead into a block of this kind, none when it is open."""
        if self._open == kind:
            return []
        frames = self._close()
        self._open = kind
        self._index += 1
        start_event = _event("content_block_start", index=self._index, content_block=start)
        return [*frames, start_event]

    def _delta(self, delta: dict[str, Any], text: str) -> list[bytes]:
        if not text:
            return []
        return [_event("content_block_delta", index=self._index, delta=delta)]

    def _close(self) -> list[bytes]:
        if self._open is None:
            return []
        frames = []
        if self._open == "thinking":
            # Clients wait for it; nothing here is signed.
            signature = {"type": "signature_delta", "signature": ""}
            frames.append(_event("content_block_delta", index=self._index, delta=signature))
        self._open = None
        return [*frames, _event("content_block_stop", index=self._index)]


def _tool_use(call: ToolCall) -> dict[str, Any]:
    try:
        given = json.loads(call.arguments)
    except ValueError:
        given = None  # cut off where the tokens ended
    given = given if isinstance(given, dict) else {}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": given}


def _usage(usage: Usage) -> dict[str, Any]:
    """What was read anew and what was still known add up to the prompt."""
    figures: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        figures["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return figures


def _event(kind: str, **fields: Any) -> bytes:
    return _frame(kind, {"type": kind, **fields})


def _frame(kind: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {text}\n\n".encode(errors="replace")
