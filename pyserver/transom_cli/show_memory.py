"""`transom show NAME --memory`: what loading a model natively would take, and what would fit."""

import os
from typing import Final

import click

from transom_cli.output import print_json, printable, size_text
from transom_models.name import ModelName
from transom_server.engines.memory_view import MemoryView, look_at_memory
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store

_LABEL_WIDTH: Final = 20
_NAMES: Final = {
    "weights": "weights",
    "repacked": "weights rearranged",
    "kv_cache": "keys and values",
    "cells": "list of the cache",
    "checkpoints": "windows kept",
    "compute": "compute buffers",
    "vocabulary": "vocabulary",
    "beside": "beside the weights",
    "process": "the process itself",
}


def show_memory(name: ModelName, context: int | None, as_json: bool) -> None:
    """Print it for people, or as one JSON document."""
    config = read_config(os.environ)
    view = look_at_memory(open_store(config.models), name, config, context)
    if as_json:
        print_json(_to_json(view))
    else:
        _print(view)


def _print(view: MemoryView) -> None:
    options = view.options
    click.echo("  Memory")
    for part, count in view.parts.items():
        _line(_NAMES[part], size_text(count))
    _line("total", size_text(view.estimate.total))
    click.echo()
    click.echo("  Loaded as")
    trained = f", of {view.trained_tokens} trained" if view.trained_tokens else ""
    asked = f"; asked for {view.asked_tokens}" if view.asked_tokens else ""
    _line("context", f"{options.context_tokens} tokens{trained}{asked}")
    _line("requests at once", str(options.parallel))
    _line("keys and values as", options.kv_type or "f16")
    click.echo()
    click.echo("  Room")
    _line("models may take", f"{size_text(view.budget)} (TRANSOM_MEMORY)")
    if view.free is not None:
        _line("free now", size_text(view.free))
    _line("fits", "yes" if view.fits_now else "not now" if view.fits else "no")
    largest = view.largest_tokens
    _line("largest context", "none fits" if largest is None else f"{largest} tokens")


def _line(label: str, value: str) -> None:
    click.echo(f"    {label:<{_LABEL_WIDTH}} {printable(value)}".rstrip())


def _to_json(view: MemoryView) -> dict[str, object]:
    options = view.options
    return {
        "name": str(view.name),
        "bytes": dict(view.parts),
        "total_bytes": view.estimate.total,
        "context_tokens": options.context_tokens,
        "asked_tokens": view.asked_tokens,
        "trained_tokens": view.trained_tokens,
        "parallel": options.parallel,
        "kv_type": options.kv_type or "f16",
        "task": options.task,
        "budget_bytes": view.budget,
        "free_bytes": view.free,
        "fits": view.fits,
        "fits_now": view.fits_now,
        "largest_context_tokens": view.largest_tokens,
    }
