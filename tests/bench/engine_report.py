"""From figures to what people read: one number per metric, a table, a plot. Runs nothing."""

import statistics
from collections.abc import Iterable, Mapping
from html import escape
from math import log2
from typing import Any, Final

OURS: Final = "transom"
Medians = dict[str, dict[str, dict[str, float]]]
"""host -> engine -> metric -> value"""

COSTS: Final = {
    "dispatches": "dispatches a token",
    "submits": "submits a token",
    "readBacks": "read-backs a token",
    "bufferWrites": "buffer writes a token",
    "bytesWritten": "bytes written a token",
    "bindGroups": "bind groups a token",
}
MEGABYTE: Final = 1e6


def metrics_of(cold: dict[str, Any] | None, warm: dict[str, Any]) -> dict[str, float]:
    """What one cold and one warm start of an engine showed, by the names that people read."""
    metrics: dict[str, float] = {}
    for title, start in (("cold", cold), ("warm", warm)):
        if start is not None:
            metrics[f"load, {title}, s"] = start["loadSeconds"]
    for title, start in (("cold", cold), ("warm", warm)):
        if start is not None and start["firstAnswerSeconds"] is not None:
            seconds = start["loadSeconds"] + start["firstAnswerSeconds"]
            metrics[f"first token after a {title} start, s"] = seconds
    for row in warm["prefill"]:
        about = row["about"]
        metrics[f"first token of a {about} token prompt, s"] = row["timeToFirstTokenSeconds"]
        metrics[f"prefill {about}, tok/s"] = row["tokensPerSecond"]
    for row in warm["decode"]:
        several = "" if row["sequences"] == 1 else f", {row['sequences']} at once"
        metrics[f"decode{several}, tok/s"] = row["tokensPerSecond"]
    host = warm["host"]
    if host is not None and host["perToken"] is not None:
        metrics["host ms a token, GPU idle"] = host["millisecondsPerToken"]
    # What really ran, where something did.
    one = next((row for row in warm["decode"] if row["sequences"] == 1), host)
    if one is not None and one["perToken"] is not None:
        for name, title in COSTS.items():
            metrics[title] = one["perToken"][name]
        metrics["GPU buffers, most, MB"] = warm["memory"]["peakGpuBytes"] / MEGABYTE
    if warm["memory"]["heapBytes"] is not None:
        metrics["JavaScript heap, MB"] = warm["memory"]["heapBytes"] / MEGABYTE
    return metrics


def medians(samples: Iterable[tuple[str, str, Mapping[str, float]]]) -> Medians:
    """Of host, engine and metrics of each measurement."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for host, engine, metrics in samples:
        rows = found.setdefault(host, {}).setdefault(engine, {})
        for name, value in metrics.items():
            rows.setdefault(name, []).append(value)
    return {
        host: {
            engine: {name: statistics.median(values) for name, values in rows.items()}
            for engine, rows in engines.items()
        }
        for host, engines in found.items()
    }


def ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or not theirs else ours / theirs


def print_table(medians: Medians) -> None:
    for host, engines in medians.items():
        names = [OURS, *(name for name in engines if name != OURS)]
        print(f"\n{host:<36}{OURS:>12}" + "".join(f"{name:>24}{'ratio':>8}" for name in names[1:]))
        for metric in _metrics(engines):
            ours = engines[OURS].get(metric)
            line = f"  {metric:<34}{_number(ours):>12}"
            for name in names[1:]:
                theirs = engines[name].get(metric)
                line += f"{_number(theirs):>24}{_number(ratio(ours, theirs)):>8}"
            print(line)


def _metrics(engines: dict[str, dict[str, float]]) -> list[str]:
    """In the order of the engine that has most."""
    longest = max(engines.values(), key=len)
    others = (metric for metrics in engines.values() for metric in metrics)
    return list(dict.fromkeys([*longest, *others]))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


ROW: Final = 18
LABELS: Final = 300
BARS: Final = 560
MARGIN: Final = 24
DOUBLINGS: Final = 5
"""The scale goes from 1/32 to 32; what is beyond ends at the edge and tells its number."""
COLOURS: Final = ("#2a6f97", "#c8553d", "#7a6f9b")


def draw(medians: Medians) -> str:
    """Bars from the line of equal figures: to the left ours is less, to the right ours is more."""
    parts: list[str] = []
    top = MARGIN
    middle = LABELS + BARS / 2
    for host, engines in medians.items():
        others = [name for name in engines if name != OURS]
        title = f"{host}: transom over " + " / ".join(others)
        parts.append(_text(MARGIN, top, title, "font-weight='bold'"))
        first = top + ROW / 2
        top += ROW
        for metric in _metrics(engines):
            ratios = [
                ratio(engines[OURS].get(metric), engines[name].get(metric)) for name in others
            ]
            if not any(value and value > 0 for value in ratios):
                continue
            parts.append(_text(LABELS - 8, top, metric, "text-anchor='end'"))
            thickness = (ROW - 4) / len(ratios)
            for index, value in enumerate(ratios):
                if value and value > 0:
                    y = top - ROW / 2 + 1 + index * thickness
                    parts.append(_bar(middle, y, thickness, value, COLOURS[index % len(COLOURS)]))
            top += ROW
        parts.append(
            f"<line x1='{middle}' y1='{first}' x2='{middle}' y2='{top - ROW / 2}' stroke='#444'/>"
        )
        top += ROW
    width, height = LABELS + BARS + MARGIN, top
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
        f"font-family='sans-serif' font-size='11'>\n"
        f"<rect width='{width}' height='{height}' fill='white'/>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(middle: float, y: float, thickness: float, value: float, colour: str) -> str:
    room = BARS / 2 - 40
    length = max(-1.0, min(1.0, log2(value) / DOUBLINGS)) * room
    x = min(middle, middle + length)
    anchor, beside = ("start", 4) if length >= 0 else ("end", -4)
    label = _text(
        middle + length + beside, y + thickness - 1, f"{value:.2g}x", f"text-anchor='{anchor}'"
    )
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{abs(length):.1f}' height='{thickness:.1f}' "
        f"fill='{colour}'/>{label}"
    )


def _text(x: float, y: float, text: str, more: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' {more}>{escape(text)}</text>"
