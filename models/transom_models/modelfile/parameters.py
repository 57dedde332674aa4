"""The options that a model carries: names, types, ranges and defaults, all of Ollama's.

One table serves `PARAMETER` lines, the `params` layer, `/api/create` and the `options` of a
request. Ranges are what the engines can use; Ollama itself checks types only. Must not know what
an engine does with a value.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from transom_models.errors import TransomError

ParameterValue = int | float | bool | str | tuple[str, ...]
Parameters = Mapping[str, ParameterValue]

# Longest that the page, which reads JSON numbers as doubles, holds exactly.
_MAX_EXACT: Final = 2**53 - 1
_MAX_INT32: Final = 2**31 - 1
# Every text that an engine looks for after each token; chat models have a handful.
MAX_STOPS: Final = 64
# The engine holds back as much output as the longest stop text.
MAX_STOP_CHARS: Final = 256
# `MAX_STOPS` texts in JSON's longest spelling fit, and nothing that costs memory.
MAX_PARAMS_BYTES: Final = 256 * 1024

# Go's strconv, which reads these values in Ollama: no spaces, no underscores, no NaN.
_INT: Final = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT: Final = re.compile(
    r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?"
)
_BOOLS: Final = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)


class InvalidParameter(TransomError):
    """An unknown option, or a value that it cannot take; the text names both."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option. `kind` is int, float, bool, or list (of texts, the one that may be repeated);
    `default` is Ollama's, None where the engine decides."""

    kind: type
    default: ParameterValue | None
    minimum: float = -math.inf
    maximum: float = math.inf
    meaning: str = ""

    @property
    def repeatable(self) -> bool:
        """Whether each line adds a value instead of replacing it."""
        return self.kind is list


PARAMETERS: Final[Mapping[str, Parameter]] = {
    # Sampling.
    "temperature": Parameter(float, 0.8, 0, 100, "0 takes the likeliest token"),
    "top_k": Parameter(int, 40, -1, _MAX_INT32, "likeliest tokens kept; 0 or less keeps all"),
    "top_p": Parameter(float, 0.9, 0, 1, "share of probability kept"),
    "min_p": Parameter(float, 0.0, 0, 1, "least probability, as a share of the likeliest's"),
    "typical_p": Parameter(float, 1.0, 0, 1, "locally typical sampling; 1 is off"),
    "seed": Parameter(int, -1, -_MAX_EXACT, _MAX_EXACT, "negative: another one each time"),
    "repeat_last_n": Parameter(int, 64, -1, _MAX_INT32, "tokens looked back; -1 is the context"),
    "repeat_penalty": Parameter(float, 1.0, 0, 100, "1 is off"),
    "presence_penalty": Parameter(float, 0.0, -2, 2, "0 is off"),
    "frequency_penalty": Parameter(float, 0.0, -2, 2, "0 is off"),
    # Length.
    "num_predict": Parameter(int, -1, -2, _MAX_INT32, "tokens at most; -1 no end, -2 the context"),
    "num_keep": Parameter(int, 4, -1, _MAX_INT32, "first tokens kept when the context shifts"),
    "stop": Parameter(list, None, meaning="texts that end the answer"),
    # Loading.
    "num_ctx": Parameter(int, None, 1, _MAX_INT32, "context in tokens"),
    "num_batch": Parameter(int, 512, 1, _MAX_INT32, "prompt tokens at a time"),
    "num_gpu": Parameter(int, -1, -1, _MAX_INT32, "layers on the GPU; -1 as many as fit"),
    "main_gpu": Parameter(int, None, 0, 1024, "number of the GPU used"),
    "use_mmap": Parameter(bool, None, meaning="map the file instead of reading it"),
    "num_thread": Parameter(int, 0, 0, 65536, "processor threads; 0 decides itself"),
    "draft_num_predict": Parameter(int, 4, 0, _MAX_INT32, "tokens drafted a step; 0 is off"),
}

# Options that Ollama once had. It passes over them with a warning, and so do we.
RETIRED: Final = frozenset(
    {
        "f16_kv",
        "logits_all",
        "low_vram",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "penalize_newline",
        "use_mlock",
        "vocab_only",
    }
)


