"""Load, prefill and decode of one bundle, on llvmpipe and SwiftShader in Node and in Chromium.

    python -m tests.bench.decode --bundle DIR [--tokens 16] [--rounds 3] [--chromium PATH]

The rounds take turns, so that a busy machine slows all rows alike; each figure is the best of the
rounds, and the last column compares it with the first row of the same run. Seconds of different
runs, machines or days are not comparable. Needs `npm run build:node`, for Chromium `npm run build`.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.e2e import node_engine
from tests.e2e.browser import open_chromium, serve_folder
from tests.e2e.commands import ROOT, read_prompts


@dataclass(frozen=True)
class Figures:
    load_seconds: float
    prefill: float
    """Prompt tokens a second, pipelines of the first use included."""
    decode: float
    """Tokens a second, from the second token on."""


Measure = Callable[[Path], Figures]


def in_node(bundle: Path, library: str, tokens: int, driver: dict[str, str]) -> Measure:
    prompt = read_prompts()[1]

    def measure(work_dir: Path) -> Figures:
        run = node_engine.generate(bundle, library, [prompt.token_ids], tokens, work_dir, driver)
        timings, answer = run.answers[0]["timings"], run.answers[0]
        return Figures(
            run.load["loadSeconds"],
            answer["promptTokens"] / timings["prefillSeconds"],
            (answer["completionTokens"] - 1) / timings["decodeSeconds"],
        )

    return measure


def in_chromium(bundle: Path, tokens: int, executable: str) -> Measure:
    question = read_prompts()[1].messages[-1]["content"]

    def measure(work_dir: Path) -> Figures:
        site = work_dir / "site"
        site.mkdir()
        for path in (ROOT / "web" / "dist").iterdir():
            (site / path.name).symlink_to(path)
        (site / "demo").symlink_to(bundle.resolve())
        with (
            serve_folder(site) as address,
            sync_playwright() as playwright,
            open_chromium(playwright, executable, work_dir / "profile") as context,
        ):
            page = context.new_page()
            page.goto(f"{address}/?bundle=demo/")
            load: dict[str, Any] = page.evaluate("() => window.transom.ready")
            answer: dict[str, Any] = page.evaluate(
                "([text, maxTokens]) => window.transom.ask(text, { temperature: 0, maxTokens })",
                [question, tokens],
            )
        return Figures(
            load["loadSeconds"], answer["prefillTokensPerSecond"], answer["decodeTokensPerSecond"]
        )

    return measure


def rows_for(bundle: Path, tokens: int, chromium: str | None) -> dict[str, Measure]:
    rows: dict[str, Measure] = {}
    mesa = node_engine.mesa_environment()
    swiftshader = node_engine.swiftshader_environment()
    if mesa is not None:
        for library in ("library-f32.wasm", "library-f32-fallback.wasm", "library-f16.wasm"):
            rows[f"node, llvmpipe, {library}"] = in_node(bundle, library, tokens, mesa)
    if swiftshader is not None:
        library = "library-f32-fallback.wasm"
        rows[f"node, SwiftShader, {library}"] = in_node(bundle, library, tokens, swiftshader)
    if chromium is not None:
        rows["chromium, SwiftShader"] = in_chromium(bundle, tokens, chromium)
    return rows


def best(rounds: list[Figures]) -> Figures:
    return Figures(
        min(figures.load_seconds for figures in rounds),
        max(figures.prefill for figures in rounds),
        max(figures.decode for figures in rounds),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Load, prefill and decode, side by side.")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chromium", help="leave out to measure in Node only")
    options = parser.parse_args()
    rows = rows_for(options.bundle, options.tokens, options.chromium)
    measured: dict[str, list[Figures]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, measure in rows.items():
            with tempfile.TemporaryDirectory() as work_dir:
                measured[name].append(measure(Path(work_dir)))
    print(f"{'':<48}{'load s':>8}{'prefill/s':>11}{'decode/s':>10}{'ratio':>7}")
    first: float | None = None
    for name, rounds in measured.items():
        figures = best(rounds)
        first = first or figures.decode
        print(
            f"{name:<48}{figures.load_seconds:>8.1f}{figures.prefill:>11.1f}"
            f"{figures.decode:>10.2f}{figures.decode / first:>7.2f}"
        )


if __name__ == "__main__":
    main()
