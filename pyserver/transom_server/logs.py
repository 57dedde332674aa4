"""How the log is written: as text or as JSON, one line an event, to stderr or to a file.

No line holds what a prompt, an answer or a key says. Events name what they tell by fields; of an
unexpected exception the log has its kind and where it came from, and its words at `debug` only:
they may quote what was sent. Knows no events.
"""

import json
import logging
import sys
import threading
import time
import traceback
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final

# Root of this package's loggers, and of what serves it.
_LOGGERS: Final = ("transom_server", "waitress")
# Of a text in a field: a model's name is shorter, the last words of a child are not.
MAX_FIELD_CHARS: Final = 500
_LOCK: Final = threading.Lock()


def event(logger: logging.Logger, level: int, name: str, **fields: Any) -> None:
    """Log an event; fields without a value are left out."""
    if logger.isEnabledFor(level):
        kept = {key: value for key, value in fields.items() if value is not None}
        logger.log(level, "%s", name, extra={"fields": kept})


def start_log(form: str, level: str, file: Path | None) -> None:
    """Write as told from now on, also when it was told otherwise before. Raises `OSError`."""
    with _LOCK:
        handler: logging.Handler
        if file is None:
            handler = logging.StreamHandler(sys.stderr)
        else:
            # Follows the file when somebody moves it away.
            handler = WatchedFileHandler(file, encoding="utf-8")
        handler.setFormatter(_Formatter(form == "json", tells_words=level == "debug"))
        root = logging.getLogger()
        old = list(root.handlers)
        root.addHandler(handler)
        for one in old:
            root.removeHandler(one)
            if isinstance(one, logging.FileHandler):
                one.close()
        root.setLevel(logging.WARNING)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(level.upper() if name == _LOGGERS[0] else "WARNING")


class _Formatter(logging.Formatter):
    def __init__(self, is_json: bool, tells_words: bool) -> None:
        super().__init__()
        self._is_json = is_json
        self._tells_words = tells_words

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        row: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": _event(record),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            row["error"] = _told(record.exc_info[1], self._tells_words)
        row = {key: _short(value) for key, value in row.items()}
        if self._is_json:
            return json.dumps(row, ensure_ascii=False, default=str)
        head = f"{row.pop('time')} {row.pop('level')} {_line(row.pop('event'))}"
        return " ".join([head, *(f"{key}={_plain(value)}" for key, value in row.items())])


def _event(record: logging.LogRecord) -> str:
    text = record.getMessage()
    # waitress names the address, which may hold what somebody typed.
    return text.partition(" while serving ")[0] if record.name == "waitress" else text


def _told(error: BaseException, tells_words: bool) -> str:
    """An exception in one line: its kind, and the calls it came through, the last first."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-8:])
    calls = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames)
    words = f": {error}" if tells_words else ""
    return f"{type(error).__name__}{words} at {calls}"


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_FIELD_CHARS:
        return value[:MAX_FIELD_CHARS] + "…"
    return value


def _plain(value: Any) -> str:
    """A value in a line of text: quoted when it would not be one word."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _line(text: str) -> str:
    """Nobody writes lines of their own into the log."""
    return "".join(char if char.isprintable() else "?" for char in text)
