"""How long models stay loaded after their last answer (`keep_alive`). Knows names, and how one is
let go of; no HTTP.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from transom_api.ollama.generation import MAX_KEEP_SECONDS


class Keeping:
    """The request that ends last says how long; one that says nothing: until another model needs
    the room."""

    def __init__(self, let_go: Callable[[str], Awaitable[None]]) -> None:
        """`let_go` raises nothing."""
        self._let_go = let_go
        self._uses: Counter[str] = Counter()
        self._timers: dict[str, tuple[asyncio.TimerHandle, float]] = {}
        # The loop holds tasks loosely.
        self._tasks: set[asyncio.Future[None]] = set()

    def begin(self, name: str) -> None:
        """It is needed from now on."""
        self._uses[name] += 1
        self._stop(name)

    async def end(self, name: str, keep_seconds: float | None) -> None:
        """Whoever needed it does not any more."""
        self._uses[name] -= 1
        if self._uses[name] > 0:
            return
        del self._uses[name]
        if keep_seconds == 0:
            await self._let_go(name)
        elif keep_seconds is not None and keep_seconds < MAX_KEEP_SECONDS:
            timer = asyncio.get_running_loop().call_later(keep_seconds, self._expire, name)
            self._timers[name] = (timer, time.time() + keep_seconds)

    def expires(self, name: str) -> float | None:
        """Unix seconds; None: nobody lets go of it."""
        kept = self._timers.get(name)
        return None if kept is None else kept[1]

    def _expire(self, name: str) -> None:
        del self._timers[name]
        task = asyncio.ensure_future(self._let_go(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, name: str) -> None:
        kept = self._timers.pop(name, None)
        if kept is not None:
            kept[0].cancel()
