"""API keys: a private file of names and digests, and the ring that looks keys up in it.

    {"keys": {"laptop": {"sha256": "<hex>", "scopes": ["chat", "read"],
                         "requests_per_minute": 60, "tokens_per_minute": null,
                         "created": 1760000000, "expires": null}}}

A key is 256 random bits, so one round of SHA-256 keeps it: there is nothing to guess that salt or a
slow hash would protect, as there is in a password. The file is read again when it changes. Knows no
HTTP.
"""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from transom_models.errors import TransomError
from transom_server.access.private_file import (
    PrivateFileError,
    only_writer,
    read_private,
    write_private,
)
from transom_server.settings.toml_file import settings_folder

FILE_NAME: Final = "api_keys.json"
# What a key may be for. `write` can read, too: a push looks first what is there.
SCOPES: Final = ("chat", "read", "write", "metrics")
DEFAULT_SCOPES: Final = ("chat", "read")
# One row is about 300 bytes; more keys than this belong into a proxy with a database.
MAX_KEYS: Final = 10_000
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
# No server answers as many; and a number that every reader can hold.
MAX_PER_MINUTE: Final = 1_000_000_000
# A century.
MAX_DAYS: Final = 36_500
# Ours are 51 characters; other things are looked up no further.
MAX_KEY_CHARS: Final = 256

# Says whose key it is, to people and to what looks for secrets in files.
_PREFIX: Final = "transom-"
_RANDOM_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
DAY_SECONDS: Final = 24 * 60 * 60

_LOG = logging.getLogger(__name__)


class KeyProblem(TransomError):
    """A key cannot be made, or the file of keys cannot be used; the text says the way out."""


