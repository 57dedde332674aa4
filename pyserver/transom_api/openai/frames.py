"""What frames of chats and of completions share: server-sent events, usage, figures."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final

from transom_api.deltas import Logprobs, TokenLogprob, Usage

EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
DONE: Final = b"data: [DONE]\n\n"
_WORDS: Final = "words"
# What OpenAI says of a token that cannot come; JSON has no infinity.
LEAST_LOGPROB: Final = -9999.0


def event(value: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode() + b"\n\n"


def worded(frame: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """The same frame for any words, and a token is little else: what is around them is written
    once. Nothing that somebody chose may come after them."""
    before, _, after = frame(_WORDS).rpartition(encode_basestring(_WORDS).encode())
    return lambda words: before + encode_basestring(words).encode() + after


def logprob_json(logprob: float) -> float:
    """A log-probability that JSON can hold."""
    return logprob if math.isfinite(logprob) else LEAST_LOGPROB


def logprobs_json(rows: Sequence[Logprobs]) -> list[dict[str, Any]]:
    """Tokens and those in their place, as chats tell them."""
    return [
        {**_token_json(row.chosen), "top_logprobs": [_token_json(token) for token in row.top]}
        for row in rows
    ]


def _token_json(token: TokenLogprob) -> dict[str, Any]:
    told = {
        "token": token.token,
        "logprob": logprob_json(token.logprob),
        "bytes": list(token.bytes),
    }
    # llama-server tells it, OpenAI does not.
    return told if token.id is None else {"id": token.id, **told}


def stop_json(stop: str | None) -> dict[str, str]:
    """The stop text that ended an answer, in vLLM's word: other dialects tell it, too."""
    return {} if stop is None else {"stop_reason": stop}


def usage_json(usage: Usage) -> dict[str, Any]:
    """Tokens of a request."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def timings_json(usage: Usage) -> dict[str, Any]:
    """Figures in llama-server's words, which OpenAI has none for. Milliseconds."""
    computed = usage.prompt_tokens - usage.cached_tokens
    drafts = {"draft_n": usage.drafted_tokens, "draft_n_accepted": usage.accepted_tokens}
    return {
        "cache_n": usage.cached_tokens,
        "load_ms": usage.load_seconds * 1e3,
        **_timing("prompt", computed, usage.prompt_seconds),
        **_timing("predicted", usage.completion_tokens, usage.completion_seconds),
        **(drafts if usage.drafted_tokens else {}),
    }


def _timing(name: str, tokens: int, seconds: float) -> dict[str, Any]:
    return {
        f"{name}_n": tokens,
        f"{name}_ms": seconds * 1e3,
        f"{name}_per_token_ms": seconds * 1e3 / tokens if tokens else None,
        f"{name}_per_second": tokens / seconds if seconds else None,
    }
