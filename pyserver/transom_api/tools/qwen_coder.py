"""Qwen 3 Coder and 3.5: `<function=name><parameter=key>value</parameter></function>`, most often in
`<tool_call>`. Values are bare text; what they are, the tool's schema says."""

import json
from collections.abc import Generator, Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form
from transom_api.tools.reader import Block, CallReader, NotACall

_CALL: Final = "<tool_call>"
_CALL_END: Final = "</tool_call>"
_FUNCTION: Final = "<function="
_FUNCTION_END: Final = "</function>"
_PARAMETER: Final = "<parameter="
_PARAMETER_END: Final = "</parameter>"
# Names of functions have 64 characters, those of arguments are as short.
_MAX_NAME_CHARS: Final = 128


class QwenCoderReader(CallReader):
    openers = (_CALL, _FUNCTION)
    marks = (_CALL, _CALL_END)

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        if opener == _CALL and (yield from self._next(_FUNCTION)) != _FUNCTION:
            raise NotACall
        name = yield from self._name()
        is_begun = False
        while (yield from self._next(_PARAMETER, _FUNCTION_END)) == _PARAMETER:
            key = yield from self._name()
            value = yield from self._text()
            if not is_begun:
                self.begin(name)
            piece = f"{json.dumps(key)}: {self._json(name, key, value)}"
            self.arguments((", " if is_begun else "{") + piece)
            self.settle()
            is_begun = True
        if not is_begun:
            self.begin(name)
        self.arguments("}" if is_begun else "{}")
        self.settle()
        if opener == _CALL:
            yield from self._next(_CALL_END)
            self.settle()
        return ""

    def _next(self, *words: str) -> Generator[None, str, str]:
        """The next of some words, after white space. Raises `NotACall` for anything else."""
        held = ""
        while held not in words:
            held = (held + (char := (yield))).lstrip()
            if not char or not any(word.startswith(held) for word in words):
                raise NotACall
        return held

    def _name(self) -> Generator[None, str, str]:
        name = ""
        while (char := (yield)) != ">":
            name += char
            if not char or len(name) > _MAX_NAME_CHARS:
                raise NotACall
        return name.strip()

    def _text(self) -> Generator[None, str, str]:
        """A value up to its end. Raises `NotACall` where the answer breaks off in it."""
        found: list[str] = []
        tail = ""
        while not tail.endswith(_PARAMETER_END):
            char = yield
            if not char:
                raise NotACall
            found.append(char)
            tail = (tail + char)[-len(_PARAMETER_END) :]
        text = "".join(found).removesuffix(_PARAMETER_END)
        # The line breaks around it are layout.
        return text.removeprefix("\n").removesuffix("\n")

    def _json(self, name: str, key: str, text: str) -> str:
        if self.offer.kinds.get((name, key)) != "string":
            try:
                return json.dumps(json.loads(text), ensure_ascii=False)
            except (ValueError, RecursionError):
                pass
        return json.dumps(text, ensure_ascii=False)


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced | None:
    # Its calls are no JSON; the generic form serves.
    return None


QWEN_CODER: Final = Form("qwen-coder", QwenCoderReader, _forces)
