"""How fast this machine was the last time, so that a plan can say how long the next one takes.

One small file in the cache folder; without it, figures of a slow machine are used and said to be
such. Knows no step of the walk.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from transom_compile.durable import write_durably
from transom_compile.library_cache import cache_folder

RATES_NAME = "rates.json"
# A file of a few hundred bytes; a larger one is not ours.
MAX_RATES_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes a second by phase, of what goes in (convert, merge, quantize) or comes out (repack);
    `library_seconds` of one compiler alone. `measured`: phases that this machine has done."""

    bytes_per_second: Mapping[str, float]
    library_seconds: float
    measured: tuple[str, ...] = ()


# Two cores of 2026's cheapest kind of server, with other work going on.
ELSEWHERE = Rates(
    {"repack": 200e6, "convert": 100e6, "merge": 60e6, "quantize": 15e6},
    library_seconds=9.0,
)


def read_rates() -> Rates:
    """What this machine did before, and `ELSEWHERE` for the rest. A damaged file counts as none."""
    path = cache_folder().parent / RATES_NAME
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_RATES_BYTES))
        known = {
            name: float(document["bytes_per_second"][name])
            for name in ELSEWHERE.bytes_per_second
            if name in document["bytes_per_second"]
        }
        seconds = float(document.get("library_seconds") or 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ELSEWHERE
    known = {name: rate for name, rate in known.items() if 0 < rate < float("inf")}
    measured = tuple(known) + (("libraries",) if seconds > 0 else ())
    return Rates(
        {**ELSEWHERE.bytes_per_second, **known},
        seconds if seconds > 0 else ELSEWHERE.library_seconds,
        measured,
    )


def remember_rates(bytes_per_second: Mapping[str, float], library_seconds: float | None) -> None:
    """Note what was measured now; what was not keeps its older figure."""
    before = read_rates()
    known = {
        name: rate for name, rate in before.bytes_per_second.items() if name in before.measured
    }
    if library_seconds is None and "libraries" in before.measured:
        library_seconds = before.library_seconds
    now = replace(
        before,
        bytes_per_second={**known, **bytes_per_second},
        library_seconds=library_seconds or 0.0,
        measured=(),
    )
    path = cache_folder().parent / RATES_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps(asdict(now), sort_keys=True).encode())
