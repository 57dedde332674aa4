"""Reading a Hugging Face `config.json` into GGUF's keys, for the architecture files.

Takes what transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) write. A field
that the model's class in transformers knows and that would change the numbers is read or refused;
others are as meaningless here as there. Must not know one architecture's fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from transom_models.architecture import UnsupportedModel
from transom_models.architectures._decoder import (
    MAX_BLOCKS,
    MAX_HEAD_DIM,
    MIN_ROPE_BASE,
    ROPE_DIVISORS,
)
from transom_models.metadata_reader import show
from transom_models.rope import llama3_divisors, yarn_magnitude

# GGUF keeps sizes in 32 bits, and `read_config` has the real caps but for what decides how
# long lists are.
MAX_INTEGER = 2**31 - 1
# Bases of rope are the largest numbers published, at most 1e11.
MAX_REAL = 1e12
LAYER_KINDS = ("full_attention", "sliding_attention")


class HubConfig:
    """Typed access to one `config.json`.

    `defaults`: what the model's class in transformers takes for fields that are not there. Null is
    the same as missing but where a field is said to be `not_null`.
    """

    def __init__(
        self, hub: Mapping[str, Any], name: str, defaults: Mapping[str, Any] | None = None
    ) -> None:
        # Models that also see keep their language model's sizes apart.
        self._hub = {**(defaults or {}), **hub, **_mapping(hub, "text_config")}
        self.name = name
        self.architecture: str = hub["architectures"][0]
        if self._hub.get("quantization_config") is not None:
            raise UnsupportedModel(
                "config.json has a quantization_config: convert the unquantized checkpoint instead"
            )

    def has(self, key: str) -> bool:
        return self._hub.get(key) is not None

    def integer(
        self, key: str, default: int | None = None, *, least: int = 1, cap: int = MAX_INTEGER
    ) -> int:
        """An integer from `least` to `cap`."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise UnsupportedModel(f"config.json: {key} is {show(value)}, not an integer")
        if not least <= value <= cap:
            raise UnsupportedModel(f"config.json: {key} is not from {least} to {cap}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A finite number over 0, as all that decoders have are."""
        return _real(self._get(key, default), key)

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise UnsupportedModel(f"config.json: {key} is {show(value)}, not true or false")
        return value

    def only(self, key: str, allowed: object, missing: object = None) -> None:
        """Refuse any value but one; `missing` is what transformers takes if there is none."""
        found = self._hub.get(key)
        found = missing if found is None else found
        if found != allowed:
            raise UnsupportedModel(
                f"config.json: {key} is {show(found)}; "
                f"Transom's {self.name} knows only {show(allowed)}"
            )

    def not_null(self, *keys: str) -> None:
        """Refuse fields that are there and null: transformers would switch the thing off."""
        for key in keys:
            if self._hub.get(key, 0) is None:
                raise UnsupportedModel(f"config.json: {key} null is not supported for {self.name}")

    def layer_kinds(self, count: int, default: Sequence[bool]) -> tuple[bool, ...]:
        """Which layers see a window only, from `layer_types`."""
        kinds = self._hub.get("layer_types")
        if kinds is None:
            return tuple(default)
        if not isinstance(kinds, list) or len(kinds) != count:
            raise UnsupportedModel(f"config.json: layer_types is not a list of {count}")
        for kind in kinds:
            if kind not in LAYER_KINDS:
                raise UnsupportedModel(
                    f"config.json: layer_types has {show(kind)}: not supported yet"
                )
        return tuple(kind == "sliding_attention" for kind in kinds)

    def unwindowed_context(self, windowed: bool) -> int:
        """Tokens of context; where layers have a window that GGUF cannot say, no more than it."""
        context = self.integer("max_position_embeddings")
        return min(context, self.integer("sliding_window", context)) if windowed else context

    def head_dim(self, default: int | None = None) -> int:
        even = self.integer("hidden_size") // self.integer("num_attention_heads")
        return self.integer("head_dim", default or even, cap=MAX_HEAD_DIM)

    def rope(
        self,
        layers: str = "full_attention",
        *,
        theta_key: str = "rope_theta",
        theta: float = 10_000.0,
    ) -> "HubRope":
        """How layers of that kind turn. `theta_key` is its name in transformers 4, `theta` its
        value where config.json says none."""
        found = _mapping(self._hub, "rope_parameters") or _mapping(self._hub, "rope_scaling")
        if any(kind in found for kind in LAYER_KINDS):
            found = _mapping(found, layers)
        elif layers != "full_attention":
            # One scaling for a model whose layers differ is that of the layers that see all.
            found = {}
        base = found.get("rope_theta")
        return HubRope(
            {**found, "rope_theta": self.real(theta_key, theta) if base is None else base},
            # Phi-3 keeps it outside, which takes precedence; some say none and mean the maximum.
            self.integer(
                "original_max_position_embeddings",
                found.get("original_max_position_embeddings")
                or self.integer("max_position_embeddings"),
                least=2,
            ),
            self.integer("max_position_embeddings"),
            found.get("partial_rotary_factor") or self.real("partial_rotary_factor", 1.0),
        )

    def _get(self, key: str, default: object) -> Any:
        value = self._hub.get(key)
        if value is not None:
            return value
        if default is None:
            raise UnsupportedModel(f"config.json has no {key}")
        return default


class HubRope:
    """One rope of a `config.json`; the names of its kinds are those of transformers."""

    def __init__(
        self, parameters: Mapping[str, Any], original_context: int, context: int, part: float
    ) -> None:
        self._parameters = parameters
        self.original_context = original_context
        self.context = context
        self.part = _real(part, "partial_rotary_factor")
        self.theta = _real(parameters["rope_theta"], "rope_theta")
        if self.part > 1.0:
            raise UnsupportedModel("config.json: partial_rotary_factor is over 1")
        if self.theta < MIN_ROPE_BASE:
            raise UnsupportedModel(f"config.json: rope_theta is {self.theta}: nothing would turn")
        kind = parameters.get("rope_type") or parameters.get("type") or "default"
        if not isinstance(kind, str):
            raise UnsupportedModel(f"config.json: type of rope is {show(kind)}, not a word")
        self.kind = "longrope" if kind == "su" else kind
        if "mrope_section" in parameters:
            raise UnsupportedModel("config.json: rope with sections (mrope) is not supported yet")

    def dims(self, head_dim: int) -> int:
        return int(head_dim * self.part)

    def numbers(self, key: str) -> tuple[float, ...]:
        values = self._parameters.get(key)
        if not isinstance(values, list):
            raise UnsupportedModel(f"config.json: rope's {key} is not a list of numbers")
        return tuple(_real(value, key) for value in values)

    def real(self, key: str, default: float | None = None) -> float:
        value = self._parameters.get(key)
        value = default if value is None else value
        if value is None:
            raise UnsupportedModel(f"config.json: rope of type {show(self.kind)} has no {key}")
        return _real(value, key)

    def attention_factor(self, usual: float) -> float:
        """What the checkpoint says, or what its kind of scaling usually takes."""
        return self.real("attention_factor", usual)

    def metadata(self, name: str, *, scaled: Sequence[str]) -> dict[str, Any]:
        """`<name>.rope.*` keys; refuses a kind of scaling not in `scaled`.

        Not for "longrope", whose factors are tensors, nor for llama3's (`divisors`).
        """
        found: dict[str, Any] = {f"{name}.rope.freq_base": self.theta}
        if self.kind == "default":
            return found
        if self.kind not in scaled:
            raise UnsupportedModel(
                f"config.json: rope of type {show(self.kind)} is not supported yet for {name}"
            )
        scaling = f"{name}.rope.scaling"
        if self.kind in ("linear", "yarn"):
            factor = self.real("factor")
            found |= {f"{scaling}.type": self.kind, f"{scaling}.factor": factor}
        if self.kind == "yarn":
            found |= self._yarn(scaling, factor)
        return found

    def divisors(self, head_dim: int) -> dict[str, tuple[float, ...]]:
        """The tensor that llama3's scaling becomes, if this is its kind."""
        if self.kind != "llama3":
            return {}
        low, high = self.real("low_freq_factor"), self.real("high_freq_factor")
        if low >= high:
            raise UnsupportedModel("config.json: rope's low_freq_factor is not under its high one")
        divisors = llama3_divisors(
            self.theta,
            self.dims(head_dim),
            factor=self.real("factor"),
            low_freq_factor=low,
            high_freq_factor=high,
            original_context=self.original_context,
        )
        return {ROPE_DIVISORS: divisors}

    def _yarn(self, scaling: str, factor: float) -> dict[str, Any]:
        if self._parameters.get("truncate") is False:
            raise UnsupportedModel("config.json: YaRN without truncate is not supported yet")
        usual = yarn_magnitude(factor)
        asked = usual
        if self._parameters.get("mscale") and self._parameters.get("mscale_all_dim"):
            asked = _mscale(factor, self.real("mscale"))
            asked /= _mscale(factor, self.real("mscale_all_dim"))
        found: dict[str, Any] = {
            f"{scaling}.original_context_length": self.original_context,
            f"{scaling}.yarn_beta_fast": self.real("beta_fast", 32.0),
            f"{scaling}.yarn_beta_slow": self.real("beta_slow", 1.0),
        }
        # llama.cpp multiplies YaRN's usual factor by this one; transformers takes it instead.
        relative = self.attention_factor(asked) / usual
        if abs(relative - 1.0) > 1e-6:
            found[f"{scaling}.attn_factor"] = relative
        return found


def decoder_metadata(hub: HubConfig, *, kv_heads: int | None = None) -> dict[str, Any]:
    """The sizes that every decoder has, under `<name>.*`.

    `kv_heads`: what its class in transformers takes where config.json says none; None: as many as
    query heads.
    """
    heads = hub.integer("num_attention_heads")
    found = {
        "block_count": hub.integer("num_hidden_layers", cap=MAX_BLOCKS),
        "context_length": hub.integer("max_position_embeddings"),
        "embedding_length": hub.integer("hidden_size"),
        "feed_forward_length": hub.integer("intermediate_size"),
        "attention.head_count": heads,
        "attention.head_count_kv": hub.integer("num_key_value_heads", kv_heads or heads),
        "attention.layer_norm_rms_epsilon": hub.real("rms_norm_eps"),
    }
    return {f"{hub.name}.{key}": value for key, value in found.items()}


def _mscale(factor: float, multiplier: float) -> float:
    return 1.0 + multiplier * (yarn_magnitude(factor) - 1.0)


def _real(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedModel(f"config.json: {key} is {show(value)}, not a number")
    if not 0.0 < value <= MAX_REAL:
        raise UnsupportedModel(f"config.json: {key} is not over 0 and at most {MAX_REAL:g}")
    return float(value)


def _mapping(hub: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = hub.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnsupportedModel(f"config.json: {key} is not an object")
    return value
