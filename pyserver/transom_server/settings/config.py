"""The settings of the server, read from texts and checked. Pure; `table` has them all."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from transom_models.errors import TransomError
from transom_server.settings.embed_origins import InvalidEmbedOrigin, read_embed_origins
from transom_server.settings.table import SETTINGS, parts

if TYPE_CHECKING:
    from transom_server.upstream.settings import UpstreamSetting

MAX_PORT: Final = 65535
# Each that waits holds a thread or a connection.
MAX_QUEUE: Final = 100_000
ANY_ADDRESS: Final = ("0.0.0.0", "::")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class InvalidSetting(TransomError):
    """A setting cannot be used; the text names its variable."""


LOG_FORMS: Final = ("text", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
# Who starts servers (systemd, Docker) kills them long before that.
MAX_GRACE_SECONDS: Final = 24 * 60 * 60
ENGINES: Final = ("llama.cpp", "ray")
# Each is a process with a model on some machine.
MAX_REPLICAS: Final = 1000
KEY_MODES: Final = ("auto", "required", "off")
# How llama.cpp can keep keys and values.
KV_TYPES: Final = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
# Each has a context of its own; no machine has the memory for more.
MAX_PARALLEL: Final = 64

_RAY_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_RAY_REPLICAS: Final = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
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
    embed_origins: tuple[str, ...]
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
    engine: str
    ray_address: str
    ray_replicas: tuple[int, int]
    log: str
    log_level: str
    log_file: Path | None
    grace: float
    upstreams: "tuple[UpstreamSetting, ...]" = ()

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
            embed_origins=_embed_origins(texts["embed_origins"]),
            hosts=_hosts(texts["hosts"]),
            # Through a proxy others can connect, wherever it stands.
            writable=_is_loopback(texts["host"]) and not texts["trusted_proxies"]
            if texts["writable"] == "auto"
            else _yes(texts["writable"], "TRANSOM_WRITABLE"),
            writable_with_key=texts["writable"] != "no",
            keys=_one_of(texts["keys"], KEY_MODES, "TRANSOM_KEYS"),
            trusted_proxies=tuple(map(_network, parts(texts["trusted_proxies"]))),
            parallel=_parallel(texts["parallel"]),
            kv_type=_one_of(texts["kv_type"], KV_TYPES, "TRANSOM_KV_TYPE"),
            memory=None if texts["memory"] == "auto" else _memory(texts["memory"]),
            pinned=tuple(parts(texts["pinned"])),
            queue=_queue(texts["queue"]),
            engine=_one_of(texts["engine"], ENGINES, "TRANSOM_ENGINE"),
            ray_address=_ray_address(texts["ray_address"]),
            ray_replicas=_ray_replicas(texts["ray_replicas"]),
            log=_one_of(texts["log"], LOG_FORMS, "TRANSOM_LOG"),
            log_level=_one_of(texts["log_level"].lower(), LOG_LEVELS, "TRANSOM_LOG_LEVEL"),
            log_file=_folder(texts["log_file"], "TRANSOM_LOG_FILE") if texts["log_file"] else None,
            grace=_grace(texts["grace"]),
        )

    def changed(self, **fields: Any) -> Self:
        """These settings with some others."""
        return replace(self, **fields)


def read_origins(text: str) -> tuple[OriginRule, ...]:
    """Read a comma separated list of origins. Raises `InvalidSetting`."""
    rules = []
    for part in parts(text):
        origin = split_origin(part.lower())
        if origin is None:
            raise InvalidSetting(
                f"TRANSOM_ORIGINS: {part!r:.80} is not an origin as http://localhost:3000"
            )
        scheme, host, port = origin
        rules.append(OriginRule(scheme, host, port))
    return tuple(rules)


def _embed_origins(text: str) -> tuple[str, ...]:
    try:
        return read_embed_origins(text)
    except InvalidEmbedOrigin as error:
        raise InvalidSetting(f"TRANSOM_EMBED_ORIGINS: {error}") from None


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


def _one_of(text: str, choices: Sequence[str], env: str) -> str:
    if text not in choices:
        raise InvalidSetting(f"{env}: {text!r:.80} is not one of {', '.join(choices)}")
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


def _ray_address(text: str) -> str:
    if text not in ("auto", "local") and _RAY_ADDRESS.fullmatch(text) is None:
        raise InvalidSetting(f"TRANSOM_RAY_ADDRESS: {text!r:.80} is not auto, local or host:port")
    return text


def _ray_replicas(text: str) -> tuple[int, int]:
    match = _RAY_REPLICAS.fullmatch(text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most <= MAX_REPLICAS:
        raise InvalidSetting(
            f"TRANSOM_RAY_REPLICAS: {text!r:.80} is not as 2 or 1-4, up to {MAX_REPLICAS}"
        )
    return least, most


def _grace(text: str) -> float:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= MAX_GRACE_SECONDS):
        raise InvalidSetting(
            f"TRANSOM_GRACE: {text!r:.80} is not seconds from 0 to {MAX_GRACE_SECONDS}"
        )
    return float(text)


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
    names = tuple(part.lower() for part in parts(text))
    for name in names:
        if _HOST_NAME.fullmatch(name) is None:
            raise InvalidSetting(f"TRANSOM_HOSTS: {name!r:.80} is not a host name without a port")
    return names
