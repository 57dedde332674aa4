"""The page's engine, run in Node on Dawn (`web/dist-node/generate.mjs`): greedy answers, scores.

Knows the command line of web/src/node/generate.ts. The GPU driver is the machine's own, or Mesa's
llvmpipe where `.ci/mesa` has unpacked it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import platformdirs

from transom_verify.errors import VerifyError

# A passage of some hundred tokens on a slow CPU.
TIMEOUT_SECONDS: Final = 3600
# What generate.mjs ends with where WebGPU finds no adapter.
EXIT_NO_ADAPTER: Final = 3

_BUILD: Final = "npm ci && npm run build:node"


class NoAdapter(VerifyError):
    """WebGPU in Node has nothing to run on."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to read token by token; `text` asks for the tokenizer's own ids beside it."""

    token_ids: Sequence[int]
    prefilled: int = 1
    text: str | None = None


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What one library said. Dicts and fields are those of generate.ts and score.ts."""

    load: dict[str, Any]
    answers: tuple[dict[str, Any], ...]
    scores: tuple[dict[str, Any], ...]
    first_logits: npt.NDArray[np.float32]
    """[prompts, vocabulary]: logits after each whole prompt."""


def engine_path() -> Path:
    """The built engine of this checkout. Raises `VerifyError` where it, or Node, is missing."""
    path = Path(__file__).resolve().parents[2] / "web" / "dist-node" / "generate.mjs"
    if not path.is_file():
        raise VerifyError(f"the engine for Node is not built; run `{_BUILD}` in the checkout")
    if shutil.which("node") is None:
        raise VerifyError("no Node.js found; install version 20 or newer")
    return path


def llvmpipe_environment(environ: Mapping[str, str]) -> dict[str, str] | None:
    """Variables that make Vulkan find Mesa's llvmpipe, or None where `.ci/mesa` has not run."""
    chosen = environ.get("TRANSOM_CACHE")
    mesa = (Path(chosen) if chosen else platformdirs.user_cache_path("transom")) / "mesa"
    try:
        libraries = mesa / "root" / (mesa / "library_dir").read_text().strip()
    except OSError:
        return None
    return {"VK_ICD_FILENAMES": str(mesa / "lvp_icd.json"), "LD_LIBRARY_PATH": str(libraries)}


def probe(bundle: Path, library: str, driver: Mapping[str, str]) -> dict[str, Any]:
    """Load one library and let it go: the engine's LoadReport. Raises as `run_engine`."""
    report: dict[str, Any] = json.loads(_run(bundle, library, driver).splitlines()[-1])
    return report


def run_engine(
    bundle: Path,
    library: str,
    prompts: Sequence[Any],
    tokens: int,
    passages: Sequence[Passage],
    driver: Mapping[str, str],
    work_dir: Path,
) -> EngineRun:
    """Answer prompts greedily and read passages with one library of a bundle.

    Args:
        bundle: folder with `index.json`, `manifests/` and the files that they name.
        library: file name of the model library.
        prompts: messages or token ids, one list each.
        tokens: most tokens of an answer.
        passages: what to read.
        driver: environment variables that choose the Vulkan driver.
        work_dir: takes the files that are passed on.

    Raises `NoAdapter`, and `VerifyError` with the engine's own words.
    """
    prompts_path, passages_path = work_dir / "prompts.json", work_dir / "passages.json"
    logits_path = work_dir / "logits.bin"
    prompts_path.write_text(json.dumps(list(prompts)))
    rows = [
        {"tokenIds": list(row.token_ids), "prefilled": row.prefilled, "text": row.text}
        for row in passages
    ]
    passages_path.write_text(json.dumps(rows))
    stdout = _run(
        bundle,
        library,
        driver,
        "--prompts", str(prompts_path),
        "--max-tokens", str(tokens),
        "--score", str(passages_path),
        "--logits-out", str(logits_path),
    )  # fmt: skip
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    load, answers, scores = lines[0], lines[1 : 1 + len(prompts)], lines[1 + len(prompts) :]
    if len(scores) != len(passages):
        raise VerifyError(f"{library}: {len(lines) - 1} answers of the engine are not enough")
    logits = np.fromfile(logits_path, np.float32)
    rows_of_logits = len(prompts) + sum(len(score["logProbabilities"]) for score in scores)
    if logits.size == 0 or logits.size % rows_of_logits:
        raise VerifyError(f"{library}: {logits.size} logits for {rows_of_logits} positions")
    by_position = logits.reshape(rows_of_logits, -1)
    return EngineRun(load, tuple(answers), tuple(scores), by_position[: len(prompts)])


def _run(bundle: Path, library: str, driver: Mapping[str, str], *more: str) -> str:
    """Run generate.mjs; gives what it printed."""
    command = ["node", str(engine_path()), "--bundle", str(bundle), "--library", library, *more]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **driver},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise VerifyError(f"{library} did not finish in {TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        raise _failure(library, done.returncode, done.stderr)
    return done.stdout


def _failure(library: str, code: int, stderr: str) -> VerifyError:
    if "Cannot find package" in stderr or "ERR_MODULE_NOT_FOUND" in stderr:
        return VerifyError("the npm packages of the engine are missing; run `npm ci`")
    lines = [line.removeprefix("error: ") for line in stderr.splitlines() if line.strip()]
    words = next((line for line in reversed(lines)), f"it ended with {code}")
    if code == EXIT_NO_ADAPTER:
        return NoAdapter(f"WebGPU in Node: {words}")
    return VerifyError(f"{library}: {words}")
