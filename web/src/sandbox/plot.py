"""Plots as SVG: lines, points, bars and histograms, by the names that matplotlib.pyplot has.

Small on purpose. What is not here is an error that says so, never a plot that leaves something out.
"""

import builtins
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 640, 400
"""CSS pixels; the picture scales."""
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 60
MAX_POINTS = 20_000
"""Of one series: two numbers of about six digits each stay below what an image may have."""
MAX_BARS = 500
"""More are less than a pixel and a half each."""
MAX_LABEL_CHARACTERS = 14
MAX_TITLE_CHARACTERS = 80
TICKS = 6

# Tell apart also for people who see few colours (Okabe and Ito's set, from dark to light).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_LETTERS = {
    "b": "#0072b2", "r": "#d55e00", "g": "#009e73", "m": "#cc79a7",
    "y": "#e69f00", "c": "#56b4e9", "k": "#000000",
}  # fmt: skip
_DASHES = {"-": "", "--": "8 5", ":": "2 4", "-.": "8 4 2 4"}
_MARKERS = "o.x+s^*"
_COLOR = re.compile(r"[a-zA-Z]{3,20}|#[0-9a-fA-F]{3}(?:[0-9a-fA-F]{3})?")
_TEXT = "#1c1b19"
_GRID = "#dddad5"

Point = tuple[float, float]


@dataclass
class Series:
    kind: str
    """"line", "points" or "bars"."""
    points: list[Point]
    color: str
    label: str
    dash: str = ""
    width: float = 2
    marked: bool = False
    """A line with its points."""
    bar_width: float = 0.8
    alpha: float = 1


@dataclass
class Figure:
    """One picture; module functions draw on the one that was begun last."""

    series: list[Series] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    categories: dict[str, int] | None = None
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    levels: list[tuple[str, float, str]] = field(default_factory=list)
    has_grid: bool = True
    is_shown: bool = False

    def _repr_svg_(self) -> str:
        return _svg(self)


_current: Figure | None = None


def figure(figsize: tuple[float, float] | None = None) -> Figure:
    """Begin a new picture; its size is always the same."""
    global _current
    _current = Figure()
    return _current


def plot(
    x: Iterable[object], y: object = None, fmt: str = "", *, label: object = "",
    color: str | None = None, linestyle: str = "-", linewidth: float = 2, marker: str = "",
    alpha: float = 1,
) -> None:  # fmt: skip
    """A line through points; `fmt` as in "r--" or "o"."""
    if isinstance(y, str):
        y, fmt = None, y
    for letter in re.findall(r"-\.|--|[a-z]|\S", fmt):
        if letter in _LETTERS:
            color = letter
        elif letter in _DASHES:
            linestyle = letter
        elif letter in _MARKERS:
            marker = letter
        else:
            raise ValueError(f"plot() does not know {letter!r} in {fmt!r}")
    only_points = bool(marker) and fmt != "" and not any(dash in fmt for dash in _DASHES)
    points = _points(x, y)
    if linestyle.lower() in ("", "none", " ") or only_points:
        _add("points", points, label, color, alpha=alpha)
        return
    named = {"solid": "-", "dashed": "--", "dotted": ":", "dashdot": "-."}
    linestyle = named.get(linestyle, linestyle)
    if linestyle not in _DASHES:
        raise ValueError(f"linestyle is one of {', '.join(_DASHES)}, not {linestyle!r}")
    _add(
        "line", points, label, color, dash=_DASHES[linestyle], width=float(linewidth),
        marked=bool(marker), alpha=alpha,
    )  # fmt: skip


def scatter(
    x: Iterable[object], y: Iterable[object], *, label: object = "", color: str | None = None,
    alpha: float = 1,
) -> None:  # fmt: skip
    """Points."""
    _add("points", _points(x, y), label, color, alpha=alpha)


def bar(
    x: Iterable[object], height: Iterable[object], width: float = 0.8, *, label: object = "",
    color: str | None = None, alpha: float = 1,
) -> None:  # fmt: skip
    """Upright bars; `x` may be names."""
    points = _points(x, height)
    if len(points) > MAX_BARS:
        raise ValueError(f"{len(points)} bars are more than {MAX_BARS}: plot a line instead")
    _add("bars", points, label, color, bar_width=float(width), alpha=alpha)


