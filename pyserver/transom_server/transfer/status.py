"""What a transfer tells while it runs, and what it is told before it starts. Values only.

The words are Ollama's, so that clients of either server can read them.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from transom_models.digest import Digest
from transom_models.errors import TransomError

if TYPE_CHECKING:
    from transom_server.transfer.credentials import Credentials

# Enough to fill a line from far away; hosts see no more of one client than a browser's share.
CONNECTIONS: Final = 4
# A dropped connection loses at most this much; less would pay a round trip too often.
PIECE_BYTES: Final = 16 * 1024 * 1024

PULLING_MANIFEST: Final = "pulling manifest"
VERIFYING: Final = "verifying sha256 digest"
WRITING_MANIFEST: Final = "writing manifest"
RETRIEVING_MANIFEST: Final = "retrieving manifest"
REMOVING: Final = "removing unused layers"
PUSHING_MANIFEST: Final = "pushing manifest"
SUCCESS: Final = "success"

_SHOWN_HEX: Final = 12


@dataclass(frozen=True, slots=True)
class Status:
    """One line of a transfer: what it does now, and for a blob how much of it (bytes) is done."""

    text: str
    digest: Digest | None = None
    total: int | None = None
    completed: int | None = None


# Called under a lock, from any thread.
Report = Callable[[Status], None]


class Cancelled(TransomError):
    """Whoever asked for the transfer wants it no more."""

    def __init__(self) -> None:
        super().__init__("cancelled; the same command goes on where this one stopped")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transfer waits for the other side, in seconds, and how often it asks again."""

    tries: int = 6
    """Without any progress; progress starts the count again."""
    first_wait: float = 0.5
    longest_wait: float = 20.0
    longest_retry_after: float = 60.0
    """A host may ask for more with Retry-After; it does not get it."""
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    """For the next byte, whatever came before."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How to transfer. `bytes_per_second` caps all connections together; None: no cap."""

    insecure: bool = False
    connections: int = CONNECTIONS
    bytes_per_second: int | None = None
    accept_license: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    credentials: "Credentials | None" = None
    patience: Patience = field(default_factory=Patience)
    piece_bytes: int = PIECE_BYTES


def pulling(digest: Digest, total: int, completed: int) -> Status:
    """So much of a blob is here."""
    return Status(f"pulling {digest.hex[:_SHOWN_HEX]}", digest, total, completed)


def pushing(digest: Digest, total: int, completed: int) -> Status:
    """So much of a blob is there."""
    return Status(f"pushing {digest.hex[:_SHOWN_HEX]}", digest, total, completed)
