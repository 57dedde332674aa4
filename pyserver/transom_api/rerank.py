"""Rerank, as Jina, Cohere and llama-server have it: documents in the order in which they answer a
query. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transom_api.fields import Fields, kind_of
from transom_api.ollama.fields import keep_seconds_of, options_of
from transom_models.modelfile import ParameterValue

# A page of search results is a hundred; each costs a pass through the model.
MAX_DOCUMENTS: Final = 4096
# Cohere's clients have read `top_n` as 1 at least; 0 asks for all.
MAX_TOP: Final = 2**31 - 1
REFUSED: Final[Mapping[str, str]] = {
    "max_chunks_per_doc": "documents are not cut; send their parts",
    "max_tokens_per_doc": "documents are not cut; send their parts",
    "truncate_prompt_tokens": "documents are not cut; send their parts",
}


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """`most`: so many are told; None for all."""

    model: str
    query: str
    documents: tuple[str, ...]
    most: int | None
    says_documents: bool
    options: Mapping[str, ParameterValue]
    keep_seconds: float | None


def read_rerank(body: object) -> RerankRequest:
    """Raises `InvalidField`."""
    fields = Fields(body)
    fields.refuse_if_set(REFUSED)
    name = "texts" if "texts" in fields and "documents" not in fields else "documents"
    if name not in fields:
        fields.refuse("documents", "is missing")
    most = fields.whole("top_n", None, least=0, most=MAX_TOP)
    return RerankRequest(
        model=fields.required_text("model"),
        query=fields.required_text("query"),
        documents=tuple(
            _document(fields, f"{name}[{number}]", item)
            for number, item in enumerate(fields.items(name, most=MAX_DOCUMENTS))
        ),
        most=most or None,
        says_documents=fields.flag("return_documents", False),
        options=options_of(fields),
        keep_seconds=keep_seconds_of(fields),
    )


def rerank_body(asked: RerankRequest, scores: Sequence[float], tokens: int) -> dict[str, Any]:
    """The answer, the best first."""
    order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    rows: list[dict[str, Any]] = []
    for number in order[: asked.most]:
        row: dict[str, Any] = {"index": number, "relevance_score": scores[number]}
        if asked.says_documents:
            row["document"] = {"text": asked.documents[number]}
        rows.append(row)
    return {
        "model": asked.model,
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "results": rows,
    }


def _document(fields: Fields, name: str, item: object) -> str:
    """A text, or an object with one."""
    if isinstance(item, str):
        return item
    if isinstance(item, dict):
        return Fields(item, fields.path(name)).text("text", "")
    fields.refuse(name, f"must be a string or an object with text, not {kind_of(item)}")
