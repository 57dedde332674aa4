"""`transom build …`, as the build room has it."""

from transom_build.cli import build as command

__all__ = ["command"]
