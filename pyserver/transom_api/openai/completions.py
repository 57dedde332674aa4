"""`/v1/completions`: text to go on with as it is, without a chat template."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from transom_api.chat import MAX_CHOICES, MAX_TOP_LOGPROBS, Chat
from transom_api.deltas import Content, Delta, Ended, Logprobs, Usage
from transom_api.fields import Fields
from transom_api.openai.constraint import read_constraint
from transom_api.openai.errors import describe
from transom_api.openai.frames import (
    DONE,
    EVENT_STREAM,
    event,
    logprob_json,
    logprobs_json,
    stop_json,
    timings_json,
    worded,
)
from transom_api.openai.frames import usage_json as usage_of
from transom_api.openai.request import read_common
from transom_api.session import Answer

# Each is a request of its own; evaluation harnesses send batches of some dozens.
MAX_PROMPTS: Final = 128
REFUSED: Final[Mapping[str, str]] = {
    "prompt_embeds": "a prompt is text",
}


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """`chats` are one for each prompt; the rest matters to the form of the answer."""

    chats: tuple[Chat, ...]
    model: str
    """As the request names it."""
    include_usage: bool
    echo: bool
    shows_logprobs: bool
    kept: int
    """Of each prompt's answers, the best so many are given."""

    def writers(self, request_id: str, created: int) -> "list[CompletionWriter]":
        """One for each of `chats`, to be used in this order."""
        found: list[CompletionWriter] = []
        for number in range(len(self.chats)):
            before = found[-1] if found else None
            found.append(CompletionWriter(self, request_id, created, number, before))
        return found


def read_completion(body: object, context: str | None = None) -> CompletionRequest:
    """`context` is the value of the header `CONTEXT_HEADER`. Raises `InvalidField`."""
    fields = Fields(body)
    fields.refuse_if_set(REFUSED)
    asked = read_common(fields, context)
    prompts = _prompts(fields)
    kept = asked.fields["choices"]
    answers = fields.whole("best_of", None, least=1, most=MAX_CHOICES) or kept
    if answers < kept:
        fields.refuse("best_of", f"is less than n, {kept}")
    if answers > kept and asked.fields["stream"]:
        fields.refuse("best_of", "which is the best is known at the end; send stream: false")
    echo = fields.flag("echo", False)
    top = _top_logprobs(fields)
    if echo and top is not None:
        fields.refuse("logprobs", "those of a prompt are not given; leave echo or logprobs out")
    chat = Chat(
        messages=(),
        constraint=read_constraint(fields),
        # How good an answer is, its log-probabilities say.
        logprobs=top is not None or answers > kept,
        top_logprobs=top or 0,
        suffix=fields.text("suffix", None) or None,
        **{**asked.fields, "choices": answers},
    )
    if len(prompts) > 1 and chat.stream:
        fields.refuse("prompt", "one at a time is streamed; send stream: false, or one of them")
    return CompletionRequest(
        chats=tuple(replace(chat, raw_prompt=prompt) for prompt in prompts),
        model=asked.model,
        include_usage=asked.include_usage,
        echo=echo,
        shows_logprobs=top is not None,
        kept=kept,
    )


def _prompts(fields: Fields) -> tuple[str, ...]:
    value = fields.raw("prompt")
    if value is None:
        fields.refuse("prompt", "is missing")
    if isinstance(value, list):
        for number, item in enumerate(value[:MAX_PROMPTS]):
            if isinstance(item, int | list):
                where = "prompt" if isinstance(item, int) else f"prompt[{number}]"
                fields.refuse(where, "tokens are not taken; send the text")
    elif not isinstance(value, str):
        fields.refuse("prompt", "must be a string or a list of strings")
    prompts = fields.texts("prompt", most=MAX_PROMPTS)
    if not prompts:
        fields.refuse("prompt", "is empty")
    for number, prompt in enumerate(prompts):
        if not prompt:
            fields.refuse("prompt" if len(prompts) == 1 else f"prompt[{number}]", "is empty")
    return prompts


def _top_logprobs(fields: Fields) -> int | None:
    """A number, as it was in this route from the first; true is a chat's word for it."""
    if isinstance(fields.raw("logprobs"), bool):
        wanted = fields.flag("logprobs", False)
        top = fields.whole("top_logprobs", 0, least=0, most=MAX_TOP_LOGPROBS)
        return top if wanted else None
    return fields.whole("logprobs", None, least=0, most=MAX_TOP_LOGPROBS)


