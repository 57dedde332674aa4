"""`transom verify-model MODEL`: is what the browser computes what the weights say?

Finds the model's files and prints the table. What is compared and how near it must be is
`transom_verify`'s.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Descriptor, Index, Manifest
from transom_models.name import ModelName
from transom_server.exchange.bundle_export import link_bundle
from transom_server.exchange.bundle_import import INDEX_NAME, MANIFEST_FOLDER
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store
from transom_verify.browser_engine import (
    NoAdapter,
    engine_path,
    llvmpipe_environment,
    probe,
)
from transom_verify.verification import (
    Request,
    Verification,
    bundled_prompts,
    bundled_text,
    verify,
)

EXIT_DIFFERENT: Final = 1
DEFAULT_TOKENS: Final = 48
# A text is read token by token; more than this is no sample any more.
MAX_TEXT_BYTES: Final = 1024 * 1024
FALLBACK: Final = "fallback"
TABLE_COLUMNS: Final = 140

_ADAPTERS: Final = ("auto", "hardware", "llvmpipe")


class CannotVerify(TransomError):
    """The model lacks what a comparison needs."""


@dataclass(frozen=True, slots=True)
class _Files:
    """A bundle folder, the GGUF of the same weights, and the bundle's libraries: name, variant."""

    bundle: Path
    gguf: Path
    libraries: dict[str, str]
    context_tokens: int


@click.command("verify-model")
@click.argument("model")
@click.option(
    "--gguf",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The checkpoint; needed where MODEL is a bundle folder.",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="UTF-8 text for the perplexity.  [default: a small one of our own]",
)
@click.option(
    "--library",
    "libraries",
    multiple=True,
    help="Library of the bundle to run; may be repeated.  [default: each that is no fallback]",
)
@click.option(
    "--runtime",
    type=click.Choice(["node"]),
    default="node",
    show_default=True,
    help="What runs the browser engine: Node on Dawn.",
)
@click.option(
    "--adapter",
    type=click.Choice(_ADAPTERS),
    default="auto",
    show_default=True,
    help="llvmpipe runs WebGPU on the CPU (see .ci/mesa); auto does so without a graphics adapter.",
)
@click.option("--tokens", type=click.IntRange(min=1), default=DEFAULT_TOKENS, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str,
    gguf: Path | None,
    text: Path | None,
    libraries: tuple[str, ...],
    runtime: str,
    adapter: str,
    tokens: int,
    as_json: bool,
) -> None:
    """Compare a model's browser libraries with llama.cpp.

    MODEL is a name in the store or a bundle folder. Exits 1 on a difference beyond the limits.
    """
    del runtime  # There is one so far.
    engine_path()
    with _files(model, gguf) as found:
        driver, load = _driver(found, adapter)
        request = Request(
            bundle=found.bundle,
            gguf=found.gguf,
            libraries=_chosen(found.libraries, libraries, load["adapter"]["hasShaderF16"]),
            context_tokens=found.context_tokens,
            text=bundled_text() if text is None else _read_text(text),
            prompts=bundled_prompts(),
            tokens=tokens,
            driver=driver,
        )
        console = Console(stderr=True)
        with console.status("") as status:

            def tell(doing: str) -> None:
                status.update(doing)
                if not console.is_terminal:
                    click.echo(doing, err=True)

            verification = verify(request, tell)
    if as_json:
        click.echo(json.dumps({"model": model, **verification.to_json()}))
    else:
        _print_table(model, verification)
    if not verification.passed:
        sys.exit(EXIT_DIFFERENT)