def hist(
    values: Iterable[object], bins: int | Sequence[float] = 10, *, label: object = "",
    color: str | None = None, alpha: float = 1,
) -> tuple[list[int], list[float]]:  # fmt: skip
    """How many values are in each bin; gives the counts and the edges."""
    numbers = [number for number in map(_number, values) if math.isfinite(number)]
    if not numbers:
        raise ValueError("hist() needs at least one number")
    if isinstance(bins, int):
        if not 1 <= bins <= MAX_BARS:
            raise ValueError(f"bins is from 1 to {MAX_BARS}, not {bins}")
        low, high = min(numbers), max(numbers)
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = [low + (high - low) * index / bins for index in range(bins + 1)]
    else:
        edges = [float(edge) for edge in bins]
        if not 2 <= len(edges) <= MAX_BARS + 1 or edges != sorted(set(edges)):
            raise ValueError("edges of bins ascend")
    counts = [0] * (len(edges) - 1)
    for number in numbers:
        for index in range(len(counts)):
            is_last = index == len(counts) - 1
            if edges[index] <= number < edges[index + 1] or (is_last and number == edges[-1]):
                counts[index] += 1
                break
    points = [
        ((edges[index] + edges[index + 1]) / 2, float(count)) for index, count in enumerate(counts)
    ]
    # Bars of one width, with a hairline between them.
    _add("bars", points, label, color, bar_width=(edges[1] - edges[0]) * 0.96, alpha=alpha)
    return counts, edges


def title(text: object) -> None:
    _set_text("title", text)


def xlabel(text: object) -> None:
    _set_text("xlabel", text)


def ylabel(text: object) -> None:
    _set_text("ylabel", text)


def xlim(low: float, high: float) -> None:
    _set_limits("x", low, high)


def ylim(low: float, high: float) -> None:
    _set_limits("y", low, high)


def axhline(y: float = 0, *, color: str | None = None) -> None:
    """A line across, at a height."""
    _figure().levels.append(("h", _finite(y), _color(color or "#77736d")))


def axvline(x: float = 0, *, color: str | None = None) -> None:
    """A line upright."""
    _figure().levels.append(("v", _finite(x), _color(color or "#77736d")))


def legend() -> None:
    """Labels show anyway."""


def grid(visible: bool = True) -> None:
    _figure().has_grid = bool(visible)


def show() -> None:
    """Show the picture to the person and begin a new one."""
    global _current
    if _current is None or not _current.series:
        raise RuntimeError("there is nothing to show: call plot, scatter, bar or hist first")
    shown, _current = _current, None
    display: Callable[[object], None] = builtins.display  # type: ignore[attr-defined]
    display(shown)


def take_pending() -> list[Figure]:
    """The picture that was drawn and never shown."""
    global _current
    pending, _current = _current, None
    return [pending] if pending is not None and pending.series and not pending.is_shown else []


def mark_shown(shown: Figure) -> None:
    shown.is_shown = True


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"plot has no {name}; it has plot, scatter, bar, hist, title, xlabel, ylabel, xlim, ylim, "
        "axhline, axvline, grid, legend, figure, show"
    )


def _figure() -> Figure:
    return _current if _current is not None else figure()


def _add(
    kind: str, points: list[Point], label: object, color: str | None, *, dash: str = "",
    width: float = 2, marked: bool = False, bar_width: float = 0.8, alpha: float = 1,
) -> None:  # fmt: skip
    if len(points) > MAX_POINTS:
        raise ValueError(f"{len(points)} points are more than {MAX_POINTS}: plot every n-th")
    into = _figure().series
    chosen = _color(color) if color is not None else COLORS[len(into) % len(COLORS)]
    text = str(label)[: MAX_LABEL_CHARACTERS * 2]
    into.append(Series(kind, points, chosen, text, dash, width, marked, bar_width, float(alpha)))


def _points(x: Iterable[object], y: object) -> list[Point]:
    heights = list(x if y is None else y)  # type: ignore[call-overload]
    places = list(range(len(heights))) if y is None else list(x)
    if len(places) != len(heights):
        raise ValueError(f"x has {len(places)} values and y has {len(heights)}")
    on = _figure()
    names = [place for place in places if not _is_number(place)]
    if names:
        # Days, months, countries: places in the order in which they come.
        known = on.categories if on.categories is not None else {}
        on.categories = known
        places = [known.setdefault(str(place), len(known)) for place in places]
    return [(_number(a), _number(b)) for a, b in zip(places, heights, strict=True)]


