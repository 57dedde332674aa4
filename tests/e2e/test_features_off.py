"""What a machine may lack, taken away one by one: answers stay right.

Node on Mesa's llvmpipe can do without features and limits of the adapter; Chromium without what a
browser adds. Each must say what the oracle says.
"""

import base64
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, Worker

from tests.bench.static_host import Sent, serve
from tests.e2e import node_engine, oracle, tiny_bundles
from tests.e2e.browser import engine_worker, open_chromium, serve_folder, watch
from tests.e2e.commands import Prompt

FALLBACK, GPU = "program-f32-fallback.json", "program-f32.json"
ANSWER = "The capital of France is Paris."
TIE = 1e-2
TOKENS = 12

LACKS = {
    "no f16": (FALLBACK, ["--without", "shader-f16"]),
    "no subgroups": (FALLBACK, ["--without", "subgroups"]),
    "least limits": (FALLBACK, ["--least-limits"]),
    "nothing beyond the standard, on a GPU": (
        GPU,
        ["--least-limits", "--without", "shader-f16,subgroups"],
    ),
}

NO_JSPI = "delete WebAssembly.Suspending; delete WebAssembly.promising;\n"
NO_FILE_STREAMS = "delete self.FileSystemFileHandle?.prototype.createWritable;\n"
TINY = "llama"
ABILITIES = """() => ({
    jspi: "Suspending" in WebAssembly || "promising" in WebAssembly,
    isIsolated: self.crossOriginIsolated,
    sharedMemory: typeof SharedArrayBuffer !== "undefined",
})"""
# Where models are kept: entries of the Cache API, and folders of the private file system.
PLACES = """async () => {
    const cache = await caches.open("transom-blobs-v1");
    const paths = (await cache.keys()).map(({ url }) => new URL(url).pathname);
    const origin = await navigator.storage.getDirectory();
    const folders = [];
    for await (const name of (await origin.getDirectoryHandle("transom")).keys()) {
        folders.push(name);
    }
    return [paths.filter((path) => path.startsWith("/blobs/")).length, folders];
}"""

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
    # Only programs for CPUs have kernels for subgroups, and llvmpipe's are large enough for them.
    by_subgroups = library == FALLBACK and "subgroups" not in " ".join(lacks)
    assert any(scene.subgroup_shaders > 0 for scene in scenes) is by_subgroups
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


def copy_page(web_build: Path, site: Path, removal: str = "") -> None:
    """The page; each of its scripts begins with what removes something, workers' too, and the
    service worker is told their digests."""
    shutil.copytree(web_build, site)
    if removal == "":
        return
    service_worker = (site / "sw.js").read_text()
    for script in (site / "assets").glob("*.js"):
        before = script.read_bytes()
        script.write_bytes(removal.encode() + before)
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
    copy_page(web_build, site, "" if has_jspi else NO_JSPI)
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


@pytest.mark.browser
def test_a_browser_that_cannot_replace_files_keeps_models_all_the_same(
    runtime: Path, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    """Safari before 26 has the private file system without the streams that we write it with."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    copy_page(web_build, site, NO_FILE_STREAMS)
    tiny_bundles.compile_tiny(TINY, site / TINY, work, runtime)
    log: list[Sent] = []
    with serve(site, log) as address:
        first = keep_and_answer(address, playwright, chromium, tmp_path / "profile")
        assert [sent for sent in log if sent.path.endswith(".bin")] != []
        log.clear()
        again = keep_and_answer(address, playwright, chromium, tmp_path / "profile", leave=True)
    assert first.report["bytesFromCache"] == again.report["bytesDownloaded"] == 0
    assert first.report["bytesDownloaded"] == again.report["bytesFromCache"] > 0
    asked = [sent for sent in log if sent.path.startswith(f"/{TINY}/")]
    # A model may have moved on; its host says that it has not.
    assert [(sent.path, sent.status) for sent in asked] == [(f"/{TINY}/index.json", 304)]
    assert again.said == first.said


@dataclass(frozen=True)
class Kept:
    report: dict[str, Any]
    said: list[int]


def keep_and_answer(
    address: str, playwright: Playwright, chromium: str, profile: Path, *, leave: bool = False
) -> Kept:
    """One visit; with `leave` the model is deleted at its end."""
    with open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{address}/?bundle={TINY}/")
        report: dict[str, Any] = page.evaluate("() => window.transom.ready")
        print(f"\n{report}")
        assert report["engine"] == "webgpu"
        assert report["isKept"] is True
        answer = page.evaluate(
            """() => window.transom.models.generate({
                messages: [{ role: "user", content: "fox fox" }],
                options: { temperature: 0, maxTokens: 8 },
            })"""
        )
        blobs, folders = page.evaluate(PLACES)
        assert blobs > 0
        assert "blobs" not in folders
        if leave:
            freed = page.evaluate(
                """async () => {
                    const [{ id }] = (await window.transom.storage.stored()).models;
                    return window.transom.storage.remove(id);
                }"""
            )
            assert freed >= report["bytesFromCache"]
            assert page.evaluate(PLACES)[0] == 0
        # The page asks its host whether a server is there.
        assert [words for words in complaints if "404" not in words] == []
        return Kept(report, answer["tokenIds"])