@dataclass(slots=True)
class CompletionWriter:
    """Answers to one prompt, number `prompt` of the request's. `id` as `cmpl-…`; `created` is Unix
    time in whole seconds. The body of the last prompt's writer is the whole answer."""

    asked: CompletionRequest
    id: str
    created: int
    prompt: int = 0
    before: "CompletionWriter | None" = None
    """Of the prompt before this one; its body is a part of this one's."""
    content_type: str = EVENT_STREAM
    _words: dict[int, Callable[[str], bytes]] = field(default_factory=dict)
    """Makes the chunks of each choice that are words alone."""
    _lengths: dict[int, int] = field(default_factory=dict)
    """Characters of each answer so far, where log-probabilities tell places."""
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _usage: Usage = field(default_factory=lambda: Usage(0, 0, 0))

    @property
    def chat(self) -> Chat:
        return self.asked.chats[self.prompt]

    @property
    def _echoed(self) -> str:
        return (self.chat.raw_prompt or "") if self.asked.echo else ""

    def begin(self, prompt_tokens: int = 0) -> list[bytes]:
        if not self.asked.echo:
            return []
        return [self._chunk(choice, self._echoed) for choice in range(self.asked.kept)]

    def write(self, delta: Delta) -> list[bytes]:
        if isinstance(delta, Content) and not delta.logprobs:
            if delta.choice not in self._words:
                self._words[delta.choice] = worded(partial(self._chunk, delta.choice))
            return [self._words[delta.choice](delta.text)]
        if isinstance(delta, Content):
            start = self._lengths.get(delta.choice, 0)
            logprobs = self._logprobs(delta.logprobs, start)
            self._lengths[delta.choice] = start + sum(
                len(row.chosen.token) for row in delta.logprobs
            )
            return [self._chunk(delta.choice, delta.text, logprobs=logprobs)]
        if isinstance(delta, Ended):
            return [self._chunk(delta.choice, "", end=delta)]
        if isinstance(delta, Usage) and self.asked.include_usage:
            return [event({**self._head(), "choices": [], **self._figures(delta)})]
        return []

    def end(self) -> list[bytes]:
        return [DONE]

    def fail(self, error: Exception) -> list[bytes]:
        # No [DONE] after it: whoever passes over errors must not take the answer for whole.
        return [event(describe(error)[1])]

    def body(self, answers: Sequence[Answer], usage: Usage) -> Mapping[str, Any]:
        best = sorted(answers, key=_goodness, reverse=True) if self._picks else list(answers)
        rows = [
            {
                "index": self._index(choice),
                "text": self._echoed + answer.content,
                "logprobs": self._logprobs(answer.logprobs, 0),
                "finish_reason": answer.finish,
                **stop_json(answer.stop),
            }
            for choice, answer in enumerate(best[: self.asked.kept])
        ]
        self._rows, self._usage = rows, usage
        if self.before is not None:
            self._rows = [*self.before._rows, *rows]
            self._usage = _sum(self.before._usage, usage)
        return {
            **self._head(),
            "choices": self._rows,
            **self._figures(self._usage),
        }

    def _figures(self, usage: Usage) -> dict[str, Any]:
        return {"usage": usage_of(usage), "timings": timings_json(usage)}

    @property
    def _picks(self) -> bool:
        return self.chat.choices > self.asked.kept

    def _index(self, choice: int) -> int:
        return self.prompt * self.asked.kept + choice

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": None,
        }

    def _chunk(
        self,
        choice: int,
        text: str,
        *,
        logprobs: Mapping[str, Any] | None = None,
        end: Ended | None = None,
    ) -> bytes:
        row = {
            "index": self._index(choice),
            "text": text,
            "logprobs": logprobs,
            "finish_reason": None if end is None else end.reason,
            **stop_json(None if end is None else end.stop),
        }
        chunk = {**self._head(), "choices": [row]}
        if self.asked.include_usage:
            chunk["usage"] = None  # it comes in a chunk of its own
        elif end is not None and end.usage is not None:
            chunk |= self._figures(end.usage)
        return event(chunk)

    def _logprobs(self, rows: Sequence[Logprobs], start: int) -> dict[str, Any] | None:
        if not self.asked.shows_logprobs:
            return None
        offsets = []
        for row in rows:
            offsets.append(start)
            start += len(row.chosen.token)
        top = [
            {token.token: logprob_json(token.logprob) for token in (*row.top, row.chosen)}
            for row in rows
        ]
        return {
            "tokens": [row.chosen.token for row in rows],
            "token_logprobs": [logprob_json(row.chosen.logprob) for row in rows],
            "top_logprobs": top if self.chat.top_logprobs else None,
            "text_offset": offsets,
            # The same as chats have it, where llama-server has nothing else.
            "content": logprobs_json(rows),
        }


def _sum(one: Usage, other: Usage) -> Usage:
    """Of several prompts together."""
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        load_seconds=one.load_seconds + other.load_seconds,
        prompt_seconds=one.prompt_seconds + other.prompt_seconds,
        completion_seconds=one.completion_seconds + other.completion_seconds,
    )


def _goodness(answer: Answer) -> float:
    """The mean log-probability of its tokens, so that length counts neither way."""
    rows = [logprob_json(row.chosen.logprob) for row in answer.logprobs]
    return sum(rows) / len(rows) if rows else -float("inf")
