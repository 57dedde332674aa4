"""How much each key may ask for in a minute: token buckets, by the clock that is given in.

A bucket holds a minute's worth and refills evenly, so a key that was quiet may ask all at once.
What an answer takes in tokens is known when it ends: a request comes in while anything is left, and
may leave a debt that later ones wait for. Pure. Threads may share a `Limiter`.
"""

import math
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

from transom_api.deltas import Delta, Usage
from transom_api.engine import Done, TokenEvent
from transom_api.rate_headers import Allowance
from transom_models.errors import TransomError

MINUTE: Final = 60.0


class RateLimited(TransomError):
    """A key has used up what a minute gives it."""

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class Bucket:
    """Full at the start. Times are seconds of any clock that does not go back."""

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at = now

    def level(self, now: float) -> float:
        """What is left; below zero is a debt."""
        gained = max(0.0, now - self._at) * self.per_minute / MINUTE
        self._level = min(float(self.per_minute), self._level + gained)
        self._at = max(self._at, now)
        return self._level

    def take(self, amount: float, now: float) -> None:
        self._level = self.level(now) - amount

    def wait_seconds(self, now: float, wanted: float = 1.0) -> float:
        """Until so much is left; 0 when it is. Without a rate, never."""
        missing = wanted - self.level(now)
        if missing <= 0:
            return 0.0
        return missing * MINUTE / self.per_minute if self.per_minute else math.inf

    def allowance(self, now: float) -> Allowance:
        full = self.wait_seconds(now, float(self.per_minute))
        return Allowance(self.per_minute, max(0, math.floor(self.level(now))), full)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a key has left; None where nothing limits it. `refused`: what it has too little of."""

    requests: Allowance | None
    tokens: Allowance | None
    refused: Literal["requests", "tokens"] | None = None
    wait_seconds: float = 0.0


@dataclass(slots=True)
class _Buckets:
    requests: Bucket | None
    tokens: Bucket | None


class Limiter:
    """The buckets of all keys that have asked since the server began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, _Buckets] = {}

    def admit(self, who: str, requests: int | None, tokens: int | None, now: float) -> Standing:
        """Count a request of the key `who`, whose limits these are, unless it has to wait."""
        if requests is None and tokens is None:
            return Standing(None, None)
        with self._lock:
            own = self._of(who, requests, tokens, now)
            for kind, bucket in (("requests", own.requests), ("tokens", own.tokens)):
                wait = bucket.wait_seconds(now) if bucket else 0.0
                if wait > 0:
                    refused: Literal["requests", "tokens"]
                    refused = "requests" if kind == "requests" else "tokens"
                    return Standing(*_allowances(own, now), refused, wait)
            if own.requests is not None:
                own.requests.take(1, now)
            return Standing(*_allowances(own, now))

    def charge(self, who: str, tokens: int, now: float) -> None:
        """An answer took so many tokens, its prompt's with them."""
        with self._lock:
            own = self._all.get(who)
            if own is not None and own.tokens is not None:
                own.tokens.take(tokens, now)

    def _of(self, who: str, requests: int | None, tokens: int | None, now: float) -> _Buckets:
        own = self._all.get(who)
        known = own and (_rate(own.requests), _rate(own.tokens))
        if own is None or known != (requests, tokens):
            own = _Buckets(
                None if requests is None else Bucket(requests, now),
                None if tokens is None else Bucket(tokens, now),
            )
            self._all[who] = own
        return own


class Tally:
    """The tokens of one answer, so far: all its choices, and its prompt once."""

    def __init__(self) -> None:
        self._prompt = 0
        self._choices: Counter[int] = Counter()

    def feed(self, event: TokenEvent | Done) -> None:
        self._prompt = max(self._prompt, event.prompt_tokens)
        if isinstance(event, Done):
            self._choices[event.choice] = event.completion_tokens
        else:
            self._choices[event.choice] += len(event.token_ids)

    def pass_on(self, delta: Delta) -> None:
        """A piece of another server's answer, which is a token until its usage says better."""
        if isinstance(delta, Usage):
            self._prompt = delta.prompt_tokens
            self._choices = Counter({0: delta.completion_tokens})
        else:
            self._choices[delta.choice] += 1

    @property
    def prompt(self) -> int:
        return self._prompt

    @property
    def completion(self) -> int:
        return self._choices.total()

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


def _rate(bucket: Bucket | None) -> int | None:
    return None if bucket is None else bucket.per_minute


def _allowances(own: _Buckets, now: float) -> tuple[Allowance | None, Allowance | None]:
    return (
        None if own.requests is None else own.requests.allowance(now),
        None if own.tokens is None else own.tokens.allowance(now),
    )
