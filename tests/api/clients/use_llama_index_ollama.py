"""LlamaIndex's `llama-index-llms-ollama`, and its embeddings."""

import findings
import llama_index_turns
from findings import ADDRESS, SECONDS
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama


def model(name: str, **fields: object) -> Ollama:
    return Ollama(model=name, base_url=ADDRESS, request_timeout=SECONDS, temperature=0, **fields)


llm = model("smollm2", context_window=1024)
answer = llm.chat(llama_index_turns.conversation())

findings.report(
    "llama-index-llms-ollama",
    whole=answer.message.content,
    pieces=llama_index_turns.pieces_of(llm),
    prompt_tokens=answer.raw["prompt_eval_count"],
    finish=answer.raw["done_reason"],
    # It asks /api/show for the context that it then asks for.
    context=model("caller").metadata.context_window,
    **llama_index_turns.loop_of_tools(model("caller")),
    town=llama_index_turns.town_of(llm),
    vectors=llama_index_turns.vectors_of(OllamaEmbedding(model_name="minilm", base_url=ADDRESS)),
    seen=llama_index_turns.seen_by(model("seeing", additional_kwargs={"num_predict": 20})),
    missing=findings.refused(lambda: model("nobody").chat(llama_index_turns.conversation())),
    after_cancelling=llama_index_turns.after_cancelling(
        model("counting"), model("counting", additional_kwargs={"num_predict": 1})
    ),
)
