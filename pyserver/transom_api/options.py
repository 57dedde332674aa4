"""Ollama's options (`transom_models.modelfile.PARAMETERS`) in the engine's words. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from transom_api.engine import LoadOptions, Sampling
from transom_models.modelfile import ParameterValue

# Option -> field of `LoadOptions`, and Ollama's value for "decide yourself".
_LOAD_FIELDS: Final[Mapping[str, tuple[str, object]]] = {
    "num_ctx": ("context_tokens", None),
    "num_batch": ("batch_tokens", None),
    "num_gpu": ("gpu_layers", -1),
    "main_gpu": ("main_gpu", None),
    "num_thread": ("threads", 0),
    "use_mmap": ("mmap", None),
    "draft_num_predict": ("draft_tokens", None),
}
_SAMPLING_FIELDS: Final = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_last_n",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
)
# Engines keep a seed in 32 bits, and the largest one means another seed each time.
_SEEDS: Final = 2**32 - 1


def sampling_of(parameters: Mapping[str, ParameterValue]) -> Sampling:
    """How tokens are chosen; what is not given has Ollama's default."""
    fields: dict[str, Any] = {
        name: parameters[name] for name in _SAMPLING_FIELDS if name in parameters
    }
    seed = parameters.get("seed", -1)
    assert isinstance(seed, int)
    return Sampling(**fields, seed=seed % _SEEDS if seed >= 0 else -1)


def load_options_of(
    parameters: Mapping[str, ParameterValue],
    otherwise: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
) -> LoadOptions:
    """How the model is loaded; `otherwise` says what the parameters do not."""
    fields: dict[str, Any] = {}
    for name, (attribute, automatic) in _LOAD_FIELDS.items():
        value = parameters.get(name)
        if value is not None:
            fields[attribute] = None if value == automatic else value
    return replace(otherwise, **fields)


def max_tokens_of(parameters: Mapping[str, ParameterValue]) -> int:
    """Tokens of the answer at most; -1 is up to the end of the context."""
    count = parameters.get("num_predict", -1)
    assert isinstance(count, int)
    return max(count, -1)


def stops_of(parameters: Mapping[str, ParameterValue]) -> tuple[str, ...]:
    """Texts that end the answer."""
    texts = parameters.get("stop", ())
    assert isinstance(texts, tuple)
    return texts
