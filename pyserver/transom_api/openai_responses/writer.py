"""Deltas to the events of a response, or to a whole one. Pure: the id and the time are given in.

    response.created, response.in_progress
    response.output_item.added … .done                  for each item:
        response.content_part.added … .done             what the model said, or thought,
            response.output_text.delta … .done          piece by piece
        response.function_call_arguments.delta … .done  what it called
    response.completed, or .incomplete

The frames are the growth of one value, the response itself; the whole answer is where it ends.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from transom_api.chat import Message, Text, ToolCall
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Logprobs,
    Reasoning,
    TokenLogprob,
    Usage,
)
from transom_api.engine import ContextOverflow, SchemaRefused
from transom_api.fields import InvalidField
from transom_api.openai_responses.kept import KeptResponse, ResponseStore
from transom_api.openai_responses.request import ResponseRequest
from transom_api.session import Answer
from transom_models.errors import public_text

Item = dict[str, Any]
# What OpenAI says of a token that cannot come; JSON has no infinity.
_LEAST_LOGPROB: Final = -9999.0


class ResponseWriter:
    """See the module. `token` makes the ids: nobody else has it. `created` is in Unix seconds."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(
        self, asked: ResponseRequest, token: str, created: int, store: ResponseStore
    ) -> None:
        self._asked = asked
        self._token = token
        self._created = created
        self._store = store
        self._count = 0
        """Of events."""
        self._items: list[Item] = []
        self._open: Item | None = None
        self._usage: Usage | None = None
        self._ended = Ended(0, "stop")
        self._waiting: list[str] = []
        """Text whose log-probabilities are about to come."""

    @property
    def response_id(self) -> str:
        return f"resp_{self._token}"

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        response = self._response("in_progress")
        return [
            self._event("response.created", response=response),
            self._event("response.in_progress", response=response),
        ]

    def write(self, delta: Delta) -> list[bytes]:
        if isinstance(delta, Reasoning):
            frames = self._item("reasoning", {"summary": []}) if delta.text else []
            return frames + (self._thought(delta.text) if delta.text else [])
        if isinstance(delta, Content):
            return self._said(delta)
        if isinstance(delta, CallBegins):
            call = {"call_id": delta.id, "name": delta.name, "arguments": ""}
            return self._close("completed") + self._item("function_call", call)
        if isinstance(delta, CallArguments):
            return self._called(delta.text)
        if isinstance(delta, Ended):
            self._ended = delta
            return self._close("incomplete" if delta.reason == "length" else "completed")
        self._usage = delta
        return []

    def end(self) -> list[bytes]:
        cut = self._ended.reason == "length"
        status = "incomplete" if cut else "completed"
        response = self._response(status)
        self._keep(response)
        return [self._event(f"response.{status}", response=response)]

    def fail(self, error: Exception) -> list[bytes]:
        theirs = isinstance(error, InvalidField | ContextOverflow | SchemaRefused)
        code = "invalid_prompt" if theirs else "server_error"
        message = public_text(error)
        param = error.param if isinstance(error, InvalidField) else None
        failed = self._response("failed", {"code": code, "message": message})
        return [
            self._event("error", code=code, message=message, param=param),
            self._event("response.failed", response=failed),
        ]

    def body(self, answers: Sequence[Answer], usage: Usage) -> Mapping[str, Any]:
        whole = ResponseWriter(self._asked, self._token, self._created, self._store)
        answer = answers[0]
        whole.write(Reasoning(0, answer.reasoning))
        whole.write(Content(0, answer.content, tuple(answer.logprobs)))
        for number, call in enumerate(answer.calls):
            whole.write(CallBegins(0, number, call.id, call.name))
            whole.write(CallArguments(0, number, call.arguments))
        whole.write(Ended(0, answer.finish, answer.stop))
        whole.write(usage)
        response = whole._response("incomplete" if answer.finish == "length" else "completed")
        whole._keep(response)
        return response

    # Items

    def _item(self, kind: str, rest: Item) -> list[bytes]:
        """Frames that lead into an item of this kind, none when it is open."""
        if self._open is not None and self._open["type"] == kind != "function_call":
            return []
        frames = self._close("completed")
        prefix = {"reasoning": "rs", "message": "msg", "function_call": "fc"}[kind]
        name = f"{prefix}_{self._token}{len(self._items):02x}"
        self._open = {"id": name, "type": kind, "status": "in_progress", **rest}
        self._items.append(self._open)
        return [*frames, self._of_item("response.output_item.added", item=self._open)]

    def _close(self, status: str) -> list[bytes]:
        """Frames that lead out of the item that is open."""
        item = self._open
        if item is None:
            return []
        frames = self._flush(()) if item["type"] == "message" else []
        if item["type"] == "function_call":
            done = "response.function_call_arguments.done"
            frames.append(self._of_item(done, name=item["name"], arguments=item["arguments"]))
        elif item["type"] == "reasoning" and item["summary"]:
            (part,) = item["summary"]
            done = "response.reasoning_summary_text.done"
            frames.append(self._of_item(done, summary_index=0, text=part["text"]))
            done = "response.reasoning_summary_part.done"
            frames.append(self._of_item(done, summary_index=0, part=part))
        elif item["type"] == "reasoning":
            (part,) = item["content"]
            frames.append(self._of_part("response.reasoning_text.done", text=part["text"]))
            frames.append(self._of_part("response.content_part.done", part=part))
        else:
            (part,) = item["content"]
            about = {"text": part["text"], "logprobs": part["logprobs"]}
            frames.append(self._of_part("response.output_text.done", **about))
            frames.append(self._of_part("response.content_part.done", part=part))
        item["status"] = status
        frames.append(self._of_item("response.output_item.done", item=item))
        self._open = None
        return frames

    def _thought(self, text: str) -> list[bytes]:
        assert self._open is not None
        if self._asked.summarizes:
            return self._summarized(self._open, text)
        frames = []
        if "content" not in self._open:
            part = {"type": "reasoning_text", "text": ""}
            self._open["content"] = [part]
            frames.append(self._of_part("response.content_part.added", part=part))
        self._open["content"][0]["text"] += text
        return [*frames, self._of_part("response.reasoning_text.delta", delta=text)]

    def _summarized(self, item: Item, text: str) -> list[bytes]:
        frames = []
        if not item["summary"]:
            part = {"type": "summary_text", "text": ""}
            item["summary"].append(part)
            added = "response.reasoning_summary_part.added"
            frames.append(self._of_item(added, summary_index=0, part=part))
        item["summary"][0]["text"] += text
        delta = "response.reasoning_summary_text.delta"
        return [*frames, self._of_item(delta, summary_index=0, delta=text)]

    def _said(self, delta: Content) -> list[bytes]:
        logprobs = delta.logprobs if self._asked.chat.logprobs else ()
        is_open = self._open is not None and self._open["type"] == "message"
        if not delta.text:
            # Without words before them, they are those of a marker.
            return self._flush(logprobs) if is_open else []
        frames = []
        if not is_open:
            frames = self._item("message", {"role": "assistant", "content": []})
            assert self._open is not None
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self._open["content"].append(part)
            frames.append(self._of_part("response.content_part.added", part=part))
        self._waiting.append(delta.text)
        if self._asked.chat.logprobs and not logprobs:
            return frames
        return frames + self._flush(logprobs)

    def _flush(self, logprobs: Sequence[Logprobs]) -> list[bytes]:
        text = "".join(self._waiting)
        self._waiting = []
        if not text and not logprobs:
            return []
        assert self._open is not None
        (part,) = self._open["content"]
        rows = [_logprobs_json(row) for row in logprobs]
        part["text"] += text
        part["logprobs"] += rows
        return [self._of_part("response.output_text.delta", delta=text, logprobs=rows)]

    def _called(self, text: str) -> list[bytes]:
        if not text:
            return []
        assert self._open is not None
        self._open["arguments"] += text
        return [self._of_item("response.function_call_arguments.delta", delta=text)]

    # Frames

    def _of_part(self, kind: str, **rest: Any) -> bytes:
        return self._of_item(kind, content_index=0, **rest)

    def _of_item(self, kind: str, **rest: Any) -> bytes:
        """An event about the item that is open."""
        where: Item = {"output_index": len(self._items) - 1}
        if "item" not in rest:
            assert self._open is not None
            where["item_id"] = self._open["id"]
        return self._event(kind, **where, **rest)

    def _event(self, kind: str, **rest: Any) -> bytes:
        value = {"type": kind, "sequence_number": self._count, **rest}
        self._count += 1
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return f"event: {kind}\ndata: {text}\n\n".encode(errors="replace")

    # The response

    def _response(self, status: str, error: Mapping[str, str] | None = None) -> dict[str, Any]:
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": error,
            "incomplete_details": cut,
            "output": [dict(item) for item in self._items],
            "usage": None if self._usage is None else _usage_json(self._usage),
            **self._asked.repeated,
        }

    def _keep(self, response: Mapping[str, Any]) -> None:
        if self._asked.store:
            messages = self._asked.messages
            if self._asked.chat.continues_last:
                messages = (*messages[:-1], _joined(messages[-1], _message_of(self._items)))
            else:
                messages = (*messages, _message_of(self._items))
            self._store.put(self.response_id, KeptResponse(response, messages))


