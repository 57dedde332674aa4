"""Before step 1: whatever the user named becomes one GGUF file, the native platform of the model.

A GGUF that needs nothing done is used where it lies. Anything else is made in the workspace, one
temporary file at a time. Knows the order; `hub`, `adapter` and `quantize` do the work.
"""

from dataclasses import dataclass
from pathlib import Path

from transom_compile.progress import Phases
from transom_compile.recognise import CompileError

# In a bundle's folder, the title that a made GGUF travels under.
MADE_NAME = "model.gguf"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to do to the source: `quantize` is a scheme of llama.cpp's ("q4_k_m"), `imatrix` its
    importance matrix, `adapter` a LoRA to merge (GGUF file or PEFT folder) times `scale`."""

    quantize: str | None = None
    imatrix: Path | None = None
    adapter: Path | None = None
    adapter_scale: float = 1.0


def check_recipe(source: Path, recipe: Recipe) -> None:
    """What can be known to be wrong before any work. Raises `CompileError`."""
    if recipe.imatrix is not None and recipe.quantize is None:
        raise CompileError("--imatrix says how to quantize; it needs --quantize")
    for path in (source, recipe.imatrix, recipe.adapter):
        if path is not None and not path.exists():
            raise CompileError(f"there is no file or folder {path}")


def made_steps(source: Path, recipe: Recipe) -> tuple[str, ...]:
    """Phases that make the GGUF; none where the source is it."""
    wanted = (
        ("convert", source.is_dir()),
        ("merge", recipe.adapter is not None),
        ("quantize", recipe.quantize is not None),
    )
    return tuple(name for name, needed in wanted if needed)


def prepare_checkpoint(source: Path, recipe: Recipe, workspace: Path, phases: Phases) -> Path:
    """The GGUF to walk with: `source` itself, or a file made in `workspace`.

    Each step's input is deleted once its output is whole, if it was temporary. Raises a
    `TransomError` naming what cannot be converted, merged or quantized.
    """
    if not made_steps(source, recipe):
        return source
    from transom_compile.adapter import merge_adapter
    from transom_compile.hub.convert import convert_folder
    from transom_compile.quantize import quantize_gguf

    current = source
    if source.is_dir():
        with phases.run("convert"):
            out = workspace / "converted.gguf"
            current = convert_folder(source, out, progress=phases.progress)
    if recipe.adapter is not None:
        with phases.run("merge"):
            made = merge_adapter(
                current,
                recipe.adapter,
                workspace / "merged.gguf",
                scale=recipe.adapter_scale,
                progress=phases.progress,
            )
            current = _instead(made, current, source)
    if recipe.quantize is not None:
        with phases.run("quantize"):
            made = quantize_gguf(
                current,
                workspace / "quantized.gguf",
                recipe.quantize,
                imatrix=recipe.imatrix,
                progress=phases.progress,
            )
            current = _instead(made, current, source)
    return current.rename(workspace / MADE_NAME)


def _instead(made: Path, current: Path, source: Path) -> Path:
    if current != source:
        current.unlink()
    return made
