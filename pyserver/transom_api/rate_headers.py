"""What is left of a limit, as headers: OpenAI's and Anthropic's. Pure: the time is given in."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Allowance:
    """A limit per minute, what is left of it, and seconds until all of it is there again."""

    limit: int
    remaining: int
    reset_seconds: float


def openai_headers(
    requests: Allowance | None, tokens: Allowance | None
) -> Iterator[tuple[str, str]]:
    """`x-ratelimit-limit-requests: 60`, …; nothing for what has no limit."""
    for kind, left in (("requests", requests), ("tokens", tokens)):
        if left is not None:
            yield f"x-ratelimit-limit-{kind}", str(left.limit)
            yield f"x-ratelimit-remaining-{kind}", str(left.remaining)
            yield f"x-ratelimit-reset-{kind}", duration(left.reset_seconds)


def anthropic_headers(
    requests: Allowance | None, tokens: Allowance | None, now: datetime
) -> Iterator[tuple[str, str]]:
    """`anthropic-ratelimit-requests-limit: 60`, …; times as RFC 3339."""
    for kind, left in (("requests", requests), ("tokens", tokens)):
        if left is not None:
            moment = now.astimezone(UTC) + timedelta(seconds=math.ceil(left.reset_seconds))
            yield f"anthropic-ratelimit-{kind}-limit", str(left.limit)
            yield f"anthropic-ratelimit-{kind}-remaining", str(left.remaining)
            yield f"anthropic-ratelimit-{kind}-reset", f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def duration(seconds: float) -> str:
    """As Go writes a time span, which OpenAI's headers have: `120ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms" if seconds > 0 else "0s"
    if seconds < 60:
        return f"{math.ceil(seconds * 1000) / 1000:g}s"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s"
