"""Read the import and export sections of a wasm file: enough for tests, nothing more."""

from __future__ import annotations

KINDS = ("function", "table", "memory", "global", "tag")
IMPORT_SECTION = 2
EXPORT_SECTION = 7


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """An unsigned LEB128 number."""
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        length = self.number()
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def skip_type(self, kind: str) -> None:
        if kind == "function":
            self.number()
        elif kind == "global":
            self.at += 2
        elif kind == "tag":
            self.byte()
            self.number()
        else:
            if kind == "table":
                self.byte()
            limits = self.byte()
            self.number()
            if limits & 1:
                self.number()


def _section(wasm: bytes, wanted: int) -> _Reader:
    assert wasm[:8] == b"\0asm\1\0\0\0", "not a wasm module"
    reader = _Reader(wasm)
    reader.at = 8
    while reader.at < len(wasm):
        number, size = reader.byte(), reader.number()
        if number == wanted:
            return _Reader(wasm[reader.at : reader.at + size])
        reader.at += size
    return _Reader(b"\0")


def read_imports(wasm: bytes) -> list[tuple[str, str]]:
    """(kind, "module.name") of each import, sorted."""
    section = _section(wasm, IMPORT_SECTION)
    found = []
    for _ in range(section.number()):
        name = f"{section.text()}.{section.text()}"
        kind = KINDS[section.byte()]
        section.skip_type(kind)
        found.append((kind, name))
    return sorted(found)


def read_exports(wasm: bytes) -> list[tuple[str, str]]:
    """(kind, name) of each export, sorted."""
    section = _section(wasm, EXPORT_SECTION)
    found = []
    for _ in range(section.number()):
        name = section.text()
        found.append((KINDS[section.byte()], name))
        section.number()
    return sorted(found)
