"""What another server that speaks OpenAI's dialect streams, as pieces of an answer.

    reader = EventReader()                       bytes as they come -> data of whole events
    chunks = ChunkReader(choices, new_id)
    deltas = chunks.feed(data)                   for each event but `[DONE]`
    usage = chunks.finish()

The other side may send anything: what is not a chunk is one clear `BadAnswer`. Pure.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeGuard

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
from transom_models.errors import TransomError

DONE: Final = "[DONE]"
# One event can be a whole call with a file in its arguments, or log-probabilities of many tokens.
MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
# OpenAI gives 128 tools at most; nobody calls more of them in one answer.
MAX_CALLS: Final = 1000
MAX_TOP_LOGPROBS: Final = 1000
MAX_FIGURE: Final = 2**53
_SHOWN: Final = 200
_REASONS: Final[Mapping[str, Finish]] = {
    "stop": "stop",
    "eos_token": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class BadAnswer(TransomError):
    """The other server does not answer as OpenAI's dialect has it."""


class ReportedError(TransomError):
    """The other server says in its stream that it failed."""


class EventReader:
    """Server-sent events, fed as their bytes come. Keeps no more than one event."""

    def __init__(self, most: int = MAX_EVENT_BYTES) -> None:
        self._most = most
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, data: bytes) -> Iterator[str]:
        """The data of each event that is whole by now. Raises `BadAnswer`."""
        # Looked for in what is new only: a line may trickle in.
        head, found, rest = data.rpartition(b"\n")
        self._rest += head if found else rest
        lines = bytes(self._rest).split(b"\n") if found else []
        if found:
            self._rest = bytearray(rest)
        for line in lines:
            # A carriage return before the line's end, or as blank as it alone.
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._hold(line[5:].removeprefix(b" "))
            elif not line and self._data:
                text = b"\n".join(self._data)
                self._data, self._held = [], 0
                yield _text(text)
        if len(self._rest) + self._held > self._most:
            self._too_long()

    def _hold(self, data: bytes) -> None:
        self._held += len(data)
        if self._held > self._most:
            self._too_long()
        self._data.append(data)

    def _too_long(self) -> NoReturn:
        raise BadAnswer(f"an event of its stream is longer than {self._most} bytes")


