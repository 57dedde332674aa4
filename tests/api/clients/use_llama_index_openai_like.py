"""LlamaIndex's `llama-index-llms-openai-like`, and its embeddings."""

import findings
import llama_index_turns
from findings import ADDRESS, SECONDS
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

here = {"api_base": f"{ADDRESS}/v1", "api_key": "none", "timeout": SECONDS, "max_retries": 0}


def model(name: str, **fields: object) -> OpenAILike:
    return OpenAILike(
        model=name,
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
        context_window=1024,
        temperature=0,
        **here,
        **fields,
    )


llm = model("smollm2")
answer = llm.chat(llama_index_turns.conversation())

findings.report(
    "llama-index-llms-openai-like",
    whole=answer.message.content,
    pieces=llama_index_turns.pieces_of(llm),
    prompt_tokens=answer.additional_kwargs["prompt_tokens"],
    finish=answer.raw.choices[0].finish_reason,
    **llama_index_turns.loop_of_tools(model("caller")),
    town=llama_index_turns.town_of(llm),
    vectors=llama_index_turns.vectors_of(OpenAILikeEmbedding(model_name="minilm", **here)),
    seen=llama_index_turns.seen_by(model("seeing", max_tokens=20)),
    missing=findings.refused(lambda: model("nobody").chat(llama_index_turns.conversation())),
)
