"""Fields that chats and completions share: the model, its context, sampling, streaming.

Where OpenAI has no word for something, those of llama-server, vLLM and LocalAI count, and Ollama's
options by their own names. What a server of ours cannot do is refused by its name; what only says
who asks, or how to bill it, is passed over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from transom_api.adapters import read_lora
from transom_api.chat import MAX_CHOICES, MAX_STOPS
from transom_api.fields import MAX_TOKEN_ID, Fields, InvalidField, shown
from transom_api.ollama.fields import keep_seconds_of
from transom_models.modelfile import InvalidParameter, ParameterValue
from transom_models.modelfile.parameters import PARAMETERS, check_value

CONTEXT_HEADER: Final = "X-Transom-Context"
# Count where neither the request nor the model says otherwise.
DEFAULTS: Final[Mapping[str, ParameterValue]] = {"temperature": 1.0, "top_p": 1.0}
# OpenAI's cap is 300. The sampler walks the list at each token.
MAX_BIASES: Final = 4096
MAX_BIAS: Final = 100.0
MAX_STOP_TOKENS: Final = 1024
SEEDS: Final = 2**63
# `smollm2:ctx=8192`: "=" cannot be in a name.
_CONTEXT_SUFFIX: Final = re.compile(r"(.+):ctx=([0-9]{1,10})", re.DOTALL)
_TOKEN_ID: Final = re.compile(r"[0-9]{1,10}")

# Other words for our options: field -> option.
OTHER_WORDS: Final[Mapping[str, str]] = {
    "repetition_penalty": "repeat_penalty",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "n_predict": "num_predict",
    "n_keep": "num_keep",
}
# Read by their own rules below.
OWN_RULES: Final = frozenset({"seed", "stop"})
# Field -> values that ask for nothing (beside null, false, 0 and empty), and the way out.
REFUSED: Final[Mapping[str, tuple[tuple[object, ...], str]]] = {
    name: (neutral, f"{why}; leave it out")
    for names, neutral, why in (
        (("use_beam_search",), (), "there is no beam search; n gives several answers"),
        (("length_penalty",), (1,), "it belongs to beam search, which there is not"),
        (("include_stop_str_in_output",), (), "a stop text is no part of an answer"),
        (("min_tokens",), (), "an answer may be short; ignore_eos and max_tokens make it long"),
        (("skip_special_tokens",), (True,), "special tokens are not shown"),
        (("spaces_between_special_tokens",), (True,), "special tokens are not shown"),
        (("prompt_logprobs",), (), "log-probabilities are those of the answer only"),
        (("allowed_token_ids",), (), "logit_bias or a grammar says which tokens may come"),
        (("bad_words",), (), "logit_bias forbids tokens"),
        (("thinking_token_budget", "thinking_budget"), (-1,), "reasoning has no budget of its own"),
        (("priority",), (), "requests are taken in turn"),
        (("cache_salt",), (), "with cache_prompt false nothing of a prompt is kept"),
        (("truncate_prompt_tokens",), (-1,), "a prompt is never cut"),
        (("mirostat",), (), "sampling is by temperature, top_k, top_p, min_p"),
        (("tfz", "tfs_z"), (1,), "sampling is by temperature, top_k, top_p, min_p"),
        (("dynatemp_range", "dry_multiplier", "xtc_probability"), (), "it is not sampled so"),
        (("samplers", "min_keep", "top_a", "top_n_sigma"), (-1,), "the samplers are fixed"),
        (("t_max_predict_ms",), (-1,), "max_tokens ends an answer"),
        (("id_slot",), (-1,), "the server chooses the slot"),
        (("n_probs",), (), "logprobs and top_logprobs give them"),
        (("n_indent", "response_fields", "return_tokens"), (), "answers have OpenAI's fields"),
        (("return_token_ids", "return_tokens_as_token_ids"), (), "answers have OpenAI's fields"),
        (("post_sampling_probs", "return_progress"), (), "answers have OpenAI's fields"),
        (("timings_per_token", "debug_config"), (), "timings come once, at the end"),
        (("logits_processors", "vllm_xargs", "kv_transfer_params"), (), "there is no such engine"),
    )
    for name in names
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What chats and completions share, in the words of `Chat`."""

    model: str
    fields: Mapping[str, Any]
    """More of `Chat`'s arguments."""
    include_usage: bool


def read_common(body: Fields, context: str | None) -> Asked:
    """`context` is the header's value. Raises `InvalidField`."""
    for name, (neutral, way_out) in REFUSED.items():
        value = body.raw(name)
        # True is 1 to Python.
        asks = not any(value == each and (value is True) is (each is True) for each in neutral)
        if value and asks:
            body.refuse(name, way_out)
    model, options = read_model(body, context)
    stream = body.flag("stream", False)
    fields: dict[str, Any] = {
        "model": model,
        "stream": stream,
        "options": options,
        "fallback_options": DEFAULTS,
        "choices": _choices(body),
        "logit_bias": _biases(body),
        "stop_token_ids": _stop_tokens(body),
        "ignore_eos": body.flag("ignore_eos", False),
        "cache_prompt": body.flag("cache_prompt", True),
        "keep_seconds": keep_seconds_of(body),
        "lora": read_lora(body),
    }
    return Asked(body.required_text("model"), fields, _includes_usage(body, stream))


