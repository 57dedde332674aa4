"""`transom compile`, as the compile room has it, with a store to keep the result in."""

import os
from collections.abc import Mapping
from pathlib import Path

import click

from transom_build.errors import ToolchainError
from transom_build.runtime import find_runtime
from transom_cli.keeping import keep
from transom_compile.cli import House, compile_command
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store


class NoRuntime(TransomError):
    """The wasm runtime was not built yet."""


def built_runtime() -> Path:
    """The folder that `transom build runtime` made. Raises `NoRuntime`."""
    try:
        folder = find_runtime()
    except ToolchainError as error:
        raise NoRuntime(str(error)) from error
    if folder is None:
        raise NoRuntime("the wasm runtime is not built yet; run `transom build runtime` first")
    return folder


def known_sources(size: int) -> Mapping[Digest, str]:
    """Names of the store's models whose native checkpoint has `size` bytes, by its digest."""
    store = open_store(read_config(os.environ).models)
    found = {}
    for model in store.list_models():
        try:
            parts = list(store.descriptors(model))
        except TransomError:
            # A damaged model offers nothing; `transom list` says so.
            continue
        for part in parts:
            if part.media_type == media_types.OLLAMA_MODEL and part.size == size:
                found[part.digest] = str(model.name)
    return found


def _check_name(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """A bad name is said now, not after a minute of compiling."""
    if value is not None:
        ModelName.parse(value)
    return value


def _mounted() -> click.Command:
    """The compile room's command, its open ends tied to the build room and the store."""
    mounted = compile_command(House(keep, built_runtime, known_sources))
    for parameter in mounted.params:
        if parameter.name == "name":
            parameter.callback = _check_name
    return mounted


command = _mounted()
