"""Which tensor gets which block type: the mixes that llama.cpp's users know by name.

Rules of ggml-org/llama.cpp, src/llama-quant.cpp (`llama_tensor_get_type_impl`,
`tensor_allows_quantization`, `tensor_type_fallback`), for models without experts. More bits go to
what hurts most: values and down projections of the first and last layers, the output matrix.
Pure: no files, no numbers.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gguf import LlamaFileType
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from transom_models.errors import TransomError


class UnknownScheme(TransomError):
    """No mix has this name."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """A mix: the block type that most matrices get, and the number GGUF files have for it."""

    name: str
    block_type: str
    file_type: LlamaFileType


SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("f32", "F32", LlamaFileType.ALL_F32),
        Scheme("f16", "F16", LlamaFileType.MOSTLY_F16),
        Scheme("bf16", "BF16", LlamaFileType.MOSTLY_BF16),
        Scheme("q8_0", "Q8_0", LlamaFileType.MOSTLY_Q8_0),
        Scheme("q6_k", "Q6_K", LlamaFileType.MOSTLY_Q6_K),
        Scheme("q5_k_m", "Q5_K", LlamaFileType.MOSTLY_Q5_K_M),
        Scheme("q5_k_s", "Q5_K", LlamaFileType.MOSTLY_Q5_K_S),
        Scheme("q5_1", "Q5_1", LlamaFileType.MOSTLY_Q5_1),
        Scheme("q5_0", "Q5_0", LlamaFileType.MOSTLY_Q5_0),
        Scheme("q4_k_m", "Q4_K", LlamaFileType.MOSTLY_Q4_K_M),
        Scheme("q4_k_s", "Q4_K", LlamaFileType.MOSTLY_Q4_K_S),
        Scheme("q4_1", "Q4_1", LlamaFileType.MOSTLY_Q4_1),
        Scheme("q4_0", "Q4_0", LlamaFileType.MOSTLY_Q4_0),
        Scheme("iq4_xs", "IQ4_XS", LlamaFileType.MOSTLY_IQ4_XS),
        Scheme("iq4_nl", "IQ4_NL", LlamaFileType.MOSTLY_IQ4_NL),
        # llama.cpp's own name for it is for mixtures of experts; of other models it makes Q8_0.
        Scheme("mxfp4", "MXFP4", LlamaFileType.MOSTLY_MXFP4_MOE),
        Scheme("q3_k_l", "Q3_K", LlamaFileType.MOSTLY_Q3_K_L),
        Scheme("q3_k_m", "Q3_K", LlamaFileType.MOSTLY_Q3_K_M),
        Scheme("q3_k_s", "Q3_K", LlamaFileType.MOSTLY_Q3_K_S),
        Scheme("q2_k", "Q2_K", LlamaFileType.MOSTLY_Q2_K),
    )
}
# A matrix whose rows are no whole blocks gets a type with blocks of 32, or F16.
_NARROWER: Mapping[str, str] = {
    "IQ4_XS": "IQ4_NL",
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
_FLOATS = ("F32", "F16", "BF16")
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
# Small, or read as float32 only.
_KEPT = re.compile(
    r".*_norm\.weight|.*ffn_gate_inp\.weight|position_embd\.weight|token_types\.weight"
    r"|.*attn_rel_b\.weight|.*(altup|laurel|per_layer_model_proj|ssm_conv1d).*"
)
_BLOCK = re.compile(r"blk\.(\d+)\.")
_VALUES = ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight")
# Llama 70B has eight queries to a value head: its values are small and get more bits.
_LAYERS_OF_70B = 80


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor of the file; `shape` in NumPy order."""

    name: str
    shape: tuple[int, ...]
    block_type: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the rules ask of the model."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    has_importance: bool

    @property
    def queries_per_value(self) -> int:
        return self.heads // self.kv_heads if self.kv_heads else 1


def find_scheme(name: str) -> Scheme:
    """By its name in any case. Raises `UnknownScheme` listing the names."""
    try:
        return SCHEMES[name.lower()]
    except KeyError:
        raise UnknownScheme(
            f"no quantization is called {name!r}; known are {', '.join(SCHEMES)}"
        ) from None


def may_quantize(matrix: Matrix) -> bool:
    """Matrices named as weights, but for norms and a few small ones."""
    named = matrix.name.endswith("weight") and not _KEPT.fullmatch(matrix.name)
    return len(matrix.shape) in {2, 3} and named


