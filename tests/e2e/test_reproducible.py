"""The same checkpoint and the same tools give the same digests; nothing is built twice, nor held
whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.bench.compile import LLAMA_1B, make_fine_tune, make_random_llama
from tests.e2e.commands import COMPILE_TIMEOUT_SECONDS, Compiled, transom

PEAK_RSS_BYTES = 1_500_000_000
"""Enough for a laptop of 4 GB that has a browser open too."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * COMPILE_TIMEOUT_SECONDS)]


def test_compiling_twice_gives_identical_digests(
    compiled: Compiled, smollm2: Path, runtime: Path, tmp_path: Path
) -> None:
    """Once with an empty cache, so that every library is really built, and once more from it."""
    reports = []
    for number in range(2):
        done = transom(
            "compile", smollm2, "--out", tmp_path / f"bundle{number}", "--json",
            "--runtime-dir", runtime,
            store=tmp_path / "models",
            environment={"TRANSOM_CACHE": str(tmp_path)},
            timeout=COMPILE_TIMEOUT_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        reports.append(json.loads(done.stdout.splitlines()[-1]))
    cold, warm = reports
    print("\ncompile, nothing cached")
    for phase in cold["phases"]:
        peak = phase["peak_rss_bytes"] / 1e6
        print(f"  {phase['name']:<12}{phase['seconds']:8.2f} s   peak {peak:6.0f} MB")
    print(f"  again        {sum(phase['seconds'] for phase in warm['phases']):8.2f} s")
    for library in cold["libraries"]:
        costs = ", ".join(f"{name} {cost:.2f} s" for name, cost in library["seconds"].items())
        print(f"  {library['name']:<28}{library['size_bytes']:>10} bytes   {costs}")

    assert cold["cached_libraries"] == []
    assert warm["cached_libraries"] == [library["name"] for library in cold["libraries"]]
    assert cold["index"] == warm["index"] == compiled.report["index"]
    assert cold["manifests"] == compiled.report["manifests"]
    assert max(peaks(cold)) < PEAK_RSS_BYTES


def test_a_fine_tune_of_a_known_model_builds_nothing(
    compiled: Compiled, smollm2: Path, runtime: Path, tmp_path: Path
) -> None:
    """Same sizes, other weights: other shards, the same libraries, and no compiler is started."""
    tuned = make_fine_tune(smollm2, tmp_path / "tuned.gguf")
    report = compile_json(tuned, tmp_path, runtime)
    print(f"\nfine-tune {sum(phase['seconds'] for phase in report['phases']):.2f} s")
    assert report["cached_libraries"] == [library["name"] for library in report["libraries"]]
    assert report["index"] != compiled.report["index"]
    for name in report["cached_libraries"]:
        ours, theirs = (folder / name for folder in (compiled.bundle, tmp_path / "bundle"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_model_of_a_billion_weights_needs_little_memory(
    smollm2: Path, runtime: Path, tmp_path: Path
) -> None:
    """Llama 3.2 1B's sizes, random Q4_0: no process, walk or compiler, comes near two gigabytes."""
    big = make_random_llama(smollm2, tmp_path / "big.gguf", LLAMA_1B)
    report = compile_json(big, tmp_path, runtime, "--variant", "f32")
    print(
        f"\n1B: {report['source_bytes'] / 1e6:.0f} MB, "
        f"walk {max(walk_peaks(report)) / 1e6:.0f} MB, largest {max(peaks(report)) / 1e6:.0f} MB"
    )
    assert report["source_bytes"] > 600_000_000
    assert max(peaks(report)) < 2_000_000_000
    assert max(walk_peaks(report)) < report["source_bytes"], "one parameter at a time"
    shutil.rmtree(tmp_path / "bundle")
    big.unlink()


def compile_json(source: Path, folder: Path, runtime: Path, *more: str) -> dict[str, Any]:
    done = transom(
        "compile", source, "--out", folder / "bundle", "--json", "--runtime-dir", runtime, *more,
        store=folder / "models", timeout=COMPILE_TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def walk_peaks(report: dict[str, Any]) -> list[int]:
    return [phase["peak_rss_bytes"] for phase in report["phases"]]


def peaks(report: dict[str, Any]) -> list[int]:
    """Of the walk's process and of each compiler's."""
    return [*walk_peaks(report), *(one["peak_rss_bytes"] for one in report["libraries"])]
