"""How long Ollama's requests keep a model loaded, and what is said of a request that cannot be
honoured. Pure."""

import re
from typing import Final

from transom_models.errors import TransomError

DEFAULT_KEEP_SECONDS: Final = 300.0
# Go's longest duration, as Ollama keeps a model "for ever".
MAX_KEEP_SECONDS: Final = 2**63 / 1e9
DURATION: Final = re.compile(r"([+-]?)((?:[0-9]{1,18}(?:\.[0-9]{0,18})?(?:ns|us|µs|ms|s|m|h))+)")
SECONDS: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


class InvalidRequest(TransomError):
    """The request cannot be honoured; the text names the field."""


def read_keep_alive(value: object) -> float:
    """Seconds; a negative value is for ever. Raises `InvalidRequest`."""
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(max(value, -1), MAX_KEEP_SECONDS))
    elif isinstance(value, str):
        seconds = _duration(value)
    if seconds is None or seconds != seconds:
        raise InvalidRequest(
            f"keep_alive: {value!r:.40} is not a duration as 5m, nor seconds; -1 is for ever"
        )
    return min(seconds, MAX_KEEP_SECONDS) if seconds >= 0 else MAX_KEEP_SECONDS


def _duration(text: str) -> float | None:
    """Go's durations, and a bare number as seconds."""
    if SECONDS.fullmatch(text):
        return float(text)
    match = DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = sum(
        float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(match[2])
    )
    return -seconds if match[1] == "-" else seconds
