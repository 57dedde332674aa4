"""The same checkpoint and the same tools give the same digests; nothing is built twice."""

import json
from pathlib import Path

import pytest

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
    assert max(phase["peak_rss_bytes"] for phase in cold["phases"]) < PEAK_RSS_BYTES