def _is_number(value: object) -> bool:
    return value is None or (hasattr(value, "__float__") and not isinstance(value, str))


def _number(value: object) -> float:
    """A gap (NaN) for None."""
    if value is None:
        return math.nan
    if not _is_number(value):
        raise TypeError(f"{value!r:.40} is not a number")
    return float(value)  # type: ignore[arg-type]


def _finite(value: object) -> float:
    number = _number(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no place on an axis")
    return number


def _color(name: str) -> str:
    if name in _LETTERS:
        return _LETTERS[name]
    if name.startswith("C") and name[1:].isdecimal():
        return COLORS[int(name[1:]) % len(COLORS)]
    name = name.removeprefix("tab:")
    if not _COLOR.fullmatch(name):
        raise ValueError(f"{name!r:.40} is no colour; write a name or #rrggbb")
    return name


def _set_text(name: str, text: object) -> None:
    _figure().texts[name] = str(text)[:MAX_TITLE_CHARACTERS]


def _set_limits(axis: str, low: float, high: float) -> None:
    if not _finite(low) < _finite(high):
        raise ValueError(f"the limits of {axis} ascend")
    _figure().limits[axis] = (float(low), float(high))


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers between two: steps of 1, 2 or 5 and zeros."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(drawn: Figure, axis: int) -> tuple[float, float]:
    chosen = drawn.limits.get("xy"[axis])
    if chosen is not None:
        return chosen
    found: list[float] = [value for kind, value, _ in drawn.levels if (kind == "h") == (axis == 1)]
    for each in drawn.series:
        half = each.bar_width / 2 if each.kind == "bars" and axis == 0 else 0
        values = [point[axis] for point in each.points if math.isfinite(point[axis])]
        if values:
            found += [min(values) - half, max(values) + half]
        if each.kind == "bars" and axis == 1:
            found.append(0)
    low, high = (min(found), max(found)) if found else (0, 1)
    if low == high:
        low, high = low - 0.5, high + 0.5
    margin = (high - low) * 0.05
    has_bars = any(each.kind == "bars" for each in drawn.series)
    stands = axis == 1 and has_bars
    return (
        low if stands and low == 0 else low - margin,
        high if stands and high == 0 else high + margin,
    )


def _svg(drawn: Figure) -> str:
    (left, right), (low, high) = _range(drawn, 0), _range(drawn, 1)

    def across(x: float) -> float:
        return LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="system-ui, sans-serif" font-size="13" '
        f'fill="{_TEXT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<clipPath id="area"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>',
    ]
    parts += _axes(drawn, (left, right), (low, high), across, down)
    parts.append('<g clip-path="url(#area)">')
    bars = [each for each in drawn.series if each.kind == "bars"]
    for each in drawn.series:
        parts += _drawing(each, across, down, *_share(bars, each))
    for kind, value, color in drawn.levels:
        x1, x2 = (LEFT, WIDTH - RIGHT) if kind == "h" else (across(value), across(value))
        y1, y2 = (down(value), down(value)) if kind == "h" else (TOP, HEIGHT - BOTTOM)
        parts.append(
            f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="{color}" '
            f'stroke-dasharray="6 4"/>'
        )
    parts.append("</g>")
    parts += _words(drawn)
    return "".join([*parts, "</svg>"])


def _share(bars: Sequence[Series], one: Series) -> tuple[int, int]:
    """Which of the bars that stand side by side, and how many do."""
    beside = [each for each in bars if _places(each) == _places(one)] if one in bars else [one]
    return next(index for index, each in enumerate(beside) if each is one), len(beside)


def _places(series: Series) -> list[float]:
    return [x for x, _ in series.points]


