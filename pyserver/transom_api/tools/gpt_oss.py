"""gpt-oss: every message has a channel. `<|channel|>analysis<|message|>…<|end|>` is thought,
`<|channel|>commentary to=functions.name <|constrain|>json<|message|>{…}<|call|>` a call."""

import re
from collections.abc import Generator, Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form, arguments_schema
from transom_api.tools.json_calls import JsonReader
from transom_api.tools.reader import Block, NotACall, Sink

_CHANNEL: Final = "<|channel|>"
_START: Final = "<|start|>"
_MESSAGE: Final = "<|message|>"
_ENDS: Final = ("<|end|>", "<|call|>", "<|return|>")
_CALLED: Final = re.compile(r"\bto=functions\.([^\s<]+)")
# A name of 64 characters and six markers.
_MAX_HEAD_CHARS: Final = 240


class GptOssReader(JsonReader):
    openers = (_CHANNEL, _START, *_ENDS)
    closers = _ENDS
    marks = (*openers, _MESSAGE, "<|constrain|>")

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        if opener in _ENDS:
            self.accept()
            return ""
        head = opener
        while not head.endswith(_MESSAGE):
            char = yield
            head += char
            if not char or len(head) > _MAX_HEAD_CHARS:
                raise NotACall
        if called := _CALLED.search(head):
            char = yield from self.next_word()
            if char != "{":
                raise NotACall
            self.begin(called[1])
            rest = yield from self.json_arguments(char)
            return rest or ""
        self.accept()
        is_thought = head.partition(_CHANNEL)[2].startswith("analysis")
        return (yield from self._body(self.reason if is_thought else self.say))

    def _body(self, give: Sink) -> Generator[None, str, str]:
        """Words up to the end of the message, or to where another one begins."""
        held = ""
        while char := (yield):
            held += char
            if held in _ENDS:
                held = ""
                break
            if held in (_START, _CHANNEL):
                break
            while held and not any(marker.startswith(held) for marker in self.openers):
                give(held[0])
                held = held[1:]
        else:
            give(held)
            held = ""
        self.settle()
        return held


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced | None:
    if len(tools) != 1:
        return None
    return Forced(
        f"{_CHANNEL}commentary to=functions.{tools[0].name} <|constrain|>json{_MESSAGE}",
        arguments_schema(tools[0]),
    )


GPT_OSS: Final = Form("gpt-oss", GptOssReader, _forces)
