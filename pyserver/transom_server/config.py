"""Every setting of the server: name, environment variable, default, one line of help.

Pure but for `main`, which prints the table that `docs/settings.md` holds (a test compares them).
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from transom_models.errors import TransomError

MAX_PORT: Final = 65535
# Each that waits holds a thread or a connection.
MAX_QUEUE: Final = 100_000
ANY_ADDRESS: Final = ("0.0.0.0", "::")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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
    Setting(
        "models",
        "TRANSOM_MODELS",
        "~/.transom/models",
        "Folder of the store, or the URL of an object store as `s3://bucket/prefix`.",
    ),
    Setting(
        "registry",
        "TRANSOM_REGISTRY",
        "",
        "Registry (`host` or `host:port`) that names without a host are pulled from and pushed to.",
    ),
    Setting(
        "accept_license",
        "TRANSOM_ACCEPT_LICENSE",
        "no",
        "`yes`: pull models whose terms are not open without being asked each time.",
    ),
    Setting(
        "cache_bytes",
        "TRANSOM_CACHE_BYTES",
        "20000000000",
        "Most bytes of an object store's models that are kept on this machine's disk too, for"
        " engines; what is in use stays.",
    ),
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
    Setting(
        "writable",
        "TRANSOM_WRITABLE",
        "auto",
        "Whether clients may change the store: `yes`, `no`, or `auto` (if only this machine can"
        " connect).",
    ),
    Setting(
        "keys",
        "TRANSOM_KEYS",
        "auto",
        "Whether clients need an [API key](keys.md): `required`, `off`, or `auto` (once"
        " `transom key create` has made one).",
    ),
    Setting(
        "trusted_proxies",
        "TRANSOM_TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies in front, as `127.0.0.1` or `10.0.0.0/8`, whose word on"
        " who asks counts (`X-Forwarded-For`, `X-Forwarded-Proto`).",
    ),
    Setting(
        "parallel",
        "TRANSOM_PARALLEL",
        "auto",
        "Requests that one model answers at once, each with a context of its own; `auto`: 4, and"
        " fewer where contexts are over 4096 tokens.",
    ),
    Setting(
        "kv_type",
        "TRANSOM_KV_TYPE",
        "f16",
        "How models keep keys and values: `f32`, `f16`, `bf16`, `q8_0`, `q5_1`, `q5_0`, `q4_1`,"
        " `q4_0` or `iq4_nl`.",
    ),
    Setting(
        "memory",
        "TRANSOM_MEMORY",
        "auto",
        "Memory that loaded models may take, as `8G` or in bytes; `auto` is four fifths of what"
        " this machine, or its control group, has.",
    ),
    Setting(
        "pinned",
        "TRANSOM_PINNED",
        "",
        "Models that stay once they are loaded, until they are stopped.",
    ),
    Setting(
        "queue",
        "TRANSOM_QUEUE",
        "512",
        "Requests that may wait for a model; one client's, half of them. More are turned away"
        " (503, 429).",
    ),
)

KEY_MODES: Final = ("auto", "required", "off")
# How llama.cpp can keep keys and values.
KV_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
# Each has a context of its own; no machine has the memory for more.
MAX_PARALLEL: Final = 64

_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(\*|\d{1,5}))?")
# `file:///…` too; no path starts so.
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://")
_REGISTRY: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_UNITS: Final = ("", "K", "M", "G", "T")
_MEMORY: Final = re.compile(r"([0-9]{1,15})([KMGT]?)(?:I?B)?")
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
    """All settings, read and checked.

    `models` is an absolute path or a URL. `origins` None: any origin. `web_dir` None: look for it.
    `writable`: for clients without a key; `writable_with_key`: for keys of the scope `write`.
    """

    models: str
    registry: str
    accept_license: bool
    cache_bytes: int
    host: str
    port: int
    web_dir: Path | None
    origins: tuple[OriginRule, ...] | None
    hosts: tuple[str, ...]
    writable: bool
    writable_with_key: bool
    keys: str
    trusted_proxies: tuple[Network, ...]
    parallel: int | None
    kv_type: str
    memory: int | None
    pinned: tuple[str, ...]
    queue: int

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
            models=_location(texts["models"]),
            registry=_registry(texts["registry"]),
            accept_license=_yes(texts["accept_license"], "TRANSOM_ACCEPT_LICENSE"),
            cache_bytes=_size(texts["cache_bytes"], "TRANSOM_CACHE_BYTES"),
            host=texts["host"],
            port=_port(texts["port"]),
            web_dir=_folder(texts["web_dir"], "TRANSOM_WEB_DIR") if texts["web_dir"] else None,
            origins=None if texts["origins"] == "*" else read_origins(texts["origins"]),
            hosts=_hosts(texts["hosts"]),
            # Through a proxy others can connect, wherever it stands.
            writable=_is_loopback(texts["host"]) and not texts["trusted_proxies"]
            if texts["writable"] == "auto"
            else _yes(texts["writable"], "TRANSOM_WRITABLE"),
            writable_with_key=texts["writable"] != "no",
            keys=_keys(texts["keys"]),
            trusted_proxies=tuple(map(_network, _parts(texts["trusted_proxies"]))),
            parallel=_parallel(texts["parallel"]),
            kv_type=_kv_type(texts["kv_type"]),
            memory=None if texts["memory"] == "auto" else _memory(texts["memory"]),
            pinned=tuple(_parts(texts["pinned"])),
            queue=_queue(texts["queue"]),
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


def _parallel(text: str) -> int | None:
    if text == "auto":
        return None
    if not (
        text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= MAX_PARALLEL
    ):
        raise InvalidSetting(
            f"TRANSOM_PARALLEL: {text!r:.80} is not auto or a number from 1 to {MAX_PARALLEL}"
        )
    return int(text)


def _kv_type(text: str) -> str:
    if text not in KV_TYPES:
        raise InvalidSetting(f"TRANSOM_KV_TYPE: {text!r:.80} is not one of {', '.join(KV_TYPES)}")
    return text


def _keys(text: str) -> str:
    if text not in KEY_MODES:
        raise InvalidSetting(f"TRANSOM_KEYS: {text!r:.80} is not one of {', '.join(KEY_MODES)}")
    return text


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise InvalidSetting(
            f"TRANSOM_TRUSTED_PROXIES: {text!r:.80} is not an address or a network as 10.0.0.0/8"
        ) from None


def _location(text: str) -> str:
    """A URL as it is; a path made absolute."""
    return text if _URL.match(text) else str(_folder(text, "TRANSOM_MODELS"))


def _registry(text: str) -> str:
    if text and _REGISTRY.fullmatch(text) is None:
        raise InvalidSetting(f"TRANSOM_REGISTRY: {text!r:.80} is not a host or host:port")
    return text


def _size(text: str, env: str) -> int:
    # 18 digits: more than any disk, and a number that everything can hold.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidSetting(f"{env}: {text!r:.80} is not a number of bytes")
    return int(text)


def _memory(text: str) -> int:
    match = _MEMORY.fullmatch(text.upper())
    if match is None:
        raise InvalidSetting(f"TRANSOM_MEMORY: {text!r:.80} is not auto, bytes, or as 8G or 512M")
    return int(match[1]) << 10 * _UNITS.index(match[2])


def _queue(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:7]) <= MAX_QUEUE):
        raise InvalidSetting(f"TRANSOM_QUEUE: {text!r:.80} is not a number from 1 to {MAX_QUEUE}")
    return int(text)


def _yes(text: str, env: str) -> bool:
    if text not in ("yes", "no"):
        raise InvalidSetting(f"{env}: {text!r:.80} is not yes or no")
    return text == "yes"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
