"""An HTTP answer, read: its JSON or its frames, the same whatever is by nature another each time.

Knows the dialects' shapes from their makers' documents, not from our writers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
# Ids of requests, answers and calls: letters and digits that nobody could guess.
_ID: Final = re.compile(
    r"\b(chatcmpl-|cmpl-|msg_|resp_|rs_|fc_|call_|req_)([0-9a-f]{16,}|[0-9a-z]{20,})\b"
)
# Times, and how long something took here.
_TIMES: Final = re.compile(
    r'("(?:created|created_at|modified_at|expires_at|total_duration|load_duration|load_ms)": ?)'
    r'("[^"]*"|-?[0-9.e+-]+)'
)
_REQUEST_ID: Final = re.compile(r'("request_id": ?)("[^"]*"|null)')


@dataclass
class Answer:
    """`text` is the body in UTF-8."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """By small letters."""
    text: str

    @property
    def type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def is_stream(self) -> bool:
        return self.type.startswith((SSE, NDJSON))

    @cached_property
    def value(self) -> Any:
        """The JSON of the body, or the list of a stream's frames; `[DONE]` is a text."""
        if self.type.startswith(SSE):
            return [_event(block) for block in _blocks(self.text)]
        if self.type.startswith(NDJSON):
            assert self.text.endswith("\n"), self.text[-200:]
            # As Python's clients do it, to whom more characters are ends of lines than to others.
            return [json.loads(line) for line in self.text.splitlines()]
        is_json = self.type.startswith("application/json") and self.text
        return json.loads(self.text) if is_json else self.text

    @cached_property
    def normal(self) -> str:
        """The body as it has to be wherever it is made."""
        numbers: dict[str, int] = {}

        def numbered(match: re.Match[str]) -> str:
            # An item's id is that of its response and a number of two letters.
            secret, rest = match[2][:16], ""
            if match[1] in ("rs_", "fc_", "msg_") and len(match[2]) > 48:
                rest = "." + match[2][48:]
            return f"{match[1]}{numbers.setdefault(secret, len(numbers))}{rest}"

        text = _TIMES.sub(r"\g<1>0", _ID.sub(numbered, self.text))
        return _REQUEST_ID.sub(r'\g<1>""', text)


def _blocks(text: str) -> list[str]:
    """Events as the standard has them: each ends with an empty line."""
    assert not text or text.endswith("\n\n"), text[-200:]
    return text.split("\n\n")[:-1]


def _event(block: str) -> Any:
    name: str | None = None
    data: list[str] = []
    for line in block.split("\n"):
        kind, _, rest = line.partition(": ")
        assert kind in ("event", "data"), line
        if kind == "event":
            name = rest
        else:
            data.append(rest)
    (text,) = data
    value: Any = text if text == "[DONE]" else json.loads(text)
    # Clients go by either.
    assert name is None or name == value["type"], block
    return value


def at(value: Any, path: str) -> Any:
    """What a path as `choices.0.message` leads to; `#` is how many there are, `@keys` the names of
    an object in their order. Raises `KeyError`, `IndexError`."""
    words = path.split(".") if path else []
    for word in words:
        if word == "#":
            value = len(value)
        elif word == "@keys":
            value = list(value)
        elif isinstance(value, list):
            value = value[int(word)]
        else:
            value = value[word]
    return value


@dataclass
class Said:
    """What an answer says in any dialect. Finish reasons are the dialect's own words."""

    texts: dict[int, str] = field(default_factory=dict)
    """By choice."""
    thought: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Name and arguments; a text where they are no JSON."""
    finish: list[Any] = field(default_factory=list)

    @property
    def text(self) -> Any:
        """One text, or a list of several choices'."""
        found = [self.texts[choice] for choice in sorted(self.texts)]
        return found[0] if len(found) == 1 else found


def said_in(path: str, answer: Answer) -> Said:
    """`path` is what was asked."""
    value = answer.value
    if path.startswith("/v1/messages"):
        return _of_anthropic(value)
    if path.startswith("/v1/responses"):
        return _of_responses(value)
    if path.startswith("/v1/"):
        return _of_openai(value)
    return _of_ollama(value)


def _of_openai(value: Any) -> Said:
    said, calls = Said(), dict[tuple[int, int], list[str]]()
    ends: dict[int, Any] = {}
    for frame in value if isinstance(value, list) else [value]:
        if frame == "[DONE]":
            continue
        for row in frame.get("choices", ()):
            number = row["index"]
            part = row.get("message") or row.get("delta") or {}
            words = row.get("text") if "text" in row else part.get("content")
            said.texts[number] = said.texts.get(number, "") + (words or "")
            said.thought += part.get("reasoning_content") or ""
            found = part.get("tool_calls") or []
            if "function_call" in part:
                found = [{"function": part["function_call"]}]
            for place, call in enumerate(found):
                held = calls.setdefault((number, call.get("index", place)), ["", ""])
                held[0] += call["function"].get("name") or ""
                held[1] += call["function"].get("arguments") or ""
            if row["finish_reason"] is not None:
                assert number not in ends, "two ends of one answer"
                ends[number] = row["finish_reason"]
    said.calls = [(name, _json(text)) for name, text in calls.values()]
    said.finish = [ends[number] for number in sorted(ends)]
    return said


def _of_anthropic(value: Any) -> Said:
    said = Said({0: ""})
    if isinstance(value, dict):
        for block in value["content"]:
            if block["type"] == "text":
                said.texts[0] += block["text"]
            elif block["type"] == "thinking":
                said.thought += block["thinking"]
            else:
                said.calls.append((block["name"], block["input"]))
        said.finish = [value["stop_reason"]]
        return said
    inputs: dict[int, list[str]] = {}
    for frame in value:
        block, delta = frame.get("content_block", {}), frame.get("delta", {})
        if block.get("type") == "tool_use":
            assert block["input"] == {}
            inputs[frame["index"]] = [block["name"], ""]
        said.texts[0] += delta.get("text", "")
        said.thought += delta.get("thinking", "")
        if "partial_json" in delta:
            inputs[frame["index"]][1] += delta["partial_json"]
        if "stop_reason" in delta:
            said.finish.append(delta["stop_reason"])
    said.calls = [(name, _json(text or "{}")) for name, text in inputs.values()]
    return said


def _of_responses(value: Any) -> Said:
    if isinstance(value, list):
        # The last event has the whole; the deltas have to add up to it.
        text = "".join(f["delta"] for f in value if f["type"] == "response.output_text.delta")
        whole = _of_responses(value[-1]["response"])
        assert whole.text == text or value[-1]["type"] == "response.failed", (whole.text, text)
        return whole
    said = Said({0: ""}, finish=[value["status"]])
    for item in value["output"]:
        if item["type"] == "message":
            said.texts[0] += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            parts = item.get("content") or item["summary"]
            said.thought += "".join(part["text"] for part in parts)
        else:
            said.calls.append((item["name"], _json(item["arguments"])))
    return said


def _of_ollama(value: Any) -> Said:
    said = Said({0: ""})
    for frame in value if isinstance(value, list) else [value]:
        part = frame.get("message") or {"content": frame.get("response", "")} | frame
        said.texts[0] += part.get("content") or ""
        said.thought += part.get("thinking") or ""
        for call in part.get("tool_calls", ()):
            said.calls.append((call["function"]["name"], call["function"]["arguments"]))
        if frame.get("done"):
            said.finish.append(frame["done_reason"])
    return said


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
