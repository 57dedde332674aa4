"""What of Python's standard library the page's Python goes without, and what programs get of that.

The API's Python runs our packages and nothing else. Left out is what has no meaning in a browser
(processes, mail, terminals, windows) and what only developers use: over a third of the bytes that a
first visit would download. A module that is missing by mistake is an `ImportError` that names it.

Programs that models write (the tool `python`) may want some of it: those modules are an archive of
their own, which comes when the first program does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

LEFT_OUT = frozenset(
    """
    __hello__ __phello__ _aix_support _android_support _apple_support _ios_support _osx_support
    _pyio _pyrepl _sysconfigdata__emscripten_wasm32-emscripten antigravity argparse bdb cProfile cmd
    code compileall configparser ctypes curses doctest email ensurepip filecmp fileinput ftplib
    getopt getpass html http idlelib imaplib mailbox mimetypes modulefinder multiprocessing netrc
    nturl2path optparse pdb pickletools plistlib poplib profile pstats pty py_compile pyclbr pydoc
    pydoc_data rlcompleter runpy sched shelve smtplib socketserver sqlite3 statistics symtable
    tabnanny tarfile this timeit tkinter trace tty turtle turtledemo unittest venv wave webbrowser
    wsgiref xml xmlrpc zipapp zoneinfo
    """.split()
)
"""Modules and packages at the top level."""

FOR_PROGRAMS = frozenset(
    """
    _sysconfigdata__emscripten_wasm32-emscripten argparse configparser email filecmp fileinput
    getopt html http mimetypes optparse plistlib sched shelve sqlite3 statistics tarfile this
    timeit trace unittest wave xml zoneinfo
    """.split()
)
"""Of `LEFT_OUT`: what works without processes, terminals and a network."""

KEPT_ENCODINGS = frozenset(
    """
    __init__ aliases ascii cp437 cp1252 idna latin_1 punycode raw_unicode_escape undefined
    unicode_escape utf_8 utf_8_sig utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le
    """.split()
)
"""Texts come as UTF-8; the others are those that Python itself may ask for."""


def trim(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of `python_stdlib.zip` without those that are never imported here."""
    return {name: content for name, content in files.items() if _is_kept(PurePosixPath(name))}


def for_programs(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What `trim` left out and programs may want."""
    return {
        name: content
        for name, content in files.items()
        if PurePosixPath(name).parts[0].removesuffix(".py") in FOR_PROGRAMS
    }


def _is_kept(path: PurePosixPath) -> bool:
    top = path.parts[0]
    if top.removesuffix(".py") in LEFT_OUT:
        return False
    return top != "encodings" or path.stem in KEPT_ENCODINGS
