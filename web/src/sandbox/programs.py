"""Runs programs one after another in one namespace, and tells what they print, show and end with.

Lives in the sandbox (web/src/sandbox/protocol.ts), which is what keeps programs in; nothing here
does. Limits are for the size of an answer, not for safety. Knows no JavaScript.
"""

import ast
import base64
import builtins
import gc
import io
import linecache
import sys
import traceback
import types
from collections.abc import Callable
from inspect import CO_COROUTINE

import plot

Emit = Callable[[str, str, str], None]
"""Kind, text, and a second text: ("image", media type, base64); of others the second is empty."""

# A small model's context window has 4,096 tokens of about four characters: half of it for one
# program's output, and the end of a long output often says more than its middle.
HEAD_CHARACTERS = 6000
TAIL_CHARACTERS = 2000
VALUE_CHARACTERS = 3000
ERROR_CHARACTERS = 3000
FRAMES = 8
"""Of a traceback; recursion has a thousand, which are alike."""
IMAGES = 8
"""Of one program. They are kept with the conversation."""
IMAGE_BYTES = 2 * 1024 * 1024

RESERVE_BYTES = 8 * 1024 * 1024
"""Enough to tell what went wrong when a program has taken all the memory."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}
_DRAWN = {
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
}
_PLOTTING = frozenset({"matplotlib", "pylab", "seaborn", "plotly", "bokeh", "altair"})
_NO_PACKAGES = (
    "Only Python's standard library and the module `plot` are here; packages cannot be installed, "
    "and there is no network."
)
_NO_ZONES = "Names of time zones are not here; write datetime.timezone with an offset."
_PLOT_HINT = "For plots write `import plot`: plot.plot, scatter, bar, hist, title, show."


class Programs:
    """One conversation's namespace."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._images = 0
        self._count = 0
        self._reserve: bytes | None = bytes(RESERVE_BYTES)
        self._output = Output(emit)
        # As a module, so that classes of a program can be pickled and looked up.
        self._main = types.ModuleType("__main__")
        sys.modules["__main__"] = self._main
        sys.stdout = sys.stderr = self._output
        builtins.display = self.display  # type: ignore[attr-defined]
        builtins.input = _nobody_types

    async def run(self, source: str) -> None:
        """Run a program to its end; what goes wrong in it is told, never raised."""
        self._count += 1
        self._images = 0
        name = f"<program {self._count}>"
        lines = source.splitlines(keepends=True)
        linecache.cache[name] = (len(source), None, lines, name)
        value = None
        try:
            body, last = split(source, name)
            await self._execute(compile(body, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
            if last is not None:
                code = compile(last, name, "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                value = await self._execute(code)
            self._show_value(value)
            for figure in plot.take_pending():
                self.display(figure)
            self._output.finish()
        except SystemExit as error:
            self._output.finish()
            if error.code not in (None, 0):
                self._emit("error", f"SystemExit: {error.code}"[:ERROR_CHARACTERS], "")
        except BaseException as error:
            # Without memory, what comes is not always a MemoryError.
            self._reserve = None
            self._output.finish()
            self._emit("error", describe(error, self._is_ours), "")
        if self._reserve is None:
            self._recover()

    def _recover(self) -> None:
        """What a program's variables hold stays; with nothing beside it no other program runs."""
        gc.collect()
        try:
            self._reserve = bytes(RESERVE_BYTES)
            bytes(RESERVE_BYTES)
        except MemoryError:
            self._emit("spent", "", "")

    def display(self, *values: object) -> None:
        """Show each value to the person: pictures as such, everything else as text."""
        for value in values:
            if not self._show_image(value):
                print(value)

    async def _execute(self, code: types.CodeType) -> object:
        result = eval(code, self._main.__dict__)
        return await result if code.co_flags & CO_COROUTINE else result

    def _show_value(self, value: object) -> None:
        if value is None:
            return
        self._main.__dict__["_"] = value
        if not self._show_image(value):
            self._emit("value", cut(repr(value), VALUE_CHARACTERS, 0), "")

    def _show_image(self, value: object) -> bool:
        drawn = draw(value)
        if drawn is None:
            return False
        media_type, data = drawn
        if isinstance(value, plot.Figure):
            plot.mark_shown(value)
        if self._images == IMAGES:
            print(f"(image left out: {IMAGES} is the most that one program shows)")
        elif len(data) > IMAGE_BYTES:
            print(f"(image left out: {len(data)} bytes; {IMAGE_BYTES} is the most)")
        else:
            self._images += 1
            self._output.flush()
            self._emit("image", media_type, base64.b64encode(data).decode())
        return True

    @staticmethod
    def _is_ours(filename: str) -> bool:
        return filename.startswith("<program ")


class Output(io.TextIOBase):
    """What a program prints: the first of it as it comes, and at the end the last of it."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._waiting = ""
        self._room = HEAD_CHARACTERS
        self._tail = ""
        self._left_out = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        head, rest = text[: self._room], text[self._room :]
        self._room -= len(head)
        self._waiting += head
        if "\n" in head:
            self.flush()
        if rest:
            whole = self._tail + rest
            self._tail = whole[-TAIL_CHARACTERS:]
            self._left_out += len(whole) - len(self._tail)
        return len(text)

    def flush(self) -> None:
        if self._waiting:
            self._emit("output", self._waiting, "")
            self._waiting = ""

    def finish(self) -> None:
        """The program has ended; the next one has all the room again."""
        self.flush()
        if self._left_out:
            self._emit("output", f"\n… {self._left_out} characters left out …\n", "")
        if self._tail:
            self._emit("output", self._tail, "")
        self._room, self._tail, self._left_out = HEAD_CHARACTERS, "", 0


def split(source: str, name: str) -> tuple[ast.Module, ast.Expression | None]:
    """The program without its last expression, and that one. Raises SyntaxError."""
    tree = ast.parse(source, name)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        return tree, None
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    return tree, ast.Expression(last.value)


def draw(value: object) -> tuple[str, bytes] | None:
    """Media type and bytes of what is a picture, or knows how to become one."""
    if isinstance(value, bytes | bytearray):
        data = bytes(value)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return "image/webp", data
        return next(
            ((kind, data) for magic, kind in _MAGIC.items() if data.startswith(magic)), None
        )
    if isinstance(value, type):
        return None
    for method, media_type in _DRAWN.items():
        drawn = getattr(value, method, None)
        if callable(drawn):
            data = drawn()
            if isinstance(data, str):
                data = data.encode()
            if isinstance(data, bytes):
                return media_type, data
    return None


def describe(error: BaseException, is_ours: Callable[[str], bool]) -> str:
    """A traceback of the program's own frames, as Python prints it."""
    found = traceback.TracebackException.from_exception(error)
    seen = set[int]()
    pending: list[traceback.TracebackException | None] = [found]
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        ours = [frame for frame in part.stack if is_ours(frame.filename)]
        part.stack = traceback.StackSummary.from_list(ours[:1] + ours[1:][-FRAMES:])
        pending += [part.__cause__, part.__context__]
    text = "".join(found.format())
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").split(".")[0]
        hints = [_NO_PACKAGES, *([_PLOT_HINT] if top in _PLOTTING else [])]
        text = f"ModuleNotFoundError: No module named '{error.name}'. {' '.join(hints)}"
    if type(error).__name__ == "ZoneInfoNotFoundError":
        text = f"ZoneInfoNotFoundError: {_NO_ZONES}"
    return cut(text.rstrip(), ERROR_CHARACTERS * 2 // 3, ERROR_CHARACTERS // 3)


def cut(text: str, head: int, tail: int) -> str:
    """The beginning and the end of a long text, and how much is missing between them."""
    left_out = len(text) - head - tail
    if left_out <= 0:
        return text
    return f"{text[:head]}… {left_out} characters left out …{text[len(text) - tail :]}"


def _nobody_types(prompt: object = "") -> str:
    raise RuntimeError("input() has nobody to ask here: write the value into the program.")
