"""Errors of the page's engine, by their codes (web/src/errors.ts), as errors of the core; and their
HTTP statuses, which are those that the server's own have.
"""

from collections.abc import Callable, Mapping
from typing import Final

from transom_api.engine import (
    ContextOverflow,
    EngineError,
    EngineFailed,
    LoadFailed,
    RequestCancelled,
)
from transom_api.fields import InvalidField
from transom_api.statuses import STATUSES, BodyEncoded, Statuses
from transom_models.errors import TransomError

RETRY_SECONDS: Final = 5


class ModelNotFound(TransomError):
    """Neither this browser nor its host has a model of this name."""


class WrongTask(TransomError):
    """The model is not made for what is asked of it, or not for this browser."""


class Busy(EngineError):
    """More is asked for than can be done now; the same request may succeed later."""


class NoRoom(TransomError):
    """The browser gives no room for the model's files."""


class FetchFailed(TransomError):
    """The model's files did not come."""


class OnlyServers(TransomError):
    """A Transom server can do it, a page cannot."""


class HttpError(TransomError):
    """The address is none, is not used so, or is sent too much."""

    def __init__(self, status: int, message: str, methods: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.methods = status, methods


PAGE_STATUSES: Final[Statuses] = {
    **STATUSES,
    BodyEncoded: (415, "UNSUPPORTED"),
    ModelNotFound: (404, "MANIFEST_UNKNOWN"),
    WrongTask: (400, "UNSUPPORTED"),
    Busy: (503, "TOOMANYREQUESTS"),
    NoRoom: (507, "UNKNOWN"),
    FetchFailed: (502, "UNKNOWN"),
    OnlyServers: (501, "UNSUPPORTED"),
}

_BY_CODE: Final[Mapping[str, Callable[[str], TransomError]]] = {
    "model-not-found": ModelNotFound,
    "no-model": ModelNotFound,
    "no-variant": WrongTask,
    "context-overflow": ContextOverflow,
    "invalid-request": lambda message: InvalidField(None, message),
    "busy": Busy,
    "aborted": RequestCancelled,
    "network": FetchFailed,
    "no-room": NoRoom,
    "no-webgpu": LoadFailed,
    "no-adapter": LoadFailed,
    "adapter-too-small": LoadFailed,
    "digest-mismatch": LoadFailed,
    "invalid-index": LoadFailed,
    "invalid-manifest": LoadFailed,
    "invalid-bundle": LoadFailed,
}


class EngineSaid(Exception):
    """An error that came from the engine, as `error`; `code` is the page's."""

    def __init__(self, error: TransomError, code: str) -> None:
        super().__init__(str(error))
        self.error, self.code = error, code


def error_of(kind: str, wire: Mapping[str, str]) -> EngineSaid:
    """What the core calls a `WireError` of a call of this kind. A code that nobody knows is a
    breakdown; what breaks down while it loads is a model that cannot be loaded."""
    otherwise = LoadFailed if kind == "open" else EngineFailed
    return EngineSaid(_BY_CODE.get(wire["code"], otherwise)(wire["message"]), wire["code"])
