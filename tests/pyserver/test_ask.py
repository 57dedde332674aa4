"""pytest tests/pyserver/test_ask.py: `transom ask` drives a real browser, on a page that pretends.

The page has the automation hook of the real one (web/src/page/automation.ts) and no model behind
it, so these tests take seconds. The real page is asked in tests/e2e.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from transom_cli.chromium import NAMES
from transom_cli.main import run
from transom_server.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGE = '<!doctype html><title>fake</title><script src="assets/fake.js"></script>'
# Types its answer in three pieces; `?model=` of the address decides how it ends.
SCRIPT = """
const adapter = { vendor: "acme", architecture: "acme", description: "", isFallback: true };
const load = { model: "tiny", adapter, computeDtype: "float32", schedule: "fallback",
  loadSeconds: 1.25 };
const progress = { phase: "weights", doneBytes: 5, totalBytes: 10, bytesPerSecond: 0,
  secondsLeft: null, pipelineFraction: 0 };
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const fail = (code, message) => Promise.reject(Object.assign(new Error(message), { code }));
let text = "";
const model = new URL(location).searchParams.get("model");
const ready = async () => {
  await sleep(0.3);
  if (BROKEN) return fail("digest-mismatch", "tokenizer.json is not\\n what it should be");
  if (NO_ADAPTER) return fail("no-adapter", "no adapter");
  return load;
};
window.transom = {
  ready: ready(),
  progress: () => progress,
  partial: () => ({ text, tokenIds: [] }),
  async ask(question, options) {
    for (const piece of [model, " heard: ", `${question} ${JSON.stringify(options)}`]) {
      text += piece;
      await sleep(0.25);
    }
    return { text: text + "!", promptTokens: 3, completionTokens: 4,
      prefillTokensPerSecond: 5, decodeTokensPerSecond: 6.5 };
  },
};
"""

AskCli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(
    filled: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing_tool: Callable[[str], NoReturn],
) -> AskCli:
    """Ask the fake page; exit code and both streams."""
    if not any(map(shutil.which, NAMES)):
        missing_tool("no Chromium here: apt-get install chromium")
    web = tmp_path / "web"
    (web / "assets").mkdir(parents=True)
    (web / "index.html").write_text(PAGE)
    monkeypatch.setenv("TRANSOM_MODELS", str(filled.root))
    monkeypatch.setenv("TRANSOM_WEB_DIR", str(web))

    def run_ask(
        *arguments: str, broken: bool = False, no_adapter: bool = False
    ) -> tuple[int, str, str]:
        flags = f"const BROKEN = {json.dumps(broken)}, NO_ADAPTER = {json.dumps(no_adapter)};"
        (web / "assets" / "fake.js").write_text(flags + SCRIPT)
        code = run(["ask", *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_ask


QUESTION = "Is \"this\" a 'question', é?"
ANSWER = f'tiny heard: {QUESTION} {{"temperature":0,"maxTokens":7}}!'


def test_the_answer_is_printed_and_the_figures_after_it(ask: AskCli) -> None:
    code, out, err = ask("tiny", QUESTION, "--max-tokens", "7")
    assert code == 0, err
    assert out == ANSWER + "\n"
    first, *_, last = err.splitlines()
    assert first == "loading: weights"
    assert last == (
        "acme (on the CPU), float32, schedule fallback, loaded in 1.2 s, "
        "prefill 5.00 tok/s, decode 6.50 tok/s, 3 + 4 tokens"
    )


def test_json(ask: AskCli) -> None:
    code, out, err = ask("tiny", QUESTION, "--max-tokens", "7", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["answer"]["text"] == ANSWER
    assert report["load"]["computeDtype"] == "float32"


def test_what_the_page_says_is_the_error(ask: AskCli) -> None:
    code, out, err = ask("tiny", "q", broken=True)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "error: tokenizer.json is not what it should be"


def test_without_an_adapter_it_tries_the_cpu_once(ask: AskCli) -> None:
    code, _, err = ask("tiny", "q", no_adapter=True)
    assert code == 2
    assert err.count("using SwiftShader") == 1
    assert err.splitlines()[-1] == "error: no adapter"


def test_time_runs_out(ask: AskCli) -> None:
    code, _, err = ask("tiny", "q", "--timeout", "1")
    assert code == 2
    assert "out of time" in err


def test_a_server_that_is_not_there(ask: AskCli) -> None:
    code, _, err = ask("tiny", "q", "--url", "http://127.0.0.1:1")
    assert code == 2
    assert err.startswith("error: the browser failed: ")
    assert err.count("\n") == 1
