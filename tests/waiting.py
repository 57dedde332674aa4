"""Waiting for what other threads and processes do."""

import time
from collections.abc import Callable

# Longer than two busy cores have ever needed for anything that is waited for here.
SECONDS = 120


def wait_for(
    is_so: Callable[[], bool], what: str = "what is waited for", seconds: float = SECONDS
) -> float:
    """Look until it is so; gives the seconds that it took."""
    begun = time.monotonic()
    while not is_so():
        assert time.monotonic() < begun + seconds, f"{what}: not after {seconds:g} seconds"
        time.sleep(0.02)
    return time.monotonic() - begun
