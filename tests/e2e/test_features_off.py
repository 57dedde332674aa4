"""What a machine may lack, taken away one by one: answers stay right.

Node on Mesa's llvmpipe can do without features and limits of the adapter; Chromium without what a
browser adds. Each must say what the oracle says.
"""

import base64
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, Worker

from tests.e2e import node_engine, oracle
from tests.e2e.browser import engine_worker, open_chromium, serve_folder, watch
from tests.e2e.commands import Prompt

FALLBACK, GPU = "program-f32-fallback.json", "program-f32.json"
ANSWER = "The capital of France is Paris."
TIE = 1e-2
TOKENS = 12

LACKS = {
    "no f16": (FALLBACK, ["--without", "shader-f16"]),
    # That a device without them builds other kernels is held by tests/web/program-model.test.ts,
    # that llvmpipe is one with them by tests/compile/test_kernels_subgroups.py.
    "no subgroups": (FALLBACK, ["--without", "subgroups"]),
    "least limits": (FALLBACK, ["--least-limits"]),
    "nothing beyond the standard, on a GPU": (
        GPU,
        ["--least-limits", "--without", "shader-f16,subgroups"],
    ),
}

NO_JSPI = "delete WebAssembly.Suspending; delete WebAssembly.promising;\n"
ABILITIES = """() => ({
    jspi: "Suspending" in WebAssembly || "promising" in WebAssembly,
    isIsolated: self.crossOriginIsolated,
    sharedMemory: typeof SharedArrayBuffer !== "undefined",
})"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.gpu
@pytest.mark.parametrize(("library", "lacks"), LACKS.values(), ids=LACKS)
def test_a_lesser_adapter_answers_the_same(
    library: str,
    lacks: Sequence[str],
    bundle: Path,
    web_build: Path,
    llvmpipe: dict[str, str],
    prompts: list[Prompt],
    oracle_answers: list[oracle.Answer],
    tmp_path: Path,
) -> None:
    """One alone, then two at once: kernels for one row and for several."""
    del web_build
    first, second = prompts[:2]
    asks = [{"promptTokenIds": prompt.token_ids, "maxTokens": TOKENS} for prompt in (first, second)]
    load, scenes = node_engine.together(
        bundle, [asks[:1], asks], tmp_path, llvmpipe, library, *lacks
    )
    adapter = load["adapter"]
    assert adapter["hasShaderF16"] is ("shader-f16" not in " ".join(lacks))
    assert (adapter["workgroupBytes"] == 16384) is ("--least-limits" in lacks)
    (alone,), both = scenes[0].answers, scenes[1].answers
    assert alone["text"] == both[0]["text"] == ANSWER
    comparison = oracle.compare(_first(oracle_answers[1], TOKENS), both[1]["tokenIds"], [])
    assert comparison.within(TIE), comparison


def _first(answer: oracle.Answer, tokens: int) -> oracle.Answer:
    return oracle.Answer(
        answer.prompt,
        answer.token_ids[:tokens],
        answer.first_logits,
        answer.top_ids[:tokens],
        answer.top_logits[:tokens],
    )


@pytest.mark.gpu
def test_f16_is_refused_in_words_where_there_is_none(
    bundle: Path, web_build: Path, llvmpipe: dict[str, str], tmp_path: Path
) -> None:
    del web_build
    with pytest.raises(RuntimeError, match="this adapter has no shader-f16"):
        node_engine.together(
            bundle, [], tmp_path, llvmpipe, "program-f16.json", "--without", "shader-f16"
        )


def copy_page(web_build: Path, site: Path, *, has_jspi: bool) -> None:
    """The page; without JSPI each of its scripts begins with its end, workers' too, and the service
    worker is told their digests."""
    shutil.copytree(web_build, site)
    if has_jspi:
        return
    service_worker = (site / "sw.js").read_text()
    for script in (site / "assets").glob("*.js"):
        before = script.read_bytes()
        script.write_bytes(NO_JSPI.encode() + before)
        assert integrity(before) in service_worker
        service_worker = service_worker.replace(integrity(before), integrity(script.read_bytes()))
    (site / "sw.js").write_text(service_worker)


def integrity(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"


@pytest.mark.browser
@pytest.mark.parametrize("has_jspi", [True, False], ids=["jspi", "no jspi"])
def test_a_browser_without_isolation_answers(
    has_jspi: bool,
    bundle: Path,
    web_build: Path,
    playwright: Playwright,
    chromium: str,
    tmp_path: Path,
) -> None:
    """No server of ours, no headers: a page there is not isolated from other origins."""
    site = tmp_path / "site"
    copy_page(web_build, site, has_jspi=has_jspi)
    (site / "demo").symlink_to(bundle)
    with (
        serve_folder(site) as address,
        open_chromium(playwright, chromium, tmp_path / "profile") as context,
    ):
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{address}/?bundle=demo/")
        report: dict[str, Any] = page.evaluate("() => window.transom.ready")
        assert report["engine"] == "webgpu"
        worker = engine_worker(page)
        for place in (page, worker):
            assert abilities(place) == {
                "jspi": has_jspi,
                "isIsolated": False,
                "sharedMemory": False,
            }
        answer = page.evaluate(
            """() => window.transom.ask("What is the capital of France?",
                                        { temperature: 0, maxTokens: 12 })"""
        )
    assert answer["text"] == ANSWER
    # The page asks its host whether a server is there.
    assert [words for words in complaints if "404" not in words] == []


def abilities(place: Page | Worker) -> dict[str, bool]:
    found: dict[str, bool] = place.evaluate(ABILITIES)
    return found
