"""Runs the page's engine in Node on a chosen Vulkan driver and reads what it prints.

Knows the command lines of web/src/node/{generate,complete,together,draws}.ts and where `.ci/mesa`
unpacks; knows nothing of models.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = ROOT / "web" / "dist-node"
TIMEOUT_SECONDS = 1500
"""One run of five prompts takes about a minute alone on two cores; a shared machine takes much
longer."""

QUICKLY = {"GALLIVM_PERF": "nopt", "LP_NATIVE_VECTOR_WIDTH": "128"}
"""For llvmpipe: it compiles for narrow lanes and optimises nothing, a fifth of the time for kernels
that run for a moment. Always both: Mesa's cache tells the first apart, maybe not the second. With
lanes this narrow, programs do without subgroups."""

SWIFTSHADER_ICD = Path("/usr/lib/chromium/vk_swiftshader_icd.json")


@dataclass(frozen=True)
class NodeRun:
    load: dict[str, Any]
    """The engine's load report (web/src/protocol.ts, LoadReport)."""
    answers: tuple[dict[str, Any], ...]
    """One per prompt: promptTokenIds, tokenIds, text, finishReason, timings."""
    first_logits: npt.NDArray[np.float32]
    """[prompts, vocab]"""
    stderr: str


def mesa_environment() -> dict[str, str] | None:
    """Variables that make Vulkan find Mesa's llvmpipe, or None where `.ci/mesa` has not run."""
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mesa = Path(os.environ.get("TRANSOM_CACHE") or user_cache / "transom") / "mesa"
    if not (mesa / "version").exists():
        return None
    libraries = mesa / "root" / (mesa / "library_dir").read_text().strip()
    return {"VK_ICD_FILENAMES": str(mesa / "lvp_icd.json"), "LD_LIBRARY_PATH": str(libraries)}


def swiftshader_environment() -> dict[str, str] | None:
    """Variables that make Vulkan find Chromium's SwiftShader, or None without Chromium."""
    if not SWIFTSHADER_ICD.exists():
        return None
    return {"VK_ICD_FILENAMES": str(SWIFTSHADER_ICD)}


def generate(
    bundle: Path,
    library: str,
    prompts: Sequence[Sequence[int] | Sequence[dict[str, str]]],
    tokens: int,
    work_dir: Path,
    driver: dict[str, str],
) -> NodeRun:
    """Answer prompts greedily with one library of a bundle.

    Args:
        bundle: folder that `transom compile` wrote.
        library: file name of the model library within it.
        prompts: token ids or messages, one list per prompt.
        tokens: most tokens to generate for each.
        work_dir: takes the prompt file and the logits.
        driver: environment variables that choose the Vulkan driver.
    """
    prompts_path = work_dir / "prompts.json"
    logits_path = work_dir / f"{library}.logits"
    prompts_path.write_text(json.dumps([list(prompt) for prompt in prompts]))
    stdout, stderr = _run(
        bundle,
        library,
        driver,
        "--prompts", str(prompts_path),
        "--max-tokens", str(tokens),
        "--logits-out", str(logits_path),
    )  # fmt: skip
    load, *answers = (json.loads(line) for line in stdout.splitlines() if line.startswith("{"))
    if len(answers) != len(prompts):
        raise RuntimeError(f"{len(prompts)} prompts, {len(answers)} answers\n{stdout[-2000:]}")
    logits = np.fromfile(logits_path, np.float32).reshape(len(prompts), -1)
    return NodeRun(load, tuple(answers), logits, stderr)


def chat(
    bundle: Path,
    library: str,
    requests: Sequence[Mapping[str, Any]],
    work_dir: Path,
    driver: dict[str, str],
) -> tuple[dict[str, Any], ...]:
    """Answer what the page may ask (`ChatRequest` in web/src/protocol.ts).

    Each answer is its text and how it ended.
    """
    path = work_dir / "chats.json"
    path.write_text(json.dumps(list(requests)))
    stdout, _ = _run(bundle, library, driver, "--chats", str(path))
    _, *answers = (json.loads(line) for line in stdout.splitlines() if line.startswith("{"))
    return tuple(answers)