def _driver(found: _Files, adapter: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Variables that choose the Vulkan driver, and what the engine says of the adapter there."""
    library = next(iter(name for name, variant in found.libraries.items() if variant == "f32"))
    llvmpipe = llvmpipe_environment(os.environ)
    if adapter == "llvmpipe":
        if llvmpipe is None:
            raise CannotVerify("Mesa's llvmpipe is not unpacked here; run .ci/mesa")
        return llvmpipe, probe(found.bundle, library, llvmpipe)
    try:
        return {}, probe(found.bundle, library, {})
    except NoAdapter:
        if adapter != "auto" or llvmpipe is None:
            raise
    click.echo("no graphics adapter for WebGPU here; using llvmpipe, on the CPU", err=True)
    return llvmpipe, probe(found.bundle, library, llvmpipe)


def _chosen(known: dict[str, str], asked: tuple[str, ...], has_f16: bool) -> tuple[str, ...]:
    for name in asked:
        if name not in known:
            raise CannotVerify(f"the bundle has no {name}; it has {', '.join(known)}")
    if asked:
        return asked
    if not has_f16 and "f16" in known.values():
        click.echo("the f16 libraries are left out: the adapter has no shader-f16", err=True)
    return tuple(
        name
        for name, variant in known.items()
        if variant == "f32" or (variant == "f16" and has_f16)
    )


@contextmanager
def _files(model: str, gguf: Path | None) -> Iterator[_Files]:
    """The model's files in a folder, as the engine reads them."""
    if Path(model).is_dir():
        if gguf is None:
            raise CannotVerify(
                f"{model} is a bundle folder without its checkpoint; name it: --gguf"
            )
        index = Index.from_bytes((Path(model) / INDEX_NAME).read_bytes())
        manifests = _manifests_in(Path(model))
        native = _native_layer(model, index, manifests)
        if Digest.of_file(gguf) != native.digest:
            raise CannotVerify(f"{model} was made from another checkpoint than {gguf}")
        yield _read_files(Path(model), gguf, index, manifests)
        return
    store = open_store(read_config(os.environ).models)
    stored = store.get_index(ModelName.parse(model))
    manifests = {row.digest: store.get_manifest(row) for row in stored.index.manifests}
    native = _native_layer(model, stored.index, manifests)
    with tempfile.TemporaryDirectory(prefix="transom-verify-") as folder:
        link_bundle(store, stored, Path(folder))
        path = store.blob_path(native.digest)
        yield _read_files(Path(folder), gguf or path, stored.index, manifests)


def _manifests_in(folder: Path) -> dict[Digest, Manifest]:
    texts = [path.read_bytes() for path in (folder / MANIFEST_FOLDER).glob("*.json")]
    return {Digest.of(text): Manifest.from_bytes(text) for text in texts}


def _native_layer(model: str, index: Index, manifests: dict[Digest, Manifest]) -> Descriptor:
    """The GGUF that the browser's shards were made from. Raises `CannotVerify`."""
    for row in index.manifests:
        if row.platform is not None and row.platform.os == "native" and row.digest in manifests:
            for layer in manifests[row.digest].layers:
                if layer.media_type == media_types.OLLAMA_MODEL:
                    return layer
    raise CannotVerify(f"{model} has no GGUF to compare with")


def _read_files(
    folder: Path, gguf: Path, index: Index, manifests: dict[Digest, Manifest]
) -> _Files:
    libraries: dict[str, str] = {}
    context = 0
    for row in index.manifests:
        if row.platform is None or row.platform.os != "browser" or row.platform.variant is None:
            continue
        manifest = manifests[row.digest]
        for layer in manifest.layers:
            runs = layer.media_type in (media_types.PROGRAM, media_types.LIBRARY)
            if runs and layer.title is not None:
                is_fallback = layer.annotations.get(media_types.ANNOTATION_SCHEDULE) == FALLBACK
                variant = FALLBACK if is_fallback else row.platform.variant
                libraries[layer.title] = variant
        config = json.loads((folder / (manifest.config.title or "")).read_text("utf-8"))
        context = int(config["context_window_size"])
    if "f32" not in libraries.values():
        raise CannotVerify(f"the model has no f32 library; it has {', '.join(libraries) or 'none'}")
    # Programs first: they are what the page runs.
    return _Files(folder, gguf, dict(sorted(libraries.items(), reverse=True)), context)


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > MAX_TEXT_BYTES:
        raise CannotVerify(f"{path} has {len(data)} bytes; {MAX_TEXT_BYTES} are enough")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CannotVerify(f"{path} is not UTF-8 text") from None


def _print_table(model: str, verification: Verification) -> None:
    table = Table(
        title=f"{model} on {verification.adapter}, against llama.cpp", title_justify="left"
    )
    for column in ("part", "check", "ours / llama.cpp", "limit", ""):
        table.add_column(column, overflow="fold")
    for check in verification.checks:
        verdict = {True: "[green]ok[/]", False: "[red]differs[/]", None: "told"}[check.passed]
        table.add_row(check.library, check.name, check.found, check.limit, verdict)
    # A pipe has no width; a table folded into 80 columns is hard to read in a log.
    width = None if sys.stdout.isatty() else TABLE_COLUMNS
    Console(width=width, highlight=False).print(table)
