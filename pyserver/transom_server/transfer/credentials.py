"""Logins of registries: a file in Docker's shape that only its owner can read.

    {"auths": {"registry.example.com": {"auth": "<base64 of user:password>",
                                        "token_hosts": ["auth.example.net"]}}}

`token_hosts` is ours: other hosts that may be shown this login, because the registry has its
tokens issued there. Knows no HTTP.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from transom_models.errors import TransomError
from transom_server.access.private_file import (
    PrivateFileError,
    read_private,
    write_private,
)
from transom_server.settings.toml_file import settings_folder

FILE_NAME: Final = "auth.json"
# Thousands of logins.
MAX_FILE_BYTES: Final = 1024 * 1024


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
    return settings_folder(environ) / FILE_NAME


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
        found = read_private(path, MAX_FILE_BYTES, "passwords")
    except PrivateFileError as error:
        raise CredentialsError(str(error)) from error
    if found is None:
        return {}
    try:
        rows = json.loads(found[0]).get("auths", {})
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
    text = json.dumps({"auths": rows}, indent=2, sort_keys=True)
    try:
        write_private(path, text.encode())
    except PrivateFileError as error:
        raise CredentialsError(str(error)) from error
