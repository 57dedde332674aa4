"""`transom show NAME`: what a model is, or one of its texts as it is."""

import os
from collections.abc import Iterable
from typing import Any, Final

import click

from transom_cli.output import (
    DOCUMENT,
    json_option,
    print_json,
    printable,
    size_text,
    time_text,
)
from transom_cli.show_memory import show_memory
from transom_models.name import ModelName
from transom_models.native_config import count_text
from transom_server.model.gguf_facts import ArrayValue
from transom_server.model.model_details import ModelView, look_at
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store

# First items of each array that --verbose prints, and lines of a licence that the table does.
_SHOWN_ITEMS: Final = 8
_SHOWN_LINES: Final = 3
_LABEL_WIDTH: Final = 20
_TEXTS: Final = ("modelfile", "parameters", "template", "system", "license")


@click.command()
@click.argument("name")
@click.option("--modelfile", is_flag=True, help="Print a Modelfile that makes the model.")
@click.option("--parameters", is_flag=True, help="Print the parameters alone.")
@click.option("--template", is_flag=True, help="Print the chat template alone.")
@click.option("--system", is_flag=True, help="Print the system message alone.")
@click.option("--license", is_flag=True, help="Print the licence alone.")
@click.option("-v", "--verbose", is_flag=True, help="Also the metadata and tensors of the GGUF.")
@click.option("--memory", is_flag=True, help="Print what loading it natively would take.")
@click.option("--ctx", type=click.IntRange(1), help="With --memory: a context of so many tokens.")
@json_option(DOCUMENT)
def command(
    name: str, verbose: bool, memory: bool, ctx: int | None, as_json: bool, **only: bool
) -> None:
    """Show what a model is."""
    wanted = [text for text in _TEXTS if only[text]]
    if ctx is not None and not memory:
        raise click.UsageError("--ctx belongs to --memory")
    if memory:
        if wanted or verbose:
            raise click.UsageError("--memory is printed alone, or with --ctx and --json")
        show_memory(ModelName.parse(name), ctx, as_json)
        return
    if len(wanted) + as_json > 1:
        raise click.UsageError("only one of --modelfile, --parameters, … --json can be printed")
    store = open_store(read_config(os.environ).models)
    view = look_at(store, ModelName.parse(name), _SHOWN_ITEMS if verbose else 0)
    if as_json:
        print_json(_to_json(view))
    elif wanted:
        _print_text(view, wanted[0])
    else:
        _print_view(view, verbose)


def _print_text(view: ModelView, wanted: str) -> None:
    """A text as it is, to be kept in a file."""
    if wanted == "modelfile":
        text: str | None = view.modelfile
    elif wanted == "parameters":
        text = "\n".join(f"{key:<30} {value}" for key, value in _parameters(view))
    elif wanted == "license":
        text = view.licence.text or view.licence.id
    else:
        text = view.template if wanted == "template" else view.texts.system
    if text:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        click.echo(f"{view.name} has no {wanted}", err=True)


def _print_view(view: ModelView, verbose: bool) -> None:
    details, gguf = view.details, view.gguf
    facts = [
        ("architecture", details.family),
        ("parameters", details.parameter_size),
        ("context length", details.context_length),
        ("embedding length", details.embedding_length),
        ("quantization", details.quantization_level),
        ("requires", view.requires),
        ("size", size_text(view.size_bytes)),
        ("digest", view.model.digest),
    ]
    _section("Model", facts)
    _section("Platforms", [(platform, "") for platform in view.platforms])
    if view.projector is not None:
        _section(
            "Projector",
            [
                ("architecture", view.projector.architecture),
                ("parameters", count_text(view.projector.parameter_count)),
            ],
        )
    _section("Adapters", [(digest, "") for digest in view.adapters])
    _section("Draft", [(view.draft, "")] if view.draft else [])
    _section("Capabilities", [(word, "") for word in view.capabilities])
    _section("Parameters", _parameters(view))
    _section("System", _lines(view.texts.system))
    _section("Messages", [(role, content) for role, content in view.texts.messages])
    _section("Licence", [(str(view.licence), ""), *_lines(view.licence.text)])
    if verbose and gguf is not None:
        rows = ((key, _value(value)) for key, value in gguf.metadata.items())
        _section("Metadata", rows)
        tensors = [
            (tensor.name, f"{tensor.type.name:<8} {list(tensor.shape)}") for tensor in gguf.tensors
        ]
        _section("Tensors", tensors)


def _section(title: str, rows: Iterable[tuple[object, object]]) -> None:
    """A title and its rows; nothing where all rows are empty."""
    kept = [(str(label), value) for label, value in rows if value not in (None,)]
    kept = [(label, value) for label, value in kept if label]
    if not kept:
        return
    width = max(_LABEL_WIDTH, *(len(label) for label, _ in kept)) if len(kept) > 1 else _LABEL_WIDTH
    click.echo(f"  {title}")
    for label, value in kept:
        line = f"    {printable(label):<{width}} {printable(str(value))}"
        click.echo(line.rstrip())
    click.echo()


def _parameters(view: ModelView) -> list[tuple[str, str]]:
    return [
        (name, str(item))
        for name, value in sorted(view.texts.parameters.items())
        for item in (value if isinstance(value, tuple) else (value,))
    ]


def _lines(text: str | None) -> list[tuple[str, str]]:
    """The first lines of a text."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    shown = [(line[:100], "") for line in lines[:_SHOWN_LINES]]
    return [*shown, ("…", "")] if len(lines) > _SHOWN_LINES else shown


def _value(value: object) -> str:
    if isinstance(value, ArrayValue):
        more = "" if len(value.items) == value.length else f" … {value.length} in all"
        return f"{list(value.items)!r:.200}{more}"
    return f"{value!r:.200}"


def _to_json(view: ModelView) -> dict[str, Any]:
    details, texts = view.details, view.texts
    return {
        "name": str(view.name),
        "digest": str(view.model.digest),
        "platforms": list(view.platforms),
        "size_bytes": view.size_bytes,
        "modified": time_text(view.model.modified),
        "architecture": details.family,
        "parameter_size": details.parameter_size,
        "quantization": details.quantization_level,
        "context_length": details.context_length,
        "embedding_length": details.embedding_length,
        "capabilities": list(view.capabilities),
        "license": {"id": view.licence.id, "open": view.licence.open, "text": view.licence.text},
        "template": view.template,
        "system": texts.system,
        "parameters": dict(texts.parameters),
        "messages": [{"role": role, "content": content} for role, content in texts.messages],
        "adapters": list(view.adapters),
        "draft": view.draft,
        "requires": view.requires,
        "modelfile": view.modelfile,
    }
