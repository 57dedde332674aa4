"""Tiny random models as bundles, with the one program that headless Chromium's adapter takes.

They load in a moment and answer fast, for tests of what is around an answer; what it says is noise.
"""

from pathlib import Path

import pytest

from tests.e2e import tiny_checkpoints
from transom_compile import libraries
from transom_compile.hub.convert import convert_folder
from transom_compile.pipeline import CompileOptions, compile_bundle
from transom_compile.progress import Silent

PROGRAM = "program-f32-fallback.json"


def compile_tiny(checkpoint: str, bundle: Path, work: Path, runtime: Path) -> None:
    """Compile one of `tiny_checkpoints.MODELS` into the folder `bundle`; `work` is an empty one."""
    (only,) = [kind for kind in libraries.LIBRARY_KINDS["f32"] if kind.file_name == PROGRAM]
    tiny_checkpoints.make_checkpoint(checkpoint, work / "hub")
    source = convert_folder(work / "hub", work / "f32.gguf", progress=Silent())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(libraries.LIBRARY_KINDS, "f32", (only,))
        options = CompileOptions(runtime_dir=runtime, variants=("f32",))
        compile_bundle(source, bundle, options, Silent())
