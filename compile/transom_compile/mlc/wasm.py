"""What a model library says about itself before it runs: its exports, and whether it needs f16.

Reads WebAssembly's section table, nothing of TVM's inside. The bytes come from outside: every
length is checked against what is left.
"""

from pathlib import Path

from transom_compile.mlc.errors import InvalidMlcModel

# Published ones have 3 to 15 MB; the page holds the whole file in memory.
MAX_LIBRARY_BYTES = 256 * 1024 * 1024
# TVM's runtime exports some thousands with names that C++ mangled.
MAX_EXPORTS = 100_000
# tvmjs 0.27 and WebLLM 0.2.80 onwards call a library through TVM's FFI; older ones had another way.
FFI_EXPORT = "TVMFFIFunctionCall"
_MAGIC = b"\0asm\1\0\0\0"
_EXPORT_SECTION = 7
# A WGSL shader that computes in f16 begins so; without the device's shader-f16 it does not compile.
_ENABLE_F16 = b"enable f16;"
# LEB128 of 32 bits.
_MAX_LEB_BYTES = 5


def read_library(path: Path) -> str:
    """The variant that the library is: "f16" needs the adapter's shader-f16, "f32" does not.

    Raises `InvalidMlcModel` when it is no library that our runtime can start.
    """
    try:
        size = path.stat().st_size
        if size > MAX_LIBRARY_BYTES:
            raise InvalidMlcModel(f"{path} has {size} bytes, more than any model library")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidMlcModel(f"cannot read {path}: {error.strerror or error}") from error
    if FFI_EXPORT not in _exports(path, data):
        raise InvalidMlcModel(
            f"{path} was compiled for an older WebLLM (it exports no {FFI_EXPORT}); "
            "take the library that WebLLM 0.2.80 or newer uses"
        )
    return "f16" if _ENABLE_F16 in data else "f32"


def _exports(path: Path, data: bytes) -> set[str]:
    if not data.startswith(_MAGIC):
        raise InvalidMlcModel(f"{path} is not a WebAssembly module")
    position = len(_MAGIC)
    try:
        while position < len(data):
            kind = data[position]
            size, start = _leb(data, position + 1)
            if kind == _EXPORT_SECTION:
                return _export_names(data[start : start + size])
            position = start + size
    except (IndexError, UnicodeDecodeError):
        raise InvalidMlcModel(f"{path} is a damaged WebAssembly module") from None
    return set()


def _export_names(section: bytes) -> set[str]:
    count, position = _leb(section, 0)
    names = set()
    for _ in range(min(count, MAX_EXPORTS)):
        length, start = _leb(section, position)
        if start + length > len(section):
            raise IndexError
        names.add(section[start : start + length].decode())
        # One byte says what is exported, a number which one.
        _, position = _leb(section, start + length + 1)
    return names


def _leb(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where it ends."""
    value = 0
    for index in range(_MAX_LEB_BYTES):
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise IndexError
