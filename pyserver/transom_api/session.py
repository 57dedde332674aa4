"""One request, from an engine's events to a dialect's frames. Driven by push, so that a thread of
Flask's and an event loop of Pyodide's host it alike.

    session = Session(writer, readers)
    frames = session.begin(prompt_tokens)
    frames = session.feed(event)      # for each TokenEvent and Done
    frames = session.end() | session.fail(error)

Without streaming the same session is fed, and `body` asked at the end. Pure: no clock, no
randomness.
"""

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

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
    Usage,
)
from transom_api.engine import Done, TokenEvent


class AnswerReader(Protocol):
    """Tells reasoning, content and tool calls of one answer apart, as its text comes."""

    def feed(self, text: str) -> Sequence[Delta]:
        """More text. What may yet turn out to be a marker is held back."""
        ...

    def finish(self) -> Sequence[Delta]:
        """The text is over: what was held back, as what it turned out to be."""
        ...


@dataclass(slots=True)
class Answer:
    """One answer put together."""

    content: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[Logprobs] = field(default_factory=list)
    finish: Finish = "stop"
    stop: str | None = None

    def take(self, delta: Delta) -> None:
        if isinstance(delta, Content):
            self.content += delta.text
            self.logprobs += delta.logprobs
        elif isinstance(delta, Reasoning):
            self.reasoning += delta.text
        elif isinstance(delta, CallBegins):
            self.calls.append(ToolCall(delta.id, delta.name, ""))
        elif isinstance(delta, CallArguments):
            call = self.calls[delta.call]
            self.calls[delta.call] = ToolCall(call.id, call.name, call.arguments + delta.text)
        elif isinstance(delta, Ended):
            self.finish, self.stop = delta.reason, delta.stop


class Unread:
    """The reader of an answer that needs none: its pieces are told apart already."""

    def __init__(self, choice: int) -> None:
        pass

    def feed(self, text: str) -> Sequence[Delta]:
        return ()

    def finish(self) -> Sequence[Delta]:
        return ()


class Writer(Protocol):
    """A dialect's frames, and its whole answer."""

    content_type: str

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        """Frames before the first token; 0: nobody knows yet how long the prompt is."""
        ...

    def write(self, delta: Delta) -> list[bytes]:
        """Frames of a piece."""
        ...

    def end(self) -> list[bytes]:
        """Frames after all answers and the usage."""
        ...

    def fail(self, error: Exception) -> list[bytes]:
        """Frames of an error after the first frame went out."""
        ...

    def body(self, answers: Sequence[Answer], usage: Usage) -> Mapping[str, Any]:
        """The answer without streaming."""
        ...


class Session:
    """See the module. `readers` makes an `AnswerReader` for a choice."""

    def __init__(
        self, writer: Writer, readers: Callable[[int], AnswerReader], choices: int = 1
    ) -> None:
        self._writer = writer
        self._readers = [readers(choice) for choice in range(choices)]
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in self._readers]
        self._answers = [Answer() for _ in self._readers]
        self._open = choices
        self._reasons = [False] * len(self._readers)
        self._reasoning_tokens = 0
        self._load_seconds = 0.0
        self._usage = Usage(0, 0, 0)

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        return self._writer.begin(prompt_tokens)

    def loaded(self, seconds: float) -> None:
        """How long the model took to load; 0 when it was there."""
        self._load_seconds = seconds

    def feed(self, event: TokenEvent | Done) -> list[bytes]:
        """Frames of an event; none while its text may still be part of a marker."""
        choice = event.choice
        if isinstance(event, TokenEvent):
            text = self._decoders[choice].decode(event.text)
            deltas = _joined(self._readers[choice].feed(text)) if text else []
            if event.logprobs:
                deltas = _with_logprobs(deltas, choice, event.logprobs)
            self._count_reasoning(event, deltas)
        else:
            rest = self._decoders[choice].decode(b"", final=True)
            deltas = [*(self._readers[choice].feed(rest) if rest else ())]
            deltas += self._readers[choice].finish()
            self._count(event)
        frames = self._take(choice, deltas)
        if isinstance(event, Done):
            frames += self._take(choice, [self._ended(event)])
        return frames

    def pass_on(self, delta: Delta) -> list[bytes]:
        """Frames of a piece that another server has told apart already."""
        if isinstance(delta, Usage):
            self._usage = delta
            return []
        return self._take(delta.choice, [delta])

    def end(self) -> list[bytes]:
        """Frames after the last answer: usage, and the dialect's last word."""
        return [*self._writer.write(self._usage), *self._writer.end()]

    def fail(self, error: Exception) -> list[bytes]:
        """Frames that say what went wrong, after the first frame went out."""
        return self._writer.fail(error)

    def body(self) -> Mapping[str, Any]:
        """Everything at once."""
        return self._writer.body(self._answers, self._usage)

    def _take(self, choice: int, deltas: Sequence[Delta]) -> list[bytes]:
        frames = []
        for delta in deltas:
            self._answers[choice].take(delta)
            frames += self._writer.write(delta)
        return frames

    def _ended(self, done: Done) -> Ended:
        reason: Finish = done.finish_reason
        if reason == "stop" and self._answers[done.choice].calls:
            reason = "tool_calls"
        self._open -= 1
        return Ended(done.choice, reason, done.stop, None if self._open else self._usage)

    def _count(self, done: Done) -> None:
        before = self._usage
        self._usage = Usage(
            # One prompt, whatever the number of answers.
            prompt_tokens=done.prompt_tokens,
            cached_tokens=max(before.cached_tokens, done.cached_tokens),
            completion_tokens=before.completion_tokens + done.completion_tokens,
            reasoning_tokens=self._reasoning_tokens,
            load_seconds=self._load_seconds,
            prompt_seconds=max(before.prompt_seconds, done.prompt_seconds),
            completion_seconds=max(before.completion_seconds, done.completion_seconds),
            drafted_tokens=before.drafted_tokens + done.drafted_tokens,
            accepted_tokens=before.accepted_tokens + done.accepted_tokens,
        )

    def _count_reasoning(self, event: TokenEvent, deltas: Sequence[Delta]) -> None:
        """A token counts as what was said last: also one whose words are held back."""
        for delta in deltas:
            self._reasons[event.choice] = isinstance(delta, Reasoning)
        if self._reasons[event.choice]:
            self._reasoning_tokens += len(event.token_ids)


def _joined(deltas: Sequence[Delta]) -> list[Delta]:
    """Words of one kind in one piece, so that they are one frame."""
    joined: list[Delta] = []
    for delta in deltas:
        last = joined[-1] if joined else None
        if isinstance(delta, Content) and isinstance(last, Content):
            logprobs = last.logprobs + delta.logprobs
            joined[-1] = replace(last, text=last.text + delta.text, logprobs=logprobs)
        elif isinstance(delta, Reasoning) and isinstance(last, Reasoning):
            joined[-1] = replace(last, text=last.text + delta.text)
        else:
            joined.append(delta)
    return joined


def _with_logprobs(deltas: list[Delta], choice: int, logprobs: tuple[Logprobs, ...]) -> list[Delta]:
    """Beside the words they belong to, or alone where those are held back."""
    for number, delta in enumerate(deltas):
        if isinstance(delta, Content):
            return [*deltas[:number], replace(delta, logprobs=logprobs), *deltas[number + 1 :]]
    return [*deltas, Content(choice, "", logprobs)]
