"""Logins of registries: a file in Docker's shape that only its owner can read.

    {"auths": {"registry.example.com": {"auth": "<base64 of user:password>",
                                        "token_hosts": ["auth.example.net"]}}}

`token_hosts` is ours: other hosts that may be shown this login, because the registry has its
tokens issued there. Knows no HTTP.
"""

import base64
import binascii
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import platformdirs

from transom_models.errors import TransomError
from transom_server.store.partial_file import make_folders, sync_folder

FILE_NAME: Final = "auth.json"
# Thousands of logins.
MAX_FILE_BYTES: Final = 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class CredentialsError(TransomError):
    """The file of logins cannot be used; the text names it and what would help."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are at a registry. `token_hosts` are the other hosts that may learn it."""

    username: str
    password: str = field(repr=False)
    token_hosts: tuple[str, ...] = ()

    @property
    def basic(self) -> str:
        """As the Authorization header has it (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Credentials:
    """Logins by registry, as `host` or `host:port` in lower case."""

    logins: Mapping[str, Login] = field(default_factory=dict)

    def of(self, registry: str) -> Login | None:
        """The login for a registry, as names write it."""
        return self.logins.get(registry.lower())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; a missing one has no logins. Raises `CredentialsError`."""
        return cls({host: _login(row, host, path) for host, row in _read_rows(path).items()})


def credentials_path(environ: Mapping[str, str]) -> Path:
    """The file: in the folder TRANSOM_CONFIG, or in the user's own for settings."""
    folder = environ.get("TRANSOM_CONFIG")
    base = Path(folder).expanduser() if folder else platformdirs.user_config_path("transom")
    return base / FILE_NAME


def read_credentials(environ: Mapping[str, str]) -> Credentials:
    """The user's logins. Raises `CredentialsError`."""
    return Credentials.read(credentials_path(environ))


def save_login(path: Path, registry: str, login: Login) -> None:
    """Write a login into the file, in place of the one there was. Raises `CredentialsError`."""
    if ":" in login.username:
        raise CredentialsError(f"the user name {login.username!r:.80} holds a colon")
    rows = _read_rows(path)
    row: dict[str, Any] = {"auth": login.basic.removeprefix("Basic ")}
    if login.token_hosts:
        row["token_hosts"] = list(login.token_hosts)
    _write_rows(path, {**rows, registry.lower(): row})


def remove_login(path: Path, registry: str) -> bool:
    """Forget a login; whether there was one. Raises `CredentialsError`."""
    rows = _read_rows(path)
    found = rows.pop(registry.lower(), None) is not None
    if found:
        _write_rows(path, rows)
    return found


def _read_rows(path: Path) -> dict[str, Any]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror}") from error
    try:
        # Of the open file, so that nobody can swap it between the look and the reading.
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise CredentialsError(f"{path} is not a file")
        if mode & _OTHERS:
            raise CredentialsError(
                f"{path} holds passwords, and its mode {stat.S_IMODE(mode):04o} lets others at it; "
                f"close it with: chmod 600 {path}"
            )
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_FILE_BYTES:
        raise CredentialsError(f"{path} has more than {MAX_FILE_BYTES} bytes")
    try:
        rows = json.loads(data).get("auths", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise CredentialsError(f"{path} is not a file of logins: {error}") from None
    if not isinstance(rows, dict):
        raise CredentialsError(f"{path}: field auths must be an object")
    return {host.lower(): row for host, row in rows.items()}


def _login(row: object, host: str, path: Path) -> Login:
    try:
        if not isinstance(row, dict):
            raise TypeError("must be an object")
        text = base64.b64decode(row["auth"], validate=True).decode()
        username, colon, password = text.partition(":")
        token_hosts = row.get("token_hosts", [])
        if not colon or not all(isinstance(item, str) for item in token_hosts):
            raise ValueError("is not base64 of user:password")
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise CredentialsError(
            f"{path}: the login of {host!r:.160} cannot be read; write it anew with: "
            f"transom login {host:.160}"
        ) from None
    return Login(username, password, tuple(token_hosts))


def _write_rows(path: Path, rows: Mapping[str, Any]) -> None:
    """Aside, then renamed: whoever reads finds all logins or the former ones."""
    try:
        make_folders(path.parent)
        # Made with mode 0600 from the start.
        descriptor, name = tempfile.mkstemp(prefix=FILE_NAME, dir=path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({"auths": rows}, file, indent=2, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise CredentialsError(f"cannot write {path}: {error.strerror}") from error
