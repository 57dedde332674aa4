"""LangChain's `langchain-openai`: ChatOpenAI and OpenAIEmbeddings."""

import findings
import langchain_turns
from findings import ADDRESS, QUESTION, SECONDS, Town
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

here = {"base_url": f"{ADDRESS}/v1", "api_key": "none", "timeout": SECONDS, "max_retries": 0}
llm = ChatOpenAI(model="smollm2", **here)
answer = llm.invoke(QUESTION)

# The route for Responses is one word away.
responses = ChatOpenAI(model="smollm2", use_responses_api=True, **here)

# Its tokens are OpenAI's; ours are counted by the server.
embeddings = OpenAIEmbeddings(model="minilm", check_embedding_ctx_length=False, **here)

findings.report(
    "langchain-openai",
    whole=answer.content,
    pieces=langchain_turns.pieces_of(llm),
    response=responses.invoke(QUESTION).text,
    prompt_tokens=answer.usage_metadata["input_tokens"],
    finish=answer.response_metadata["finish_reason"],
    **langchain_turns.loop_of_tools(ChatOpenAI(model="caller", **here), tool_choice="weather"),
    town=llm.with_structured_output(Town).invoke(findings.TOWN_QUESTION).model_dump(),
    response_town=llm.with_structured_output(Town, method="function_calling")
    .invoke(findings.TOWN_QUESTION)
    .model_dump(),
    vectors=langchain_turns.vectors_of(embeddings),
    seen=langchain_turns.seen_by(ChatOpenAI(model="seeing", max_tokens=20, **here)),
    missing=findings.refused(lambda: ChatOpenAI(model="nobody", **here).invoke(QUESTION)),
    after_cancelling=langchain_turns.after_cancelling(
        ChatOpenAI(model="counting", **here), ChatOpenAI(model="counting", max_tokens=1, **here)
    ),
)
