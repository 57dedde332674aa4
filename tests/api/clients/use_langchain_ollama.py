"""LangChain's `langchain-ollama`: ChatOllama and OllamaEmbeddings."""

import findings
import langchain_turns
from findings import ADDRESS, QUESTION, SECONDS, Town
from langchain_ollama import ChatOllama, OllamaEmbeddings

here = {"base_url": ADDRESS, "client_kwargs": {"timeout": SECONDS}}
llm = ChatOllama(model="smollm2", validate_model_on_init=True, **here)
answer = llm.invoke(QUESTION)

findings.report(
    "langchain-ollama",
    whole=answer.content,
    pieces=langchain_turns.pieces_of(llm),
    prompt_tokens=answer.usage_metadata["input_tokens"],
    finish=answer.response_metadata["done_reason"],
    **langchain_turns.loop_of_tools(ChatOllama(model="caller", **here)),
    town=llm.with_structured_output(Town).invoke(findings.TOWN_QUESTION).model_dump(),
    vectors=langchain_turns.vectors_of(OllamaEmbeddings(model="minilm", **here)),
    seen=langchain_turns.seen_by(ChatOllama(model="seeing", num_predict=20, **here)),
    missing=findings.refused(lambda: ChatOllama(model="nobody", **here).invoke(QUESTION)),
    after_cancelling=langchain_turns.after_cancelling(
        ChatOllama(model="counting", **here),
        ChatOllama(model="counting", num_predict=1, **here),
    ),
)
