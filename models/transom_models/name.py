"""`ModelName`: `[host/][namespace/]model[:tag][@sha256:…]`, Ollama's grammar with our default host.

| part | length | first character | then |
|---|---|---|---|
| host | 1-255 | letter, digit, `_` | letters, digits, `_ - . :` |
| namespace | 1-80 | letter, digit, `_` | letters, digits, `_ -` |
| model, tag | 1-80 | letter, digit, `_` | letters, digits, `_ - .` |

Letters are ASCII. No part can be `.` or `..`, be empty or hold a separator, so the path of a valid
name stays under its root. Case is kept as written; two names that differ in case only are one
model (`folded`), because some file systems cannot tell them apart. Knows of no file but its path.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from transom_models.digest import Digest, InvalidDigest
from transom_models.errors import TransomError

DEFAULT_HOST: Final = "localhost"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

# Ollama's caps, but for the host: it allows 350 there, and no file name is longer than 255 bytes.
MAX_HOST_CHARS: Final = 255
MAX_PART_CHARS: Final = 80
# All parts, the digest and the separators; longer text is not worth parsing or printing.
MAX_NAME_CHARS: Final = MAX_HOST_CHARS + 3 * MAX_PART_CHARS + 75

_HOST: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.:-]{{0,{MAX_HOST_CHARS - 1}}}")
_NAMESPACE: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_-]{{0,{MAX_PART_CHARS - 1}}}")
_MODEL: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_PART_CHARS - 1}}}")
_PATTERNS: Final = {"host": _HOST, "namespace": _NAMESPACE, "model": _MODEL, "tag": _MODEL}


class InvalidName(TransomError):
    """The text is not a model name."""


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model in a store; `digest` pins the exact index. A bad part raises `InvalidName`."""

    host: str
    namespace: str
    model: str
    tag: str
    digest: Digest | None = None

    def __post_init__(self) -> None:
        for part, pattern in _PATTERNS.items():
            value = getattr(self, part)
            if not isinstance(value, str) or pattern.fullmatch(value) is None:
                raise InvalidName(
                    f"{value!r:.80} cannot be the {part} of a model name; "
                    "write [host/][namespace/]model[:tag] in letters, digits, '_', '-', '.'"
                )

    def __str__(self) -> str:
        """The shortest text that `parse` reads back as this name."""
        text = self.model
        if self.host != DEFAULT_HOST:
            text = f"{self.host}/{self.namespace}/{text}"
        elif self.namespace != DEFAULT_NAMESPACE:
            text = f"{self.namespace}/{text}"
        if self.tag != DEFAULT_TAG:
            text += f":{self.tag}"
        return text if self.digest is None else f"{text}@{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name; parts left out take the defaults. Raises `InvalidName`."""
        if len(text) > MAX_NAME_CHARS:
            raise InvalidName(f"a model name of {len(text)} characters is longer than any can be")
        rest, at, digest_text = text.partition("@")
        try:
            digest = Digest.parse(digest_text) if at else None
        except InvalidDigest as error:
            raise InvalidName(f"model name {text!r:.160}: {error}") from None
        # The last slash first: a colon before it belongs to the host's port.
        path, _, last = rest.rpartition("/")
        model, colon, tag = last.partition(":")
        host, slash, namespace = path.rpartition("/")
        if "/" in rest and not path:
            raise InvalidName(f"model name {text!r:.160} has nothing before the slash")
        if slash and not host:
            raise InvalidName(f"model name {text!r:.160} has nothing before the first slash")
        return cls(
            host=host if slash else DEFAULT_HOST,
            namespace=namespace if path else DEFAULT_NAMESPACE,
            model=model,
            tag=tag if colon else DEFAULT_TAG,
            digest=digest,
        )

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model, tag."""
        return (self.host, self.namespace, self.model, self.tag)

    @property
    def folded(self) -> tuple[str, str, str, str]:
        """The parts in lower case: equal for names that are one model."""
        host, namespace, model, tag = (part.lower() for part in self.parts)
        return (host, namespace, model, tag)

    def manifest_path(self, root: Path) -> Path:
        """Where a store at `root` keeps this tag's index. Creates nothing; ignores `digest`."""
        return root / "manifests" / self.host / self.namespace / self.model / self.tag
