"""`transom compile`, as the compile room has it, with a store to keep the result in."""

import os
from pathlib import Path

import click

from transom_build.errors import ToolchainError
from transom_build.runtime import find_runtime
from transom_compile.bundle import Bundle
from transom_compile.cli import compile_command
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.bundle_import import import_bundle
from transom_server.config import Config
from transom_server.store import Store


class NoRuntime(TransomError):
    """The wasm runtime was not built yet."""


def keep(bundle: Bundle, name: str) -> None:
    """Put a sealed bundle into the store."""
    config = Config.read(os.environ)
    store = Store(config.models)
    store.remove_stale_partials()
    import_bundle(store, bundle.folder, ModelName.parse(name), bundle.files)


def built_runtime() -> Path:
    """The folder that `transom build runtime` made. Raises `NoRuntime`."""
    try:
        folder = find_runtime()
    except ToolchainError as error:
        raise NoRuntime(str(error)) from error
    if folder is None:
        raise NoRuntime("the wasm runtime is not built yet; run `transom build runtime` first")
    return folder


def _check_name(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """A bad name is said now, not after a minute of compiling."""
    if value is not None:
        ModelName.parse(value)
    return value


def _mounted() -> click.Command:
    """The compile room's command, its open ends tied to the build room and the store."""
    mounted = compile_command(keep, default_runtime_dir=Path())
    for parameter in mounted.params:
        if parameter.name == "runtime_dir":
            # Looked for when needed, not when the command line is read for `--help`.
            parameter.default = built_runtime
        if parameter.name == "name":
            parameter.callback = _check_name
    return mounted


command = _mounted()