def parse_value(name: str, text: str) -> ParameterValue:
    """The value of a `PARAMETER` line; a repeatable one as a tuple of one. Raises
    `InvalidParameter`."""
    parameter = known(name)
    value: object
    if parameter.kind is int:
        value = int(text) if _INT.fullmatch(text) else _refuse(name, text)
    elif parameter.kind is float:
        value = float(text) if _FLOAT.fullmatch(text) else _refuse(name, text)
    elif parameter.kind is bool:
        value = _BOOLS[text] if text in _BOOLS else _refuse(name, text)
    else:
        value = [text]
    return check_value(name, value)


def check_value(name: str, value: object) -> ParameterValue:
    """A value out of JSON, in the type of its option: 1 is a float where one is wanted, 4096.0 a
    whole number, and one stop text a list of one. Raises `InvalidParameter`."""
    parameter = known(name)
    if parameter.kind is list:
        return _check_texts(name, [value] if isinstance(value, str) else value)
    if parameter.kind is bool:
        return value if isinstance(value, bool) else _refuse(name, value)
    # bool is an int to isinstance. A whole number of any length is one; only doubles can overflow.
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(name, value)
    if not parameter.minimum <= value <= parameter.maximum or not math.isfinite(value):
        _refuse(name, value)
    if parameter.kind is int and value != int(value):
        _refuse(name, value)
    return int(value) if parameter.kind is int else float(value)


def check_parameters(values: Mapping[str, object]) -> dict[str, ParameterValue]:
    """Every value in its type. Raises `InvalidParameter` for an unknown name or a bad value."""
    return {name: check_value(name, value) for name, value in values.items()}


def known(name: str) -> Parameter:
    """The row of an option. An unknown one is an `InvalidParameter` that names near misses."""
    if name in PARAMETERS:
        return PARAMETERS[name]
    near = _close_matches(name[:80].lower(), PARAMETERS, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PARAMETERS)}"
    raise InvalidParameter(f"{name!r:.80} is not a parameter; {hint}")


def params_json(parameters: Parameters) -> bytes:
    """Canonical JSON of a `params` layer: sorted keys, no spaces, UTF-8. Raises
    `InvalidParameter`."""
    values = check_parameters(parameters)
    return json.dumps(
        values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def read_params(data: bytes) -> dict[str, ParameterValue]:
    """Read a `params` layer, Ollama's or ours. Names that nobody here knows are passed over
    (`unknown_params` lists them), because published models carry retired options.

    Raises `InvalidParameter`."""
    return {
        name: check_value(name, value)
        for name, value in _read_object(data).items()
        if name in PARAMETERS
    }


def unknown_params(data: bytes) -> list[str]:
    """Names in a `params` layer that `read_params` passes over. Raises `InvalidParameter`."""
    return [name for name in _read_object(data) if name not in PARAMETERS]


def _read_object(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_PARAMS_BYTES:
        raise InvalidParameter(f"params of {len(data)} bytes are over the cap, {MAX_PARAMS_BYTES}")
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"params are not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidParameter("params must be a JSON object")
    return value


def _check_texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        _refuse(name, value)
    if len(value) > MAX_STOPS:
        raise InvalidParameter(f"{name} has {len(value)} texts, over the cap of {MAX_STOPS}")
    # The same text twice stops no better than once.
    texts = tuple(dict.fromkeys(value))
    for text in texts:
        if not 0 < len(text) <= MAX_STOP_CHARS or any("\ud800" <= c <= "\udfff" for c in text):
            raise InvalidParameter(
                f"{name} {text!r:.80} must be a text of 1 to {MAX_STOP_CHARS} characters"
            )
    return texts


def _refuse(name: str, value: object) -> NoReturn:
    raise InvalidParameter(f"{name} must be {_wanted(PARAMETERS[name])}, not {value!r:.80}")


def _wanted(parameter: Parameter) -> str:
    if parameter.kind is bool:
        return "true or false"
    if parameter.kind is list:
        return "a text or a list of texts"
    kind = "a whole number" if parameter.kind is int else "a number"
    return f"{kind} from {parameter.minimum:.0f} to {parameter.maximum:.0f}"


def near_misses(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?` for an error, or nothing when no word is near."""
    near = _close_matches(word[:80], words, 2)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _close_matches(word: str, words: Iterable[str], most: int) -> list[str]:
    # Only mistakes need it, and it is long to load.
    from difflib import get_close_matches

    return get_close_matches(word, list(words), n=most)
