"""Our engine beside unmodified WebLLM and wllama: same model, prompts and hosts, in one session.

    python -m tests.bench.engines --bundle DIR [--out DIR] [--rounds 5] [--tokens 64]
                                  [--prompt 128] [--sequences 1,4,8] [--long]
                                  [--only GPU,llvmpipe,SwiftShader,Chromium]
                                  [--upstream DIR] [--gguf FILE] [--counters | --quick]

In each round every engine starts cold, then warm, one after another, so that a busy machine slows
all alike. Figures are medians of the rounds; a ratio is ours over the other one's, to be read
within one run only. `--upstream` is what tests.bench.upstream_library made: WebLLM as MLC ships it;
without it WebLLM runs on our bundle. A software GPU makes arithmetic look like everything: what an
engine asks of the GPU for a token, and what the CPU has to do for it while the GPU does nothing,
are figures that a real one would show as well. `--counters` measures only these, `--quick` only
these of our engine.

Needs `npm run build:node`, for Chromium `npm run build`. Writes engines.json and engines.svg after
each round.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.bench import engine_hosts
from tests.bench.engine_hosts import Figures, Measure, Plan
from tests.bench.engine_report import Medians, draw, medians, metrics_of, print_table

WARM_SALT = 500
"""Far from the cold starts': no prompt comes twice."""
QUICK = Plan(salt=1, first_answer=False, host_tokens=64)
"""Nothing for the GPU to do but to take the weights."""

MOST_PER_TOKEN = {"dispatches": 180, "readBacks": 0.25, "bufferWrites": 20, "bindGroups": 0}
"""What a token of our engine may cost (tests/e2e/test_counters.py); WebLLM: 324, 1, 339 and 324."""


def plan_for(options: argparse.Namespace) -> Plan:
    return Plan(
        salt=WARM_SALT,
        prompt_tokens=(128, 1024) if options.long else (options.prompt,),
        tokens=512 if options.long else options.tokens,
        sequences=tuple(map(int, options.sequences.split(","))),
        host_tokens=64,
    )


def quick(bundle: Path) -> dict[str, Figures]:
    """Our engine's counters on llvmpipe, by program; seconds, because the GPU does nothing."""
    [driver] = [driver for driver in engine_hosts.drivers() if driver.name == "llvmpipe"]
    figures = {}
    for kind in ("f32", "f32-fallback"):
        driver = replace(driver, kind=kind)
        with tempfile.TemporaryDirectory() as state:
            measure = engine_hosts.transom_in_node(bundle, driver)
            figures[driver.program] = measure(QUICK, Path(state))
    return figures


def cells(options: argparse.Namespace, stack: ExitStack) -> dict[tuple[str, str], Measure]:
    """Every host with every engine that runs there, in the order in which they take turns."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    models = {"bundle": options.bundle}
    if options.upstream is not None:
        models["upstream"] = options.upstream
    address = stack.enter_context(engine_hosts.serve_models(folder, models))
    wanted = options.only.split(",")
    found: dict[tuple[str, str], Measure] = {}
    for driver in engine_hosts.drivers():
        host = f"Node, {driver.name}"
        if driver.name not in wanted:
            continue
        found[host, "transom"] = engine_hosts.transom_in_node(options.bundle, driver)
        found[host, "web-llm"] = engine_hosts.webllm_in_node(
            address, "bundle", driver.library, driver
        )
        if options.upstream is not None:
            found[host, "web-llm, MLC's library"] = engine_hosts.webllm_in_node(
                address, "upstream", "library.wasm", driver
            )
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if "Chromium" in wanted and executable is not None:
        engine_hosts.add_pages(folder, options.bundle, options.gguf)
        playwright = stack.enter_context(sync_playwright())
        host = "Chromium, SwiftShader"
        found[host, "transom"] = engine_hosts.transom_in_chromium(playwright, executable, address)
        libraries = {"bundle": ("web-llm", "library-f32-fallback.wasm")}
        if options.upstream is not None:
            libraries["upstream"] = ("web-llm, MLC's library", "library.wasm")
        for model, (name, library) in libraries.items():
            found[host, name] = engine_hosts.other_in_chromium(
                playwright, executable, address,
                {
                    "engine": "web-llm",
                    "model": model,
                    "modelLib": f"{model}/resolve/main/{library}",
                },
            )  # fmt: skip
        if options.gguf is not None:
            found[host, "wllama"] = engine_hosts.other_in_chromium(
                playwright, executable, address, {"engine": "wllama", "model": "model.gguf"}
            )
    return found


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All rounds; after each, what is written as JSON: one that is stopped left the others."""
    raw: list[dict[str, Any]] = []
    plan = QUICK if options.counters else plan_for(options)
    with ExitStack() as stack:
        measures = cells(options, stack)
        for number in range(options.rounds):
            for (host, engine), measure in measures.items():
                started = time.monotonic()
                with tempfile.TemporaryDirectory() as state:
                    cold = None if options.counters else measure(Plan(salt=number), Path(state))
                    warm = measure(replace(plan, salt=plan.salt + number), Path(state))
                seconds = time.monotonic() - started
                print(f"round {number + 1}: {host}: {engine}: {seconds:.0f} s", file=sys.stderr)
                raw.append({"host": host, "engine": engine, "cold": cold, "warm": warm})
            load = os.getloadavg()[0]
            yield {
                "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}",
                "rounds": number + 1,
                "runs": raw,
                "medians": medians_of(raw),
            }


def medians_of(runs: list[dict[str, Any]]) -> Medians:
    """host -> engine -> metric -> median of the rounds."""
    return medians(
        (row["host"], row["engine"], metrics_of(row["cold"], row["warm"])) for row in runs
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Our engine beside WebLLM and wllama.")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder for engines.json and engines.svg")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--sequences", default="1,4,8", help="answers at once, of ours in Node")
    parser.add_argument("--only", default="llvmpipe,SwiftShader,Chromium")
    parser.add_argument("--upstream", type=Path, help="a folder of tests.bench.upstream_library")
    parser.add_argument("--gguf", type=Path, help="the same model for wllama, in Chromium")
    parser.add_argument("--long", action="store_true", help="1024 tokens of prompt, 512 of answer")
    parser.add_argument("--counters", action="store_true", help="what costs no GPU time only")
    parser.add_argument("--quick", action="store_true", help="our own counters only")
    options = parser.parse_args()
    if options.quick:
        for program, figures in quick(options.bundle).items():
            print(program, json.dumps(figures["host"]))
        return
    for result in run(options):
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / "engines.json").write_text(json.dumps(result, indent=1))
            (options.out / "engines.svg").write_text(draw(result["medians"]))
    print(f"{result['date']}, {result['machine']}, medians of {options.rounds}")
    print_table(result["medians"])


if __name__ == "__main__":
    main()
