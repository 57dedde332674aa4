"""pytest tests/bench/test_page.py: what tests.bench.page makes of its figures."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.bench import page, page_bytes
from tests.bench.engine_report import medians
from tests.bench.page_bytes import Size, part_of
from tests.bench.static_host import Sent


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("index.html", "app"),
        ("", "app"),
        ("assets/index-C4w300rk.js", "app"),
        ("icons/192.png", "app"),
        ("sw.js", "service worker"),
        ("assets/api-worker-BY70fXk4.js", "API worker"),
        ("assets/worker-BaIxsJxb.js", "engine worker"),
        ("assets/_virtual_xgrammar-BB1bqDgm.js", "xgrammar"),
        ("assets/wllama-DTxmcCWH.wasm", "wllama"),
        ("assets/python-0123abcd/pyodide.asm.wasm", "Pyodide: interpreter"),
        ("assets/python-0123abcd/python_stdlib.zip", "Pyodide: library"),
        ("assets/python-0123abcd/jinja2-3.1.6-cp314-none-any.whl", "Pyodide: wheels"),
        ("assets/python-0123abcd/python_more.zip", "Pyodide: library, later"),
        ("assets/python-Bkw2zFv4.js", "frames of tools"),
        ("outside.html", "frames of tools"),
        ("assets/temml-Lx_2cCxq.js", "app, later"),
        ("assets/pdf.worker.min-CjjyN-DQ.js", "app, later"),
        ("python/transom-0.5.0-py3-none-any.whl", "wheel for programs"),
        ("demo/params_shard_0.bin", "model"),
        ("never-heard-of", page_bytes.OTHER),
    ],
)
def test_files_belong_to_parts(path: str, part: str) -> None:
    assert part_of(path) == part


def test_sizes_are_those_of_gzip(tmp_path: Path) -> None:
    (tmp_path / "sw.js").write_bytes(data := b"let a = 1;\n" * 999)
    (tmp_path / "sw.js.map").write_bytes(b"{}")
    found = page_bytes.sizes(tmp_path, page_bytes.files_of(tmp_path))
    assert found == {"service worker": Size(1, len(data), len(gzip.compress(data, 9)))}
    more = {**found, "Pyodide: library": Size(1, 7, 5), "model": Size(2, 1000, 900)}
    sums = page_bytes.with_sums(more)
    assert sums["Pyodide"] == Size(1, 7, 5)
    assert sums["all but the model"] == found["service worker"] + Size(1, 7, 5)


def test_traffic_counts_what_was_sent_and_what_came_twice() -> None:
    sent = [
        Sent("/", 200, 10),
        Sent("/sw.js", 200, 5),
        Sent("/sw.js", 200, 5),
        Sent("/sw.js", 304, 0),
        Sent("/demo/a.bin", 206, 100),
        Sent("/demo/a.bin", 206, 100),
        Sent("/healthz", 404, 300),
    ]
    assert page_bytes.traffic(sent) == {
        "app": {"requests": 1, "bytes": 10, "twice": 0},
        "service worker": {"requests": 3, "bytes": 10, "twice": 1},
        "model": {"requests": 2, "bytes": 200, "twice": 0},
        "HTTP 404": {"requests": 1, "bytes": 0, "twice": 0},
    }


def one_round(first_token: float, token: float) -> dict[str, Any]:
    def visits(cost: Any = None) -> dict[str, Any]:
        moments = {"script": 300.0, "firstToken": first_token}
        return {"cold": {"moments": moments}, "warm": {"moments": moments, "cost": cost}}

    real = {
        "api": {"first": [12.0, 14.0, 90.0], "perToken": [101.0]},
        "engine": {"first": [10.0], "perToken": [100.0]},
    }
    fake = {
        "veryFirst": 30.0,
        "api": {
            "first": [4.0],
            "perToken": {"1": token},
            "chunks": {"1": 9},
            "late": [2.0, 1.0],
            "toEngine": [3.0],
        },
        "engine": {"first": [1.0], "perToken": {"1": 0.25}},
    }
    return {"visits": {"transom": visits(real), "engine": visits()}, "fake": fake}


def test_medians_and_costs() -> None:
    rounds = [one_round(2000, 0.5), one_round(9000, 0.75), one_round(3000, 3)]
    found = medians(page.samples(rounds))
    assert found[page.VISITS]["transom"] == {
        "cold: the page's script runs, s": 0.3,
        "cold: first token, s": 3,
        "warm: the page's script runs, s": 0.3,
        "warm: first token, s": 3,
    }
    assert page.costs(found) == {
        page.FAKE: {"first frame, ms": 3, "a token, 1 at a time, ms": 0.5},
        page.REAL: {"first frame, ms": 4, "a token, ms": 1},
    }


def test_costs_are_held_beside_what_they_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    page.print_costs({page.FAKE: {"first frame, ms": 3.0, "a token, 4 at a time, ms": 0.5}})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2:] for line in lines[2:]] == [["3.000", "15.0"], ["0.500", "0.3"]]
