"""Who waits for a model, and whose turn it is: fair between clients, with a cap and a deadline.

Each client's requests stand in its own order; clients take turns, so that one with a hundred
requests does not keep another one's first waiting for all of them. No threads and no clock: the
caller holds a lock and says what time it is.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from transom_api.engine import EngineError

# Ollama's. Each that waits holds a thread or a connection, no more.
MAX_WAITING: Final = 512
# A load of a large model from a slow disk, and a long answer before it; no client waits longer.
MAX_WAIT_SECONDS: Final = 600.0
# A client may fill so much of the line.
CLIENT_SHARE: Final = 0.5
# Whoever is turned away may ask again after this; answers are seconds long.
RETRY_SECONDS: Final = 5


class Overloaded(EngineError):
    """More is asked for than can be done now; the same request may succeed later."""

    retry_seconds: int = RETRY_SECONDS


class ClientOverShare(Overloaded):
    """One client has so many requests waiting that others would find no place."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the line. `wants_room`: its model has to be loaded first, and does not fit yet."""

    client: str
    model: Hashable
    turn: int
    number: int
    deadline: float
    wants_room: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        return self.turn, self.number


class WaitingLine:
    """Requests that wait. For one thread at a time."""

    def __init__(self, most: int = MAX_WAITING, patience_seconds: float = MAX_WAIT_SECONDS) -> None:
        self._most = most
        self._each = max(1, int(most * CLIENT_SHARE))
        self._patience = patience_seconds
        self._tickets: list[Ticket] = []
        self._turn = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._tickets)

    @property
    def is_full(self) -> bool:
        return len(self._tickets) >= self._most

    def enter(self, client: str, model: Hashable, now: float) -> Ticket:
        """A new place. `now` in seconds. Raises `Overloaded`, `ClientOverShare`."""
        if self.is_full:
            raise Overloaded(
                f"{self._most} requests wait already, and no more may (TRANSOM_QUEUE); "
                f"ask again in {RETRY_SECONDS} seconds"
            )
        own = [ticket for ticket in self._tickets if ticket.client == client]
        if len(own) >= self._each:
            raise ClientOverShare(
                f"{self._each} of your requests wait already; wait for their answers first"
            )
        turn = max([self._turn, *(ticket.turn + 1 for ticket in own)])
        self._number += 1
        ticket = Ticket(client, model, turn, self._number, now + self._patience)
        self._tickets.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """It has what it waited for, or wants it no more."""
        self._tickets.remove(ticket)

    def served(self, ticket: Ticket) -> None:
        """It was its turn: whoever comes now comes after it."""
        self._turn = max(self._turn, ticket.turn)

    def check(self, ticket: Ticket, now: float) -> None:
        """Raises `Overloaded` when it has waited for too long."""
        if now >= ticket.deadline:
            raise Overloaded(
                f"no place for this request within {self._patience:g} seconds; "
                f"ask again in {RETRY_SECONDS} seconds"
            )

    def is_next(self, ticket: Ticket) -> bool:
        """Whether nobody who waits for the same model comes before it."""
        return all(
            other.model != ticket.model or other.rank >= ticket.rank for other in self._tickets
        )

    def may_make_room(self, ticket: Ticket) -> bool:
        """Whether nobody who waits for room comes before it. Else small models would pass a large
        one for ever."""
        return all(not other.wants_room or other.rank >= ticket.rank for other in self._tickets)