def _axes(
    drawn: Figure, horizontal: Point, vertical: Point,
    across: Callable[[float], float], down: Callable[[float], float],
) -> list[str]:  # fmt: skip
    parts = []
    bottom = HEIGHT - BOTTOM
    for value in ticks(*vertical):
        y = down(value)
        if drawn.has_grid:
            parts.append(
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="{_GRID}"/>'
            )
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_write(value)}</text>'
        )
    if drawn.categories is not None:
        # As many names as have room beside each other.
        names = list(drawn.categories)
        room = (WIDTH - LEFT - RIGHT) / 7.5
        every = max(1, math.ceil(sum(min(len(n), MAX_LABEL_CHARACTERS) + 2 for n in names) / room))
        labels = [(float(index), name) for index, name in enumerate(names) if index % every == 0]
    else:
        labels = [(value, _write(value)) for value in ticks(*horizontal)]
    for place, name in labels:
        if horizontal[0] <= place <= horizontal[1]:
            short = name if len(name) <= MAX_LABEL_CHARACTERS else f"{name[:12]}…"
            parts.append(
                f'<text x="{across(place):.1f}" y="{bottom + 20}" text-anchor="middle">'
                f"{_escape(short)}</text>"
            )
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="{_TEXT}"/>')
    return parts


def _drawing(
    one: Series, across: Callable[[float], float], down: Callable[[float], float], place: int,
    beside: int,
) -> list[str]:  # fmt: skip
    alpha = f' opacity="{one.alpha:.2f}"' if one.alpha < 1 else ""
    parts = [f"<g{alpha}>"]
    finite = [(x, y) for x, y in one.points if math.isfinite(x) and math.isfinite(y)]
    if one.kind == "bars":
        width = one.bar_width / beside
        for x, y in finite:
            start = x - one.bar_width / 2 + place * width
            x1, x2 = across(start), across(start + width)
            top, base = sorted((down(y), down(0)))
            parts.append(
                f'<rect x="{x1:.1f}" y="{top:.1f}" width="{max(x2 - x1, 0.5):.1f}" '
                f'height="{base - top:.1f}" fill="{one.color}"/>'
            )
    if one.kind == "line":
        path, begins = [], True
        for x, y in one.points:
            if not (math.isfinite(x) and math.isfinite(y)):
                begins = True
                continue
            path.append(f"{'M' if begins else 'L'}{across(x):.1f} {down(y):.1f}")
            begins = False
        dash = f' stroke-dasharray="{one.dash}"' if one.dash else ""
        parts.append(
            f'<path d="{"".join(path)}" fill="none" stroke="{one.color}" '
            f'stroke-width="{one.width:g}" stroke-linejoin="round"{dash}/>'
        )
    if one.kind == "points" or one.marked:
        parts += [
            f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3.5" fill="{one.color}"/>'
            for x, y in finite
        ]
    return [*parts, "</g>"]


def _words(drawn: Figure) -> list[str]:
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = []
    if name := drawn.texts.get("title"):
        parts.append(
            f'<text x="{middle}" y="24" text-anchor="middle" font-size="16" font-weight="600">'
            f"{_escape(name)}</text>"
        )
    if name := drawn.texts.get("xlabel"):
        parts.append(
            f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{_escape(name)}</text>'
        )
    if name := drawn.texts.get("ylabel"):
        y = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text transform="translate(18 {y}) rotate(-90)" text-anchor="middle">'
            f"{_escape(name)}</text>"
        )
    labelled = [each for each in drawn.series if each.label]
    if labelled:
        width = 34 + 7.5 * max(len(each.label) for each in labelled)
        x = WIDTH - RIGHT - 8 - width
        parts.append(
            f'<rect x="{x:.0f}" y="{TOP + 6}" width="{width:.0f}" height="{len(labelled) * 20 + 8}"'
            f' rx="4" fill="#ffffff" fill-opacity="0.85" stroke="{_GRID}"/>'
        )
        for index, each in enumerate(labelled):
            y = TOP + 24 + index * 20
            parts.append(
                f'<rect x="{x + 8:.0f}" y="{y - 9}" width="12" height="9" fill="{each.color}"/>'
                f'<text x="{x + 26:.0f}" y="{y}">{_escape(each.label)}</text>'
            )
    return parts


def _write(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 and value == int(value) else f"{value:.6g}"


def _escape(text: str) -> str:
    """As XML: what it cannot hold at all is left out."""
    text = "".join(char for char in text if char.isprintable())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
