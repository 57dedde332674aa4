"""Every setting of the server: name, environment variable, default, one line of help.

Pure but for `main`, which prints the table that `docs/settings.md` holds (a test compares them).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from transom_models.errors import TransomError

MAX_PORT: Final = 65535
ANY_ADDRESS: Final = ("0.0.0.0", "::")


class InvalidSetting(TransomError):
    """A setting cannot be used; the text names its variable."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `default` and `help` are texts for people, as is what `env` holds."""

    name: str
    env: str
    default: str
    help: str


SETTINGS: Final = (
    Setting("models", "TRANSOM_MODELS", "~/.transom/models", "Folder of the store."),
    Setting("host", "TRANSOM_HOST", "127.0.0.1", "Address to listen on."),
    Setting("port", "TRANSOM_PORT", "11435", "Port to listen on; 0 takes a free one."),
    Setting(
        "web_dir",
        "TRANSOM_WEB_DIR",
        "",
        "Folder of the built web page; empty takes `web/dist` of this checkout.",
    ),
    Setting(
        "origins",
        "TRANSOM_ORIGINS",
        "http://localhost:*,http://127.0.0.1:*,http://[::1]:*,https://localhost:*",
        "Web pages of other origins that may read models (CORS); `:*` is any port, `*` any page.",
    ),
    Setting(
        "hosts",
        "TRANSOM_HOSTS",
        "",
        "Names that this server may be called by, beside localhost and the address it listens on.",
    ),
)

_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(\*|\d{1,5}))?")
_HOST_NAME: Final = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, slots=True)
class OriginRule:
    """Which `Origin` headers are let in. `port` None: any."""

    scheme: str
    host: str
    port: int | None

    def allows(self, scheme: str, host: str, port: int) -> bool:
        return (scheme, host) == (self.scheme, self.host) and self.port in (None, port)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, read and checked. `origins` None: any origin. `web_dir` None: look for it."""

    models: Path
    host: str
    port: int
    web_dir: Path | None
    origins: tuple[OriginRule, ...] | None
    hosts: tuple[str, ...]

    @classmethod
    def read(cls, environ: Mapping[str, str], **overrides: str | None) -> Self:
        """Settings from the environment; `overrides`, by name, come before it.

        Empty text is no text. Raises `InvalidSetting`.
        """
        texts = {
            setting.name: overrides.get(setting.name) or environ.get(setting.env) or setting.default
            for setting in SETTINGS
        }
        return cls(
            models=_folder(texts["models"], "TRANSOM_MODELS"),
            host=texts["host"],
            port=_port(texts["port"]),
            web_dir=_folder(texts["web_dir"], "TRANSOM_WEB_DIR") if texts["web_dir"] else None,
            origins=None if texts["origins"] == "*" else read_origins(texts["origins"]),
            hosts=_hosts(texts["hosts"]),
        )


def read_origins(text: str) -> tuple[OriginRule, ...]:
    """Read a comma separated list of origins. Raises `InvalidSetting`."""
    rules = []
    for part in _parts(text):
        origin = split_origin(part.lower())
        if origin is None:
            raise InvalidSetting(
                f"TRANSOM_ORIGINS: {part!r:.80} is not an origin as http://localhost:3000"
            )
        scheme, host, port = origin
        rules.append(OriginRule(scheme, host, port))
    return tuple(rules)


def split_origin(text: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an origin; port None for `*`. None when it is no web origin."""
    match = _ORIGIN.fullmatch(text)
    if match is None:
        return None
    scheme, host, port = match.groups()
    if port == "*":
        return scheme, host, None
    return scheme, host, int(port) if port else (443 if scheme == "https" else 80)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= MAX_PORT):
        raise InvalidSetting(f"TRANSOM_PORT: {text!r:.80} is not a port from 0 to {MAX_PORT}")
    return int(text)


def _folder(text: str, env: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, ValueError) as error:  # no home; NUL
        raise InvalidSetting(f"{env}: {text!r:.80}: {error}") from None


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(part.lower() for part in _parts(text))
    for name in names:
        if _HOST_NAME.fullmatch(name) is None:
            raise InvalidSetting(f"TRANSOM_HOSTS: {name!r:.80} is not a host name without a port")
    return names


def _parts(text: str) -> list[str]:
    return [part for part in (part.strip() for part in text.split(",")) if part]


def settings_table() -> str:
    """The table of `docs/settings.md`, in Markdown."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = ", ".join(f"`{part}`" for part in _parts(setting.default)) or "empty"
        rows.append(f"| `{setting.env}` | {default} | {setting.help} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(settings_table(), end="")