def read_model(body: Fields, context: str | None) -> tuple[str, dict[str, ParameterValue]]:
    """The model's name without a suffix, and the options that matter to loading it."""
    asked = body.required_text("model")
    match = _CONTEXT_SUFFIX.fullmatch(asked)
    model, suffix = (asked, None) if match is None else (match[1], match[2])
    options = _options(body)
    # The body's own field says it best, then the header.
    if "num_ctx" not in options and context is not None:
        options["num_ctx"] = _context(context, CONTEXT_HEADER)
    elif "num_ctx" not in options and suffix is not None:
        options["num_ctx"] = _context(suffix, "model")
    return model, options


def _context(text: str, param: str) -> int:
    row = PARAMETERS["num_ctx"]
    if not (re.fullmatch(r"[0-9]{1,10}", text) and row.minimum <= int(text) <= row.maximum):
        raise InvalidField(param, f"{shown(text)} is no number of tokens")
    return int(text)


def _options(body: Fields) -> dict[str, ParameterValue]:
    """Options by Ollama's names, out of `options` first, then out of the body's own fields."""
    found: dict[str, ParameterValue] = {}
    inner = body.object("options")
    if inner is not None:
        for name in PARAMETERS:
            if name in inner:
                found[name] = _checked(inner, name)
    for name in PARAMETERS.keys() - OWN_RULES:
        if name in body:
            found[name] = _checked(body, name)
    said: dict[str, str] = {name: name for name in PARAMETERS if name in body}
    for name, option in OTHER_WORDS.items():
        if name not in body:
            continue
        value = _length(body, name) if option == "num_predict" else _checked(body, name, option)
        if option in said and found.get(option) != value:
            body.refuse(name, f"{said[option]} says something else; send one of them")
        found[option], said[option] = value, name
    if "seed" in body:
        # OpenAI's seeds have 64 bits. A seed is a seed, whichever of ours it becomes.
        seed = body.whole("seed", 0, least=-SEEDS, most=SEEDS - 1)
        found["seed"] = seed % int(PARAMETERS["seed"].maximum) if seed >= 0 else -1
    stops = _stops(body)
    if stops:
        found["stop"] = stops
    return found


def _checked(fields: Fields, name: str, option: str | None = None) -> ParameterValue:
    try:
        return check_value(option or name, fields.raw(name))
    except InvalidParameter as error:
        # It begins with the option's name, which `param` has.
        fields.refuse(name, str(error).removeprefix(f"{option or name} "))


def _length(body: Fields, name: str) -> int:
    most = int(PARAMETERS["num_predict"].maximum)
    value = body.whole(name, -1, least=-1, most=most)
    if value == 0:
        body.refuse(name, "must be at least 1; leave it out for no limit")
    return value


def _stops(body: Fields) -> ParameterValue | None:
    texts = body.texts("stop", most=MAX_STOPS)
    if not texts:
        return None
    try:
        return check_value("stop", list(texts))
    except InvalidParameter as error:
        body.refuse("stop", str(error).removeprefix("stop "))


def _choices(body: Fields) -> int:
    n = body.whole("n", None, least=1, most=MAX_CHOICES)
    also = body.whole("n_cmpl", None, least=1, most=MAX_CHOICES)
    if n is not None and also is not None and n != also:
        body.refuse("n_cmpl", "n says something else; send one of them")
    return n or also or 1


def _biases(body: Fields) -> dict[int, float]:
    rows = body.object("logit_bias")
    if rows is None:
        return {}
    names = rows.names()
    if len(names) > MAX_BIASES:
        body.refuse("logit_bias", f"has {len(names)} tokens, over {MAX_BIASES}")
    found = {}
    for name in names:
        if not (_TOKEN_ID.fullmatch(name) and int(name) <= MAX_TOKEN_ID):
            body.refuse("logit_bias", f"{shown(name)} is not the number of a token")
        found[int(name)] = rows.number(name, 0.0, least=-MAX_BIAS, most=MAX_BIAS)
    return found


def _stop_tokens(body: Fields) -> tuple[int, ...]:
    return body.tokens("stop_token_ids", most=MAX_STOP_TOKENS)


def _includes_usage(body: Fields, stream: bool) -> bool:
    options = body.object("stream_options")
    if options is None:
        return False
    if not stream:
        body.refuse("stream_options", "it says how to stream; send it with stream: true")
    options.refuse_if_set({"continuous_usage_stats": "usage comes once, at the end"})
    return options.flag("include_usage", False)
