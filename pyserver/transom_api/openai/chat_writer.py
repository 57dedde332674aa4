"""Answers of `/v1/chat/completions`: chunks as server-sent events, and the whole body."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Finish,
    Logprobs,
    Reasoning,
    Usage,
)
from transom_api.openai.chat import ChatRequest
from transom_api.openai.errors import describe
from transom_api.openai.frames import (
    DONE,
    EVENT_STREAM,
    event,
    logprobs_json,
    stop_json,
    timings_json,
    usage_json,
    worded,
)
from transom_api.session import Answer


@dataclass(slots=True)
class ChatWriter:
    """`id` as `chatcmpl-…`; `created` is Unix time in whole seconds."""

    asked: ChatRequest
    id: str
    created: int
    content_type: str = EVENT_STREAM
    _words: dict[int, Callable[[str], bytes]] = field(default_factory=dict)
    """Makes the chunks of each choice that are words alone."""

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        first = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(choice, first) for choice in range(self.asked.chat.choices)]

    def write(self, delta: Delta) -> list[bytes]:
        if isinstance(delta, Content):
            if delta.logprobs:
                return [self._chunk(delta.choice, {"content": delta.text}, logprobs=delta.logprobs)]
            if delta.choice not in self._words:
                self._words[delta.choice] = worded(partial(self._content, delta.choice))
            return [self._words[delta.choice](delta.text)]
        if isinstance(delta, Reasoning):
            return [self._chunk(delta.choice, {"reasoning_content": delta.text})]
        if isinstance(delta, CallBegins | CallArguments):
            return self._call(delta)
        if isinstance(delta, Ended):
            return [self._chunk(delta.choice, {}, end=delta)]
        if not self.asked.include_usage:
            return []
        rest = {"choices": [], "usage": usage_json(delta), "timings": timings_json(delta)}
        return [event({**self._head("chat.completion.chunk"), **rest})]

    def end(self) -> list[bytes]:
        return [DONE]

    def fail(self, error: Exception) -> list[bytes]:
        # No [DONE] after it: whoever passes over errors must not take the answer for whole.
        return [event(describe(error)[1])]

    def body(self, answers: Sequence[Answer], usage: Usage) -> Mapping[str, Any]:
        return {
            **self._head("chat.completion"),
            "choices": [
                {
                    "index": index,
                    "message": self._message(answer),
                    "logprobs": self._logprobs(answer.logprobs),
                    "finish_reason": self._finish(answer.finish),
                    **stop_json(answer.stop),
                }
                for index, answer in enumerate(answers)
            ],
            "usage": usage_json(usage),
            "timings": timings_json(usage),
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": None,
        }

    def _chunk(
        self,
        choice: int,
        delta: Mapping[str, Any],
        *,
        logprobs: Sequence[Logprobs] = (),
        end: Ended | None = None,
    ) -> bytes:
        row = {
            "index": choice,
            "delta": delta,
            "logprobs": self._logprobs(logprobs) if logprobs else None,
            "finish_reason": None if end is None else self._finish(end.reason),
            **stop_json(None if end is None else end.stop),
        }
        chunk = {**self._head("chat.completion.chunk"), "choices": [row]}
        if self.asked.include_usage:
            chunk["usage"] = None  # it comes in a chunk of its own
        elif end is not None and end.usage is not None:
            chunk["timings"] = timings_json(end.usage)
        return event(chunk)

    def _content(self, choice: int, words: str) -> bytes:
        return self._chunk(choice, {"content": words})

    def _call(self, delta: CallBegins | CallArguments) -> list[bytes]:
        function = (
            {"name": delta.name, "arguments": ""}
            if isinstance(delta, CallBegins)
            else {"arguments": delta.text}
        )
        if self.asked.legacy_functions:
            # The old field holds one call; the reader was asked for no more.
            return (
                [self._chunk(delta.choice, {"function_call": function})] if not delta.call else []
            )
        call: dict[str, Any] = {"index": delta.call}
        if isinstance(delta, CallBegins):
            call |= {"id": delta.id, "type": "function"}
        return [self._chunk(delta.choice, {"tool_calls": [{**call, "function": function}]})]

    def _message(self, answer: Answer) -> dict[str, Any]:
        # Beside calls, no words are null, as OpenAI has it.
        content = None if answer.calls and not answer.content else answer.content
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        calls = [
            (call.id, {"name": call.name, "arguments": call.arguments}) for call in answer.calls
        ]
        if calls and self.asked.legacy_functions:
            message["function_call"] = calls[0][1]
        elif calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": function}
                for call_id, function in calls
            ]
        return message

    def _finish(self, reason: Finish) -> str:
        if reason == "tool_calls" and self.asked.legacy_functions:
            return "function_call"
        return reason

    def _logprobs(self, rows: Sequence[Logprobs]) -> dict[str, Any] | None:
        if not self.asked.chat.logprobs:
            return None
        return {"content": logprobs_json(rows), "refusal": None}