class KeysUnreadable(TransomError):
    """The server cannot tell who may come in, so nobody may. Names no file: strangers read it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key but for the key itself. Rates are per minute; times are Unix seconds."""

    name: str
    sha256: str
    scopes: frozenset[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    created: int
    expires: int | None

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def may(self, scopes: Collection[str]) -> bool:
        """Whether one of these is among its own."""
        own = self.scopes | {"read"} if "write" in self.scopes else self.scopes
        return not own.isdisjoint(scopes)

    def to_json(self) -> dict[str, Any]:
        return {
            "sha256": self.sha256,
            "scopes": [scope for scope in SCOPES if scope in self.scopes],
            "requests_per_minute": self.requests_per_minute,
            "tokens_per_minute": self.tokens_per_minute,
            "created": self.created,
            "expires": self.expires,
        }


def keys_path(environ: Mapping[str, str]) -> Path:
    """The file, beside the logins of registries."""
    return settings_folder(environ) / FILE_NAME


def read_keys(path: Path) -> tuple[ApiKey, ...] | None:
    """All keys; None when no key was ever made. Raises `KeyProblem`."""
    found = _read(path)
    return None if found is None else found[0]


def create_key(
    path: Path,
    name: str,
    *,
    scopes: Collection[str] = DEFAULT_SCOPES,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    days: int | None = None,
    now: float,
) -> str:
    """A new key, which only the answer has: the file keeps its digest. Raises `KeyProblem`."""
    if _NAME.fullmatch(name) is None:
        raise KeyProblem(f"{name!r:.80} is no name for a key: up to 64 letters, digits, and . _ -")
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    key = ApiKey(
        name,
        _digest(secret),
        frozenset(scopes),
        requests_per_minute,
        tokens_per_minute,
        int(now),
        None if days is None else int(now) + days * DAY_SECONDS,
    )
    with _changing(path):
        keys = read_keys(path) or ()
        if any(each.name == name for each in keys):
            raise KeyProblem(
                f"there is a key {name} already; take another name, or first: "
                f"transom key revoke {name}"
            )
        if len(keys) >= MAX_KEYS:
            raise KeyProblem(f"{path} has {MAX_KEYS} keys, and no more fit; revoke some")
        _write(path, (*keys, key))
    return secret


def revoke_key(path: Path, name: str) -> int:
    """Forget a key; gives how many are left. The file stays, so that revoking the last key does
    not open the door. Raises `KeyProblem`."""
    with _changing(path):
        keys = read_keys(path) or ()
        rest = tuple(each for each in keys if each.name != name)
        if len(rest) == len(keys):
            raise KeyProblem(
                f"there is no key {name!r:.80}; transom key list shows those there are"
            )
        _write(path, rest)
    return len(rest)


class KeyRing:
    """The keys of a file as it is now. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: object = "nothing yet"
        self._keys: dict[str, ApiKey] | None = None
        self._problem = False

    @property
    def exists(self) -> bool:
        """Whether a key was ever made. Raises `KeysUnreadable`."""
        return self._current() is not None

    def find(self, secret: str) -> ApiKey | None:
        """The key, also when it has expired. Raises `KeysUnreadable`."""
        if not 0 < len(secret) <= MAX_KEY_CHARS:
            return None
        digest = _digest(secret)
        # What is compared by time is a digest, which nobody can steer towards another one.
        found = (self._current() or {}).get(digest)
        return found if found and hmac.compare_digest(found.sha256, digest) else None

    def _current(self) -> dict[str, ApiKey] | None:
        with self._lock:
            seen = _signature(self.path)
            if seen != self._seen:
                self._read_again(seen)
            if self._problem:
                raise KeysUnreadable("the server cannot read its API keys; its log says why")
            return self._keys

    def _read_again(self, seen: object) -> None:
        self._keys, self._problem = None, False
        try:
            found = _read(self.path)
        except KeyProblem as error:
            _LOG.error("nobody is let in: %s", error)
            self._problem = True
            self._seen = seen
            return
        if found is None:
            self._seen = None
            return
        keys, status = found
        self._keys = {key.sha256: key for key in keys}
        # Of what was read: were it replaced just now, the next look would see that.
        self._seen = _signature_of(status)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _signature(path: Path) -> object:
    try:
        return _signature_of(os.stat(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.errno


def _signature_of(status: os.stat_result) -> object:
    # Two changes of the mode within a tick of an older kernel's clock have the same ctime.
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_ino, status.st_mode, *times, status.st_size


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """One writer at a time."""
    try:
        with only_writer(path):
            yield
    except PrivateFileError as error:
        raise KeyProblem(str(error)) from error


def _read(path: Path) -> tuple[tuple[ApiKey, ...], os.stat_result] | None:
    try:
        found = read_private(path, MAX_FILE_BYTES, "API keys")
    except PrivateFileError as error:
        raise KeyProblem(str(error)) from error
    if found is None:
        return None
    data, status = found
    try:
        rows = json.loads(data)["keys"]
        keys = tuple(_key(name, row) for name, row in rows.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeyProblem(f"{path} is not a file of API keys: {error}") from None
    if len(keys) > MAX_KEYS:
        raise KeyProblem(f"{path} has more than {MAX_KEYS} keys")
    return keys, status


def _key(name: str, row: Mapping[str, Any]) -> ApiKey:
    scopes = row["scopes"]
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or _NAME.fullmatch(name) is None or _SHA256.fullmatch(row["sha256"]) is None:
        raise ValueError(f"the key {name!r:.80} cannot be read")
    return ApiKey(
        name,
        row["sha256"],
        frozenset(scopes),
        _whole(row, "requests_per_minute"),
        _whole(row, "tokens_per_minute"),
        _whole(row, "created") or 0,
        _whole(row, "expires"),
    )


def _whole(row: Mapping[str, Any], field: str) -> int | None:
    value = row.get(field)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(f"{field} is not a number")
    return value


def _write(path: Path, keys: Collection[ApiKey]) -> None:
    text = json.dumps({"keys": {key.name: key.to_json() for key in keys}}, indent=2)
    write_private(path, text.encode())
