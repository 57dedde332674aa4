"""The one error of this room. It must not know who prints it."""

from __future__ import annotations


class ToolchainError(Exception):
    """The wasm runtime cannot be built here; `str(error)` is one line that names the way out.

    It does not share a base with the other rooms' errors: this room imports none of them.
    """