def complete(
    bundle: Path,
    library: str,
    requests: Sequence[Mapping[str, Any]],
    work_dir: Path,
    driver: dict[str, str],
) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """What the model tells of itself, and the events of requests that run together
    (web/src/node/complete.ts)."""
    path = work_dir / "requests.json"
    path.write_text(json.dumps(list(requests)))
    stdout, _ = _run(bundle, library, driver, "--requests", str(path), entry="complete.mjs")
    opened, *rows = (json.loads(line) for line in stdout.splitlines() if line.startswith("{"))
    return opened, tuple(rows)


def score(
    bundle: Path,
    library: str,
    token_ids: Sequence[int],
    prefilled: int,
    work_dir: Path,
    driver: dict[str, str],
) -> npt.NDArray[np.float32]:
    """Read known tokens; gives the logits that each token from `prefilled` on was up against.

    [len(token_ids) - prefilled, vocab]; the first `prefilled` go in as a prompt does.
    """
    passages_path, logits_path = work_dir / "passages.json", work_dir / f"{library}.logits"
    passages_path.write_text(json.dumps([{"tokenIds": list(token_ids), "prefilled": prefilled}]))
    arguments = ["--score", str(passages_path), "--logits-out", str(logits_path)]
    _run(bundle, library, driver, *arguments)
    return np.fromfile(logits_path, np.float32).reshape(len(token_ids) - prefilled, -1)


@dataclass(frozen=True)
class Scene:
    """Requests that shared the engine (web/src/node/together.ts)."""

    answers: tuple[dict[str, Any], ...]
    """Of each request: tokenIds, text, logprobs and how it ended, or `error`."""
    order: tuple[int, ...]
    """Whose token came when."""
    dispatches: int
    subgroup_shaders: int
    """Of those that were made for it: whose threads hand values to each other."""


def together(
    bundle: Path,
    scenes: Sequence[Sequence[Mapping[str, Any]]],
    work_dir: Path,
    driver: dict[str, str],
    library: str,
    *lacks: str,
) -> tuple[dict[str, Any], tuple[Scene, ...]]:
    """The load report, and what came of each scene. `lacks` are options that make a lesser GPU."""
    path = work_dir / "scenes.json"
    path.write_text(json.dumps([list(scene) for scene in scenes]))
    arguments = ["--scenes", str(path), *lacks]
    stdout, _ = _run(bundle, library, driver, *arguments, entry="together.mjs")
    load, *rows = (json.loads(line) for line in stdout.splitlines() if line.startswith("{"))
    return load, tuple(
        Scene(
            tuple(row["answers"]),
            tuple(row["order"]),
            row["counts"]["dispatches"],
            row["counts"]["subgroupShaders"],
        )
        for row in rows
    )


def draws(
    bundle: Path, library: str, request: Mapping[str, Any], work_dir: Path, driver: dict[str, str]
) -> tuple[npt.NDArray[np.float32], tuple[dict[str, Any], ...]]:
    """Logits, and what each setting of a `--draws` file chose of them."""
    path, logits_path = work_dir / "draws.json", work_dir / "draws.logits"
    path.write_text(json.dumps(request))
    arguments = ["--draws", str(path), "--logits-out", str(logits_path)]
    stdout, _ = _run(bundle, library, driver, *arguments, entry="draws.mjs")
    rows = (json.loads(line) for line in stdout.splitlines() if line.startswith("{"))
    return np.fromfile(logits_path, np.float32), tuple(rows)


def _run(
    bundle: Path,
    library: str,
    driver: dict[str, str],
    *arguments: str,
    entry: str = "generate.mjs",
) -> tuple[str, str]:
    """Run a Node entry; gives both streams. Raises with what it wrote when it fails."""
    command = ["node", str(ENTRIES / entry), "--bundle", str(bundle)]
    done = subprocess.run(
        [*command, "--library", library, *arguments],
        env={**os.environ, **driver},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{entry} --library {library} ended with {done.returncode}\n{done.stderr[-4000:]}"
        )
    return done.stdout, done.stderr
