"""Calls told from content while an answer comes, one character after the other.

A character is all that any state depends on, so an answer reads the same however it is cut. Each
family of models says what its calls look like (`CallReader.block`); this holds back what may yet be
a marker, and gives back as content what turned out to be no call: no word is lost.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import ClassVar, Final

from transom_api.deltas import CallArguments, CallBegins, Content, Delta, Reasoning

NewId = Callable[[], str]
Block = Generator[None, str, str]
"""Sent one character after the other, "" when the text is over; returns text to read again."""
Sink = Callable[[str], None]

# White space held back because a call may follow; models that are held to JSON write it for ever.
MAX_SPACE: Final = 256


class NotACall(Exception):
    """What looked like a call is none; its text is content."""


class Enough(Exception):
    """Another call, where only one was allowed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a reader has to know: the names that may be called, and how calls get their ids.

    `kinds` are JSON Schema's types of arguments, by (name of the tool, of the argument)."""

    names: frozenset[str]
    new_id: NewId
    parallel: bool = True
    kinds: Mapping[tuple[str, str], object] = field(default_factory=dict, hash=False)


class CallReader:
    """Reader of one answer; a family says how its calls begin and go on.

    `openers` are markers that begin calls; with a character of `bare` a call may begin without one
    as the first thing of an answer. `marks` are all texts that it looks for, many of them special
    tokens, which engines do not show unless told to.
    """

    openers: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[str, ...]] = ()
    bare: ClassVar[str] = ""

    def __init__(self, choice: int, offer: Offer) -> None:
        self._choice = choice
        self.offer = offer
        self._queue: deque[str] = deque()
        self._deltas: list[Delta] = []
        self._space = ""
        self._partial = ""
        self._opener = ""
        self._raw: list[str] = []
        self._block: Block | None = None
        self._calls = 0
        self._is_start = True
        self._is_over = False
        self.ended = False

    def feed(self, text: str) -> list[Delta]:
        """See `transom_api.session.AnswerReader`."""
        self._queue.extend(text)
        self._run()
        return self._take_deltas()

    def finish(self) -> list[Delta]:
        """See `transom_api.session.AnswerReader`."""
        self.ended = True
        while self._block is not None:
            self._advance("")
            self._run()
        held = "" if self._is_over or (self._calls and not self._partial) else self._space
        self._say(held + self._partial)
        return self._take_deltas()

    def block(self, opener: str) -> Block:
        """Calls that begin with `opener`. Raises `NotACall`."""
        raise NotImplementedError

    def begin(self, name: str) -> None:
        """A call begins. Raises `NotACall` for a name that was not offered."""
        if name not in self.offer.names:
            raise NotACall
        if self._calls and not self.offer.parallel:
            raise Enough
        self.accept()
        self._deltas.append(CallBegins(self._choice, self._calls, self.offer.new_id(), name))
        self._calls += 1

    @property
    def has_called(self) -> bool:
        """Whether a call has begun in this answer."""
        return self._calls > 0

    def arguments(self, text: str) -> None:
        """More of the arguments of the call that began last."""
        self._deltas.append(CallArguments(self._choice, self._calls - 1, text))

    def reason(self, text: str) -> None:
        """Words that are thought, in families that think between calls."""
        if text:
            self._deltas.append(Reasoning(self._choice, text))

    def say(self, text: str) -> None:
        """Words of the answer inside of a block."""
        self._say(text)

    def accept(self) -> None:
        """A block is what it looked like, so white space before it was layout."""
        self._space = ""
        self.settle()

    def settle(self) -> None:
        """What was read so far has its place, and is never content."""
        self._opener = ""
        self._raw.clear()

    def _run(self) -> None:
        while self._queue:
            char = self._queue.popleft()
            if self._is_over:
                continue
            if self._block is None:
                self._read_content(char)
            else:
                self._advance(char)

    def _read_content(self, char: str) -> None:
        marker = self._partial + char
        if any(opener.startswith(marker) for opener in self.openers):
            self._partial = marker
            if marker in self.openers:
                self._partial = ""
                self._open(marker)
        elif self._partial:
            # The first character begins no marker; one of the others may.
            self._partial = ""
            self._say(self._space + marker[0])
            self._space = ""
            self._queue.extendleft(reversed(marker[1:]))
        elif char.isspace() and len(self._space) < MAX_SPACE:
            self._space += char
        elif self._is_start and char in self.bare:
            self._open(char)
        else:
            self._say(self._space + char)
            self._space = ""

    def _open(self, opener: str) -> None:
        self._opener, self._is_start = opener, False
        self._raw.clear()
        self._block = self.block(opener)
        self._send(None)

    def _advance(self, char: str) -> None:
        self._raw.append(char)
        self._send(char)

    def _send(self, char: str | None) -> None:
        assert self._block is not None
        try:
            if char is None:
                next(self._block)
            else:
                self._block.send(char)
        except StopIteration as stop:
            self._block = None
            self._queue.extendleft(reversed(stop.value))
            self._is_over = bool(self._calls) and not self.offer.parallel
        except NotACall:
            self._fall_back()
        except Enough:
            self._block, self._is_over = None, True

    def _fall_back(self) -> None:
        self._block = None
        if self._opener:
            self._say(self._space + self._opener)
            self._space = ""
        self._queue.extendleft(reversed("".join(self._raw)))
        self.settle()

    def _say(self, text: str) -> None:
        if text:
            self._is_start = False
            self._deltas.append(Content(self._choice, text))

    def _take_deltas(self) -> list[Delta]:
        deltas, self._deltas = joined(self._deltas), []
        return deltas


def joined(deltas: Iterable[Delta]) -> list[Delta]:
    """Pieces of the same thing next to each other become one."""
    found: list[Delta] = []
    for _, group in groupby(deltas, lambda delta: (type(delta), getattr(delta, "call", None))):
        pieces = list(group)
        first = pieces[0]
        if len(pieces) > 1 and isinstance(first, Content | Reasoning | CallArguments):
            found.append(replace(first, text="".join(piece.text for piece in pieces)))  # type: ignore[union-attr]
        else:
            found += pieces
    return found