def _message_of(items: Sequence[Item]) -> Message:
    """All that the model did, as a message of the conversation."""
    thought, said, calls = "", "", []
    for item in items:
        if item["type"] == "reasoning":
            thought += "".join(part["text"] for part in item.get("content") or item["summary"])
        elif item["type"] == "message":
            said += "".join(part["text"] for part in item["content"])
        else:
            calls.append(ToolCall(item["call_id"], item["name"], item["arguments"]))
    return Message("assistant", (Text(said),) if said else (), thought or None, tuple(calls))


def _joined(begun: Message, more: Message) -> Message:
    """A message of the model, and what it said when it went on with it."""
    thought = (begun.reasoning or "") + (more.reasoning or "")
    return replace(
        begun,
        parts=(*begun.parts, *more.parts),
        reasoning=thought or None,
        tool_calls=more.tool_calls,
    )


def _logprobs_json(row: Logprobs) -> dict[str, Any]:
    return _logprob_json(row.chosen) | {"top_logprobs": [_logprob_json(one) for one in row.top]}


def _logprob_json(row: TokenLogprob) -> dict[str, Any]:
    logprob = max(row.logprob, _LEAST_LOGPROB)
    return {"token": row.token, "bytes": list(row.bytes), "logprob": logprob}


def _usage_json(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
