"""pytest tests/pyserver/test_rate_limit.py: token buckets by a clock of the test's own."""

from datetime import UTC, datetime

import pytest

from transom_api.engine import Done, TokenEvent
from transom_api.rate_headers import Allowance, anthropic_headers, duration, openai_headers
from transom_server.access.rate_limit import Bucket, Limiter, Tally


def test_a_bucket_is_full_at_first_and_refills_evenly() -> None:
    bucket = Bucket(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.level(100.0) == 0
    assert bucket.wait_seconds(100.0) == 1.0
    assert bucket.level(100.5) == pytest.approx(0.5)
    assert bucket.wait_seconds(101.0) == 0
    # Never over the brim, and a clock that goes back gives nothing.
    assert bucket.level(1000.0) == 60
    assert bucket.level(0.0) == 60


def test_requests_over_the_rate_wait_their_share_of_a_minute() -> None:
    limiter = Limiter()
    for left in (2, 1, 0):
        standing = limiter.admit("a", 3, None, 0.0)
        assert standing.refused is None
        assert standing.requests is not None
        assert standing.requests.remaining == left
        assert standing.tokens is None
    refused = limiter.admit("a", 3, None, 0.0)
    assert (refused.refused, refused.wait_seconds) == ("requests", 20.0)
    # Whoever was refused is not charged for it.
    assert limiter.admit("a", 3, None, 19.9).refused == "requests"
    assert limiter.admit("a", 3, None, 20.0).refused is None
    # Others have buckets of their own.
    assert limiter.admit("b", 3, None, 20.0).refused is None


def test_tokens_may_leave_a_debt_that_later_requests_wait_for() -> None:
    limiter = Limiter()
    assert limiter.admit("a", None, 600, 0.0).refused is None
    limiter.charge("a", 900, 0.0)
    refused = limiter.admit("a", None, 600, 0.0)
    assert refused.refused == "tokens"
    assert refused.wait_seconds == pytest.approx(30.1)
    assert refused.tokens == Allowance(600, 0, 90.0)
    assert limiter.admit("a", None, 600, 30.2).refused is None


def test_a_refusal_for_tokens_takes_no_request() -> None:
    limiter = Limiter()
    limiter.admit("a", 2, 10, 0.0)
    limiter.charge("a", 100, 0.0)
    for _ in range(5):
        assert limiter.admit("a", 2, 10, 0.0).refused == "tokens"
    standing = limiter.admit("a", 2, 10, 0.0)
    assert standing.requests is not None
    assert standing.requests.remaining == 1


def test_new_limits_count_at_once() -> None:
    limiter = Limiter()
    assert limiter.admit("a", 1, None, 0.0).refused is None
    assert limiter.admit("a", 1, None, 0.0).refused == "requests"
    assert limiter.admit("a", 5, None, 0.0).refused is None
    assert limiter.admit("a", None, None, 0.0).requests is None
    limiter.charge("nobody", 5, 0.0)


def test_a_tally_counts_the_prompt_once_and_every_choice() -> None:
    tally = Tally()
    for choice in (0, 1):
        tally.feed(TokenEvent((1, 2), b"x", choice, prompt_tokens=7))
    assert tally.tokens == 11
    tally.feed(Done("stop", 7, 0, 3, 0.0, 0.0, choice=0))
    assert tally.tokens == 12


def test_headers_are_as_each_dialect_has_them() -> None:
    requests, tokens = Allowance(60, 59, 1.0), Allowance(1000, 0, 75.2)
    assert dict(openai_headers(requests, tokens)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m16s",
    }
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert dict(anthropic_headers(None, tokens, now)) == {
        "anthropic-ratelimit-tokens-limit": "1000",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2026-01-02T03:05:21Z",
    }
    assert list(openai_headers(None, None)) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0201, "21ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m0s"), (360, "6m0s")],
)
def test_durations_are_as_go_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