def plan_types(scheme: Scheme, matrices: Sequence[Matrix], facts: ModelFacts) -> dict[str, str]:
    """Tensor name -> block type, for every tensor; those that stay keep theirs."""
    types = {matrix.name: matrix.block_type for matrix in matrices}
    chooser = _Chooser(scheme, matrices, facts)
    for matrix in sorted(matrices, key=lambda item: (_layer(item.name), item.name)):
        if may_quantize(matrix):
            types[matrix.name] = fitting(chooser.choose(matrix), matrix.shape[-1])
    return types


def fitting(block_type: str, cols: int) -> str:
    """The type itself, or one for rows that are no whole number of its blocks."""
    if _fits(block_type, cols):
        return block_type
    narrower = _NARROWER.get(block_type, "F16")
    return narrower if _fits(narrower, cols) else "F16"


def _fits(block_type: str, cols: int) -> bool:
    return cols % GGML_QUANT_SIZES[GGMLQuantizationType[block_type]][0] == 0


def _layer(name: str) -> int:
    found = _BLOCK.match(name)
    return int(found[1]) if found else -1


class _Chooser:
    """The rules, tensor by tensor in llama.cpp's order: it counts values and down projections."""

    def __init__(self, scheme: Scheme, matrices: Sequence[Matrix], facts: ModelFacts) -> None:
        self._mix = scheme.name
        self._base = scheme.block_type
        self._facts = facts
        self._tied = all(matrix.name != _OUTPUT for matrix in matrices)
        self._values = sum(any(kind in item.name for kind in _VALUES) for item in matrices)
        self._value = 0
        self._down = 0

    def choose(self, matrix: Matrix) -> str:
        name = matrix.name
        if self._base in _FLOATS:
            return self._base
        if name == _OUTPUT or (self._tied and name == _EMBEDDING):
            return self._output(matrix.shape[-1])
        if name == _EMBEDDING:
            # llama.cpp's mxfp4 keeps all that is not an expert in Q8_0.
            return "Q8_0" if self._mix == "mxfp4" else self._base
        if any(kind in name for kind in _VALUES):
            return self._of_values()
        if "ffn_down" in name:
            return self._of_down()
        if "attn_output.weight" in name:
            mixes = {"q2_k": "Q3_K", "q3_k_m": "Q4_K", "q3_k_l": "Q5_K"}
            return mixes.get(self._mix, self._base)
        return self._base

    def _output(self, cols: int) -> str:
        if self._mix == "mxfp4" or not _fits(self._base, cols) or self._base == "Q8_0":
            return "Q8_0"
        return "Q6_K"

    def _of_values(self) -> str:
        index, self._value = self._value, self._value + 1
        grouped = self._facts.queries_per_value >= 4
        chosen = self._base
        match self._mix:
            case "q2_k":
                chosen = "Q4_K" if grouped else "Q3_K"
            case "q3_k_m":
                chosen = "Q5_K" if index < 2 else "Q4_K"
            case "q3_k_l":
                chosen = "Q5_K"
            case "iq4_nl" | "iq4_xs" if grouped:
                chosen = "Q5_K"
            case "q4_k_m" | "q5_k_m" if _more_bits(index, self._values):
                chosen = "Q6_K"
            case "q4_k_s" if index < 4:
                chosen = "Q5_K"
        facts = self._facts
        is_70b = facts.architecture == "llama" and facts.layers == _LAYERS_OF_70B
        if is_70b and facts.heads != facts.kv_heads and chosen in {"Q3_K", "Q4_K"}:
            return "Q5_K"
        return chosen

    def _of_down(self) -> str:
        index, self._down = self._down, self._down + 1
        layers = self._facts.layers
        early = index < layers // 8
        match self._mix:
            case "q2_k":
                return "Q3_K"
            case "q3_k_m":
                return "Q5_K" if index < layers // 16 else "Q4_K"
            case "q3_k_l":
                return "Q5_K"
            case "q4_k_m" | "q5_k_m" if _more_bits(index, layers):
                return "Q6_K"
            case "q4_k_s" if early:
                return "Q5_K"
            case "iq4_nl" | "iq4_xs" if early and not self._facts.has_importance:
                return "Q5_K"
            # With an importance matrix the first of these go wrong without a minimum.
            case "q4_0" if early and self._facts.has_importance:
                return "Q4_1"
            case "q5_0" if early and self._facts.has_importance:
                return "Q5_1"
        return self._base


def _more_bits(index: int, layers: int) -> bool:
    """The first and the last eighth, and every third between."""
    eighth = layers // 8
    return index < eighth or index >= 7 * layers // 8 or (index - eighth) % 3 == 2