class ChunkReader:
    """Chunks of chats and of completions alike. `new_id` names calls that come without an id."""

    def __init__(self, choices: int, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._calls: list[dict[int, int]] = [{} for _ in range(choices)]
        """Of each choice: the other side's number of a call -> ours, in their order."""
        self._open = set(range(choices))
        self._pieces = 0
        self._usage: Usage | None = None
        self._timings: Mapping[str, Any] = {}

    def feed(self, data: str) -> list[Delta]:
        """Pieces in an event. Raises `BadAnswer`, `ReportedError`."""
        chunk = _json(data)
        if chunk.get("error"):
            raise ReportedError(error_text(chunk) or "it gives no reason")
        if isinstance(chunk.get("usage"), dict):
            self._usage = _usage(chunk["usage"])
        if isinstance(chunk.get("timings"), dict):
            self._timings = chunk["timings"]
        found: list[Delta] = []
        for row in _rows(chunk.get("choices")):
            found += self._choice(row)
        return found

    def finish(self) -> Usage:
        """What it took, once the stream is over. Raises `BadAnswer` when an answer has no end."""
        if self._open:
            raise BadAnswer("its stream ends in the middle of an answer")
        # Without figures a piece counts as a token, which it nearly always is.
        usage = self._usage or Usage(0, 0, self._pieces)
        return Usage(
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.reasoning_tokens,
            load_seconds=_number(self._timings.get("load_ms")) / 1e3,
            prompt_seconds=_number(self._timings.get("prompt_ms")) / 1e3,
            completion_seconds=_number(self._timings.get("predicted_ms")) / 1e3,
        )

    def _choice(self, row: Mapping[str, Any]) -> list[Delta]:
        choice = row.get("index", 0)
        if type(choice) is not int or not 0 <= choice < len(self._calls):
            _refuse("choices[].index", choice)
        if choice not in self._open:
            # Some send a last, empty piece after the end.
            return []
        if "text" in row:  # a completion
            delta: Mapping[str, Any] = {"content": row["text"]}
            logprobs = _old_logprobs(row.get("logprobs"))
        else:
            delta = row.get("delta") or {}
            logprobs = _logprobs(row.get("logprobs"))
        if not isinstance(delta, dict):
            _refuse("delta", delta)
        found: list[Delta] = []
        # vLLM and OpenRouter call it shorter.
        thought = _words(delta, "reasoning_content") or _words(delta, "reasoning")
        if thought:
            found.append(Reasoning(choice, thought))
        words = _words(delta, "content") + _words(delta, "refusal")
        if words or logprobs:
            found.append(Content(choice, words, logprobs))
        if isinstance(delta.get("function_call"), dict):
            found += self._call(choice, {"index": 0, "function": delta["function_call"]})
        for call in _rows(delta.get("tool_calls")):
            found += self._call(choice, call)
        self._pieces += bool(found)
        return [*found, *self._end(choice, row)]

    def _call(self, choice: int, row: Mapping[str, Any]) -> list[Delta]:
        calls = self._calls[choice]
        function = row.get("function") or {}
        if not isinstance(function, dict):
            _refuse("function", function)
        number = row.get("index", len(calls))
        if type(number) is not int:
            _refuse("tool_calls[].index", number)
        found: list[Delta] = []
        if number not in calls:
            name = _words(function, "name")
            if not name or len(calls) >= MAX_CALLS:
                _refuse("tool_calls[].function.name", name)
            calls[number] = len(calls)
            identity = _words(row, "id") or self._new_id()
            found.append(CallBegins(choice, calls[number], identity, name))
        elif calls[number] != len(calls) - 1:
            raise BadAnswer("its calls come mixed with each other")
        arguments = function.get("arguments") or ""
        # Some give the object itself.
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        return [*found, CallArguments(choice, calls[number], text)] if text else found

    def _end(self, choice: int, row: Mapping[str, Any]) -> list[Delta]:
        reason = row.get("finish_reason")
        if reason is None or reason == "":
            return []
        if not isinstance(reason, str) or reason not in _REASONS:
            raise ReportedError(f"it ended the answer early: {_shown(reason)}")
        self._open.discard(choice)
        stop = row.get("stop_reason")  # vLLM's: the text that ended it, or a token
        return [Ended(choice, _REASONS[reason], stop if isinstance(stop, str) else None)]


def error_text(body: object) -> str:
    """What an error's body says, in whichever of the usual shapes; empty where it says nothing."""
    for _ in range(3):
        if isinstance(body, str):
            return " ".join(body.split())[:1000]
        if not isinstance(body, dict):
            return ""
        body = body.get("error") or body.get("message") or body.get("detail")
    return ""


def error_code(body: object) -> str:
    """OpenAI's `code` or `type` of an error's body."""
    error = body.get("error") if isinstance(body, dict) else None
    row = error if isinstance(error, dict) else {}
    return next((row[key] for key in ("code", "type") if isinstance(row.get(key), str)), "")


def read_embeddings(body: object, count: int) -> tuple[tuple[tuple[float, ...], ...], int]:
    """Vectors in the order of their texts, and tokens. Raises `BadAnswer`."""
    whole = body if isinstance(body, dict) else {}
    found: dict[int, tuple[float, ...]] = {}
    for place, row in enumerate(_rows(whole.get("data"))):
        vector = row.get("embedding")
        if not isinstance(vector, list) or not all(_is_finite(number) for number in vector):
            raise BadAnswer("an embedding is no list of numbers")
        found[_place(row, place)] = tuple(map(float, vector))
    if set(found) != set(range(count)):
        raise BadAnswer(f"{count} texts were sent, and {len(found)} vectors came")
    return tuple(found[number] for number in range(count)), _tokens(whole)


def read_ranking(body: object, count: int) -> tuple[tuple[float, ...], int]:
    """Scores in the order of the documents, and tokens. Raises `BadAnswer`."""
    whole = body if isinstance(body, dict) else {}
    found: dict[int, float] = {}
    for place, row in enumerate(_rows(whole.get("results"))):
        score = row.get("relevance_score")
        if not _is_finite(score):
            raise BadAnswer("a score is no number")
        found[_place(row, place)] = float(score)
    if set(found) != set(range(count)):
        raise BadAnswer(f"{count} documents were sent, and {len(found)} scores came")
    return tuple(found[number] for number in range(count)), _tokens(whole)


def read_tokens(body: object) -> tuple[int, ...]:
    """Token ids. Raises `BadAnswer`."""
    tokens = body.get("tokens") if isinstance(body, dict) else None
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise BadAnswer("it gives no tokens")
    return tuple(tokens)


def read_count(body: object) -> int:
    """How many tokens a conversation is, as another Transom or vLLM says. Raises `BadAnswer`."""
    whole = body if isinstance(body, dict) else {}
    count = whole.get("input_tokens", whole.get("count"))
    if type(count) is not int or not 0 <= count <= MAX_FIGURE:
        raise BadAnswer("it gives no number of tokens")
    return count


def read_detokenized(body: object) -> str:
    """The text of tokens. Raises `BadAnswer`."""
    whole = body if isinstance(body, dict) else {}
    text = whole.get("prompt", whole.get("content"))
    if not isinstance(text, str):
        raise BadAnswer("it gives no text")
    return text


def parse(data: bytes) -> object:
    """A body in JSON. Raises `BadAnswer`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadAnswer(f"its answer is no JSON: {_shown(data[:_SHOWN])}") from None


def _json(data: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadAnswer(f"an event of its stream is no JSON object: {_shown(data)}")
    return value


def _rows(value: object) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise BadAnswer(f"a list of objects was expected, not {_shown(value)}")
    return value


def _place(row: Mapping[str, Any], place: int) -> int:
    index = row.get("index", place)
    return index if type(index) is int else _refuse("index", index)


def _words(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(name, value)
    # Half a surrogate pair, which JSON can spell and UTF-8 cannot.
    return value.encode(errors="replace").decode() if "\ud800" <= max(value, default="") else value


def _usage(row: Mapping[str, Any]) -> Usage:
    read, written = row.get("prompt_tokens_details"), row.get("completion_tokens_details")
    read, written = (each if isinstance(each, dict) else {} for each in (read, written))
    prompt = _figure(row.get("prompt_tokens"))
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=min(prompt, _figure(read.get("cached_tokens"))),
        completion_tokens=_figure(row.get("completion_tokens")),
        reasoning_tokens=_figure(written.get("reasoning_tokens")),
    )


def _tokens(body: Mapping[str, Any]) -> int:
    usage = body.get("usage")
    row = usage if isinstance(usage, dict) else {}
    return _figure(row.get("prompt_tokens")) or _figure(row.get("total_tokens"))


def _figure(value: object) -> int:
    return value if type(value) is int and 0 <= value <= MAX_FIGURE else 0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value <= MAX_FIGURE else 0.0


def _is_finite(value: object) -> TypeGuard[float]:
    # A whole number may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e300 < value < 1e300


def _logprobs(value: object) -> tuple[Logprobs, ...]:
    if not isinstance(value, dict):
        return ()
    found = []
    for row in _rows(value.get("content")):
        top = _rows(row.get("top_logprobs"))[:MAX_TOP_LOGPROBS]
        found.append(Logprobs(_token(row), tuple(_token(each) for each in top)))
    return tuple(found)


def _old_logprobs(value: object) -> tuple[Logprobs, ...]:
    """Those of completions: lists side by side."""
    if not isinstance(value, dict):
        return ()
    tokens, chosen = value.get("tokens") or [], value.get("token_logprobs") or []
    tops = value.get("top_logprobs") or [{}] * len(tokens)
    if not (isinstance(tokens, list) and isinstance(chosen, list) and isinstance(tops, list)):
        _refuse("logprobs", value)
    if not len(tokens) == len(chosen) == len(tops):
        _refuse("logprobs", value)
    found = []
    for token, logprob, top in zip(tokens, chosen, tops, strict=True):
        rows = [(name, row) for name, row in (top or {}).items()] if _is_map(top) else []
        others = tuple(_token({"token": name, "logprob": row}) for name, row in rows)
        found.append(Logprobs(_token({"token": token, "logprob": logprob}), others))
    return tuple(found)


def _is_map(value: object) -> bool:
    return isinstance(value, dict)


def _token(row: Mapping[str, Any]) -> TokenLogprob:
    text, logprob, data = _words(row, "token"), row.get("logprob"), row.get("bytes")
    if not isinstance(logprob, int | float) or math.isnan(logprob) or abs(logprob) > MAX_FIGURE:
        _refuse("logprob", logprob)
    if not isinstance(data, list):
        data = list(text.encode())
    if not all(type(each) is int and 0 <= each <= 255 for each in data):
        _refuse("bytes", data)
    number = row.get("id")  # llama-server's, and ours
    return TokenLogprob(text, float(logprob), tuple(data), number if type(number) is int else None)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _refuse(name: str, value: object) -> NoReturn:
    raise BadAnswer(f"{name} of its answer cannot be {_shown(value)}")
