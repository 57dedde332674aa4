"""Our page from the navigation to the first token, what its API costs, and how large it is.

    python -m tests.bench.page --bundle DIR [--page DIR] [--out DIR] [--rounds 5] [--tokens 32]
                               [--path-tokens 1000] [--times 20]

In each round the page is visited twice with a fresh profile: as a person does, who is answered
through service worker and Python; by the engine alone beside them; and with no service worker and
no Python at all. Then the way of an answer through the API is measured with an engine that takes no
time, and in the second visit with the real one. Figures are medians of the rounds; a ratio is ours
over the other's, to be read within one run only. A software GPU's tokens take much longer than what
the way costs: with the real engine that cost is lost in what the tokens vary by.

Needs `npm run build`. Writes page.json.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

from tests.bench import page_bytes, page_visits, static_host
from tests.bench.engine_report import Medians, medians, print_table
from tests.e2e.commands import ROOT

MOST_MILLISECONDS: Final = {"first frame": 15.0, "a token": 0.3}
"""What the API may cost over the engine (issue 7)."""
MOMENTS: Final = {
    "script": "the page's script runs",
    "serviceWorker": "service worker answers",
    "python": "Python has started",
    "model": "model is loaded",
    "asked": "asked",
    "firstToken": "first token",
}
VISITS: Final = "Navigation to first token"
FAKE: Final = "An engine that takes no time"
REAL: Final = "The real engine, second visit"
QUESTION: Final = "What is the capital of France?"


def visit_metrics(visits: Mapping[str, Any]) -> dict[str, float]:
    """Seconds since the navigation."""
    return {
        f"{visit}: {title}, s": visits[visit]["moments"][name] / 1000
        for visit in ("cold", "warm")
        for name, title in MOMENTS.items()
        if name in visits[visit]["moments"]
    }


def fake_metrics(figures: Mapping[str, Any], engine: str) -> dict[str, float]:
    """Of one round, of `api` or `engine`. Milliseconds."""
    rows = figures[engine]
    metrics = {"first frame, ms": statistics.median(rows["first"])}
    if engine == "api":
        metrics["first frame of the first request, ms"] = figures["veryFirst"]
        metrics["from the request to the engine, ms"] = statistics.median(rows["toEngine"])
        metrics["from the engine to the reader, ms"] = statistics.median(rows["late"])
    for batch, value in rows["perToken"].items():
        metrics[f"a token, {batch} at a time, ms"] = value
    for batch, value in rows.get("chunks", {}).items():
        metrics[f"chunks, {batch} at a time"] = value
    return metrics


def real_metrics(cost: Mapping[str, Any], engine: str) -> dict[str, float]:
    """Of one round, of `api` or `engine`. Milliseconds."""
    rows = cost[engine]
    return {
        "first frame, ms": statistics.median(rows["first"]),
        "a token, ms": statistics.median(rows["perToken"]),
    }


def samples(rounds: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str, dict[str, float]]]:
    """Host, engine and metrics of everything that was measured."""
    for row in rounds:
        for engine, visits in row["visits"].items():
            yield VISITS, engine, visit_metrics(visits)
        cost = row["visits"].get("transom", {}).get("warm", {}).get("cost")
        for engine, name in (("transom", "api"), ("engine", "engine")):
            yield FAKE, engine, fake_metrics(row["fake"], name)
            if cost is not None:
                yield REAL, engine, real_metrics(cost, name)


def costs(found: Medians) -> dict[str, dict[str, float]]:
    """The API's figures less the engine's, in milliseconds, by host and metric."""
    return {
        host: {
            metric: value - engines["engine"][metric]
            for metric, value in engines["transom"].items()
            if metric in engines["engine"]
        }
        for host, engines in found.items()
        if host in (FAKE, REAL)
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds; gives what is written as JSON."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("no Chromium here: apt-get install chromium")
    rounds: list[dict[str, Any]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        page_visits.lay_out(folder, options.page, options.bundle)
        log: list[static_host.Sent] = []
        address = stack.enter_context(static_host.serve(folder, log))
        site = page_visits.Site(folder, address, log)
        playwright = stack.enter_context(sync_playwright())
        for number in range(options.rounds):
            row: dict[str, Any] = {"visits": {}}
            for engine in page_visits.WAYS:
                asked = page_visits.Asked(f"{QUESTION} ({number})", options.tokens, times=3)
                with tempfile.TemporaryDirectory() as profile, told(number, engine):
                    row["visits"][engine] = page_visits.visit_twice(
                        playwright, executable, site, engine, Path(profile), asked
                    )
            with tempfile.TemporaryDirectory() as profile, told(number, FAKE):
                row["fake"] = page_visits.fake_cost(
                    playwright, executable, site, Path(profile), options.path_tokens, options.times
                )
            rounds.append(row)
        first, second = (rounds[-1]["visits"]["transom"][visit] for visit in ("cold", "warm"))
        model = {
            sent.path.lstrip("/")
            for sent in first["sent"]
            if sent.status < 400 and page_bytes.part_of(sent.path.lstrip("/")) == "model"
        }
        parts = page_bytes.sizes(folder, [*page_bytes.files_of(options.page), *sorted(model)])
        traffic = {
            title: page_bytes.traffic(visit["sent"])
            for title, visit in (("first visit", first), ("second visit", second))
        }
    for row in rounds:
        for visits in row["visits"].values():
            for visit in visits.values():
                visit["sent"] = [asdict(sent) for sent in visit["sent"]]
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "rounds": options.rounds,
        "bytes": {part: asdict(size) for part, size in parts.items()},
        "kept": {"files": len(first["kept"]), "bytes": sum(size for _, size in first["kept"])},
        "traffic": traffic,
        "runs": rounds,
    }


class told:
    """Says on stderr what took how long."""

    def __init__(self, number: int, what: str) -> None:
        self._what = f"round {number + 1}: {what}"

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        print(f"{self._what}: {time.monotonic() - self._started:.0f} s", file=sys.stderr)


def print_costs(found: Mapping[str, Mapping[str, float]]) -> None:
    print(f"\n{'The API over the engine':<70}{'ms':>10}{'at most':>10}")
    for host, rows in found.items():
        for metric, value in rows.items():
            most = next(
                (most for name, most in MOST_MILLISECONDS.items() if metric.startswith(name)), None
            )
            title = f"{host}: {metric.removesuffix(', ms')}"
            print(f"  {title:<68}{value:>10.3f}{'' if most is None else most:>10}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--page", type=Path, default=ROOT / "web" / "dist", help="a built page")
    parser.add_argument("--out", type=Path, help="folder for page.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32, help="of the real engine; 0: no cost")
    parser.add_argument("--path-tokens", type=int, default=1000, help="of the one without time")
    parser.add_argument("--times", type=int, default=20, help="first frames in a round")
    options = parser.parse_args()
    result = run(options)
    result["medians"] = medians(samples(result["runs"]))
    result["costs"] = costs(result["medians"])
    print(f"{result['date']}, {result['machine']}, medians of {options.rounds}")
    print_table(result["medians"])
    print_costs(result["costs"])
    page_bytes.print_sizes(
        {part: page_bytes.Size(**size) for part, size in result["bytes"].items()}
    )
    print(f"  {'kept by the first visit':<34}{result['kept']['files']:>8}", end="")
    print(f"{result['kept']['bytes'] / 1e6:>10.3f}")
    for title, rows in result["traffic"].items():
        page_bytes.print_traffic(title, rows)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "page.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
