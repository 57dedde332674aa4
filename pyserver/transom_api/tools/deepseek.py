"""DeepSeek: begin, `function`, separator, name, and the arguments in a fence; since V3.1 begin,
name, separator and the arguments alone."""

from collections.abc import Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form, arguments_schema
from transom_api.tools.json_calls import JsonReader
from transom_api.tools.reader import Block, NotACall

_CALLS: Final = "<｜tool▁calls▁begin｜>"  # noqa: RUF001
_CALL: Final = "<｜tool▁call▁begin｜>"  # noqa: RUF001
_SEPARATOR: Final = "<｜tool▁sep｜>"  # noqa: RUF001
_CALL_END: Final = "<｜tool▁call▁end｜>"  # noqa: RUF001
_CALLS_END: Final = "<｜tool▁calls▁end｜>"  # noqa: RUF001
_FENCE: Final = "```"
# Names of functions have 64 characters; the markers and a fence come to as many.
_MAX_HEAD_CHARS: Final = 200


class DeepSeekReader(JsonReader):
    # A call alone is read too: the marker before all of them is often left out.
    openers = (_CALLS, _CALL, _CALLS_END)
    closers = (_CALL_END,)
    marks = (_CALLS, _CALL, _SEPARATOR, _CALL_END, _CALLS_END)

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        if opener == _CALLS_END and self.has_called:
            return ""
        if opener != _CALL:
            head = ""
            while head != _CALL:
                char = yield
                head = (head + char).lstrip()
                if not char or not _CALL.startswith(head):
                    raise NotACall
        head = ""
        while (char := (yield)) != "{":
            head += char
            if not char or len(head) > _MAX_HEAD_CHARS:
                raise NotACall
        first, _, second = head.partition(_SEPARATOR)
        is_fenced = _FENCE in second
        self.begin((second.partition(_FENCE)[0] if is_fenced else first).strip())
        rest = yield from self.json_arguments(char)
        if rest is not None:
            return rest
        tail = ""
        while not tail.endswith(_CALL_END):
            char = yield
            tail += char
            if not char or not _may_end(tail):
                return tail if char else ""
        self.settle()
        return ""


def _may_end(tail: str) -> bool:
    """Whether this may yet become the end of a call, with a fence before it or not."""
    rest = tail.lstrip()
    rest = rest.removeprefix(_FENCE).lstrip() if len(rest) >= len(_FENCE) else rest
    return _CALL_END.startswith(rest) or _FENCE.startswith(rest)


def _forces_fenced(tools: Sequence[Tool], parallel: bool) -> Forced | None:
    if len(tools) != 1:
        return None
    prefill = f"{_CALLS}{_CALL}function{_SEPARATOR}{tools[0].name}\n{_FENCE}json\n"
    return Forced(prefill, arguments_schema(tools[0]))


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced | None:
    if len(tools) != 1:
        return None
    return Forced(f"{_CALLS}{_CALL}{tools[0].name}{_SEPARATOR}", arguments_schema(tools[0]))


DEEPSEEK_FENCED: Final = Form("deepseek", DeepSeekReader, _forces_fenced)
DEEPSEEK: Final = Form("deepseek", DeepSeekReader, _forces)
