"""Rerank and tokens: requests and answers."""

from transom_api import rerank, tokens
from transom_api.fields import MAX_TOKEN_ID
from transom_api.openapi.options import KEEP_ALIVE, MODEL
from transom_api.openapi.schema import (
    Schema,
    answer,
    const,
    either,
    flag,
    number,
    record,
    ref,
    refused,
    rows,
    text,
    whole,
)


def schemas() -> dict[str, Schema]:
    count = whole(least=0)
    documents = rows(either(text(), record({}, {"text": text()})), most=rerank.MAX_DOCUMENTS)
    return {
        "RerankRequest": record(
            {"model": MODEL, "query": text(least=1)},
            {
                "documents": documents,
                "texts": documents,
                "top_n": whole("So many of the best.", least=0, most=rerank.MAX_TOP),
                "return_documents": flag(),
                "options": ref("OllamaOptions"),
                "keep_alive": KEEP_ALIVE,
                **refused(rerank.REFUSED),
            },
            "`documents`, or `texts`.",
        ),
        "Reranked": answer(
            {
                "model": text(),
                "object": const("list"),
                "usage": answer({"prompt_tokens": count, "total_tokens": count}),
                "results": rows(
                    answer(
                        {"index": count, "relevance_score": number()},
                        {"document": answer({"text": text()})},
                    )
                ),
            }
        ),
        "TokenizeRequest": record(
            {"model": MODEL},
            {
                "content": text(),
                "prompt": text("As content, in vLLM's word."),
                "add_special": flag("With the tokens that stand around any text."),
                "add_special_tokens": flag("As add_special, in vLLM's word."),
                "parse_special": flag("Names of special tokens are read as such. Default true."),
                **refused(tokens.REFUSED),
            },
            "`content`, or `prompt`.",
        ),
        "Tokenized": answer({"tokens": rows(count), "count": count, "max_model_len": count}),
        "DetokenizeRequest": record(
            {
                "model": MODEL,
                "tokens": rows(whole(least=0, most=MAX_TOKEN_ID), most=tokens.MAX_TOKENS),
            }
        ),
        "Detokenized": answer({"content": text(), "prompt": text()}),
    }
