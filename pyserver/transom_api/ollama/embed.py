"""Ollama's `/api/embed`, and `/api/embeddings` as older clients ask: texts in, vectors out. Pure.

A text that is too long for `/api/embed` loses its end, as in Ollama, unless the request says
`truncate: false`; which ones did, `truncated` of the answer says, where Ollama says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transom_api.fields import Fields
from transom_api.ollama.fields import keep_seconds_of, model_of, options_of
from transom_api.vectors import shortened
from transom_models.modelfile import ParameterValue

# A batch, not a corpus; OpenAI's cap.
MAX_INPUTS: Final = 2048
# No model's vectors are as long.
MAX_DIMENSIONS: Final = 2**20


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """`cuts`: what is too long may lose its end. `is_old`: one text by `prompt`."""

    model: str
    inputs: tuple[str, ...]
    options: Mapping[str, ParameterValue]
    keep_seconds: float | None
    cuts: bool = False
    dimensions: int | None = None
    is_old: bool = False

    @property
    def only_loads(self) -> bool:
        """Nothing is asked: the model is to be loaded."""
        return not self.inputs


def read_embed(body: object) -> EmbedRequest:
    """A body of `/api/embed`. Raises `InvalidField`."""
    fields = Fields(body)
    return EmbedRequest(
        model=model_of(fields),
        inputs=fields.texts("input", most=MAX_INPUTS),
        options=options_of(fields),
        keep_seconds=keep_seconds_of(fields),
        cuts=fields.flag("truncate", True),
        dimensions=fields.whole("dimensions", None, least=0, most=MAX_DIMENSIONS) or None,
    )


def read_embeddings(body: object) -> EmbedRequest:
    """A body of `/api/embeddings`. Raises `InvalidField`."""
    fields = Fields(body)
    prompt = fields.text("prompt", "")
    return EmbedRequest(
        model=model_of(fields),
        inputs=(prompt,) if prompt else (),
        options=options_of(fields),
        keep_seconds=keep_seconds_of(fields),
        is_old=True,
    )


def embed_body(
    asked: EmbedRequest,
    vectors: Sequence[Sequence[float]],
    tokens: int,
    total_nanoseconds: int,
    load_nanoseconds: int,
    truncated: Sequence[int] = (),
) -> dict[str, Any]:
    """The answer; `truncated` are the numbers of the inputs that lost their end. Raises
    `InvalidField` for more dimensions than there are."""
    rows = [shortened(vector, asked.dimensions) for vector in vectors]
    if asked.is_old:
        return {"embedding": rows[0] if rows else []}
    return {
        **({"truncated": list(truncated)} if truncated else {}),
        "model": asked.model,
        "embeddings": rows,
        "total_duration": total_nanoseconds,
        "load_duration": load_nanoseconds,
        "prompt_eval_count": tokens,
    }
