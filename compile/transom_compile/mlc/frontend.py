"""MLC-LLM's own compiler, for architectures that Transom has not: a folder in, an MLC model out.

`mlc_llm` has no usable release on PyPI and brings a TVM of its own, so it lives in an environment
of its own; this calls that environment's Python. Knows MLC's command line, not its insides.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transom_compile.bundle import Bundle
from transom_compile.hub.folder import optional_object
from transom_compile.mlc.errors import MlcFailed
from transom_compile.mlc.folder import CACHE_NAMES, TEMPLATE_NAME, TOKENIZER_CONFIG_NAME
from transom_compile.mlc.seal import mlc_bundle
from transom_compile.pipeline import CompileOptions, workspace
from transom_compile.progress import PhaseFigures, Phases, Progress
from transom_compile.recognise import CompileError

# The Python that can import mlc_llm; empty: the one that runs this.
PYTHON_VARIABLE = "TRANSOM_MLC_PYTHON"
DEFAULT_QUANTIZATION = "q4f16_1"
# `convert_weight`, `gen_config` and `compile` have these words since 0.1; libraries that our page
# can start come from TVM's FFI, which the import checks in the library itself.
OLDEST = (0, 1)
NEWEST = (0, 20)
# MLC wants a template by name; the folder's own is put in its place.
ANY_TEMPLATE = "LM"
# A version is asked for by starting Python; TVM takes seconds to import, so it is not imported.
ASK_SECONDS = 60
SHOWN_CHARACTERS = 500
_ASK = """
import importlib.metadata, importlib.util, json
found = importlib.util.find_spec("mlc_llm") is not None
names = importlib.metadata.packages_distributions().get("mlc_llm", []) if found else []
print(json.dumps({"found": found, "versions": {n: importlib.metadata.version(n) for n in names}}))
"""


@dataclass(frozen=True, slots=True)
class MlcCompiler:
    """A Python that has mlc_llm, and that package's name and version."""

    python: str
    package: str
    version: str


@dataclass(frozen=True, slots=True)
class MlcReport:
    """What came out: a bundle of one platform, and which compiler made it."""

    bundle: Bundle
    compiler: MlcCompiler
    phases: tuple[PhaseFigures, ...]
    notes: tuple[str, ...]


def compile_bundle_with_mlc(
    source: Path, out_dir: Path, options: CompileOptions, progress: Progress
) -> MlcReport:
    """The whole way from a Hugging Face folder to a bundle at `out_dir`, by MLC's compiler.

    Raises `TransomError`; nothing is left behind then.
    """
    if not source.is_dir():
        raise CompileError(f"{source} is no folder; MLC compiles Hugging Face folders only")
    if options.recipe.adapter is not None or options.recipe.imatrix is not None:
        raise CompileError("--adapter and --imatrix are not for --frontend mlc")
    compiler = find_mlc()
    template = template_of(source)
    phases = Phases(progress)
    with workspace(out_dir) as folder:
        library = compile_with_mlc(
            compiler,
            source,
            folder,
            quantization=options.recipe.quantize or DEFAULT_QUANTIZATION,
            context=options.context,
            prefill_chunk=options.prefill_chunk,
            phases=phases,
        )
        bundle, notes = mlc_bundle(folder, library, folder, progress, template)
    return MlcReport(bundle.moved_to(out_dir), compiler, phases.figures, notes)


def find_mlc() -> MlcCompiler:
    """The installed compiler. Raises `MlcFailed` saying how to get one, or which is too old."""
    python = os.environ.get(PYTHON_VARIABLE) or sys.executable
    try:
        done = subprocess.run(
            [python, "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise MlcFailed(f"{python} ({PYTHON_VARIABLE}) does not run: {error}") from None
    if not answer or not answer["found"]:
        raise MlcFailed(
            f"{python} has no mlc_llm; install it from MLC's own package index into an environment "
            f"of its own, and name that one's Python with {PYTHON_VARIABLE}"
        )
    if not answer["versions"]:
        raise MlcFailed(f"{python} has an mlc_llm of no known version; install MLC's package")
    package, version = next(iter(answer["versions"].items()))
    if not OLDEST <= _release(version) <= NEWEST:
        raise MlcFailed(
            f"{package} {version} is not known to work; Transom calls versions from "
            f"{_dotted(OLDEST)} to {_dotted(NEWEST)}"
        )
    return MlcCompiler(python, package, version)


def compile_with_mlc(
    compiler: MlcCompiler,
    source: Path,
    out: Path,
    *,
    quantization: str,
    context: int | None,
    prefill_chunk: int,
    phases: Phases,
) -> Path:
    """Convert and compile the Hugging Face folder `source` into the MLC model folder `out`.

    Gives the library. Raises `MlcFailed` with MLC's own last words.
    """
    library = out / f"library-{'f16' if 'f16' in quantization else 'f32'}.wasm"
    # A browser runs one conversation, and a cache for 128 would not fit.
    sizes = {"prefill_chunk_size": prefill_chunk, "max_batch_size": 1}
    if context is not None:
        sizes["context_window_size"] = context
    options = [f"--{name.replace('_', '-')}={value}" for name, value in sizes.items()]
    overrides = ";".join(f"{name}={value}" for name, value in sizes.items())
    steps: dict[str, list[str | Path]] = {
        "mlc convert": ["convert_weight", source, "--quantization", quantization, "-o", out],
        "mlc config": [
            "gen_config", source, "--quantization", quantization,
            "--conv-template", ANY_TEMPLATE, *options, "-o", out,
        ],
        "mlc compile": [
            "compile", out / "mlc-chat-config.json", "--device", "webgpu",
            "--overrides", overrides, "-o", library,
        ],
    }  # fmt: skip
    for phase, arguments in steps.items():
        with phases.run(phase):
            _run(compiler, arguments)
    for name in CACHE_NAMES[1:]:
        # Under the name that WebLLM asks for.
        if (out / name).is_file() and not (out / CACHE_NAMES[0]).exists():
            (out / name).rename(out / CACHE_NAMES[0])
    if not library.is_file():
        raise MlcFailed(f"{compiler.package} {compiler.version} wrote no {library.name}")
    return library


def template_of(source: Path) -> str:
    """The folder's own chat template, which MLC's named ones imitate. Raises `MlcFailed`."""
    if (source / TEMPLATE_NAME).is_file():
        return (source / TEMPLATE_NAME).read_text(encoding="utf-8")
    template = optional_object(source / TOKENIZER_CONFIG_NAME).get("chat_template")
    if not isinstance(template, str) or not template:
        raise MlcFailed(f"{source} has no chat template; nobody can say what a prompt looks like")
    return template


def _run(compiler: MlcCompiler, arguments: Sequence[str | Path]) -> None:
    command = [compiler.python, "-m", "mlc_llm", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        words = " ".join(output.split())[-SHOWN_CHARACTERS:]
        raise MlcFailed(f"mlc_llm {arguments[0]} ended with {process.returncode}: {words}")


def _release(version: str) -> tuple[int, ...]:
    """The first two numbers; a version that has none is older than all."""
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        return (0, 0)
    return int(parts[0]), int(parts[1])


def _dotted(release: tuple[int, ...]) -> str:
    return ".".join(map(str, release))
