"""Requests of OpenAI's dialect: chats, completions, embeddings. Caps are the readers'."""

from typing import Final

from transom_api import sound_files
from transom_api.chat import (
    MAX_CHOICES,
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    Role,
)
from transom_api.fields import MAX_TOKEN_ID
from transom_api.openai import chat, completions, constraint, embeddings, messages, request, tools
from transom_api.openapi.options import KEEP_ALIVE, LORA, MODEL, STOPS, option, options
from transom_api.openapi.schema import (
    Schema,
    choice,
    const,
    either,
    flag,
    json_object,
    record,
    ref,
    refused,
    rows,
    table,
    text,
    whole,
)
from transom_api.strict_schema import UNHELD
from transom_models.modelfile.parameters import PARAMETERS

TOOL_NAME: Final = text(pattern=tools.NAME.pattern)
_FUNCTION: Final = const("function")
STRICT: Final = flag(f"Refuses a schema that has one of {', '.join(UNHELD)}.")
TOOL_CHOICE: Final = either(
    choice(tools.MODES),
    record({"type": _FUNCTION, "function": record({"name": TOOL_NAME})}),
    record({"type": _FUNCTION, "name": TOOL_NAME}),
)
_DATA_URL: Final = text("The file in base64, as `data:image/png;base64,…`.", least=1)
_LENGTH: Final = either(
    const(-1),
    whole(least=1, most=int(PARAMETERS["num_predict"].maximum)),
    about="Tokens of the answer at most; -1 is no limit.",
)
_SEED: Final = whole(
    "The same seed gives the same answer; negative is another one each time.",
    least=-request.SEEDS,
    most=request.SEEDS - 1,
)


def schemas() -> dict[str, Schema]:
    return {
        "OpenAIOptions": options(),
        "OpenAIFunction": _function(),
        "OpenAITool": _tool(),
        "OpenAIMessage": _message(),
        "ChatCompletionRequest": record(
            {"model": MODEL, "messages": _messages()},
            {**common(), **_constraints(), **_chat()},
            "A body of `/v1/chat/completions`.",
        ),
        "CompletionRequest": record(
            {"model": MODEL, "prompt": _prompt()},
            {**common(), **_constraints(), **_completion()},
            "A body of `/v1/completions`.",
        ),
        "EmbeddingsRequest": record(
            {"model": MODEL, "input": _inputs()},
            {
                **loading(),
                "encoding_format": choice(embeddings.FORMATS),
                "dimensions": whole(
                    "So many numbers of each vector.", least=1, most=embeddings.MAX_DIMENSIONS
                ),
                **refused(embeddings.REFUSED),
            },
            "A body of `/v1/embeddings`.",
        ),
    }


def loading() -> dict[str, Schema]:
    """Fields of `read_model` and `keep_seconds_of`: options by Ollama's names, in every dialect."""
    found = {name: option(name) for name in PARAMETERS}
    found["seed"], found["stop"] = _SEED, STOPS
    for name, known in request.OTHER_WORDS.items():
        found[name] = _LENGTH if known == "num_predict" else option(known)
    return {"options": ref("OpenAIOptions"), **found, "keep_alive": KEEP_ALIVE}


def common() -> dict[str, Schema]:
    """What chats and completions share."""
    neutral = {name: values for name, (values, _) in request.REFUSED.items()}
    return {
        **refused({name: out for name, (_, out) in request.REFUSED.items()}, neutral),
        **loading(),
        "stream": flag("Answer piece by piece, as server-sent events."),
        "stream_options": record(
            {},
            {
                "include_usage": flag(),
                **refused({"continuous_usage_stats": "usage comes once, at the end"}),
            },
            "Only beside stream: true.",
        ),
        "n": whole("Answers.", least=1, most=MAX_CHOICES),
        "n_cmpl": whole("As n.", least=1, most=MAX_CHOICES),
        "logit_bias": table(
            {"type": ["number", "null"], "minimum": -request.MAX_BIAS, "maximum": request.MAX_BIAS},
            "Token id of the model's vocabulary -> what is added to its logit.",
            names="[0-9]{1,10}",
            most=request.MAX_BIASES,
        ),
        "stop_token_ids": rows(whole(least=0, most=MAX_TOKEN_ID), most=request.MAX_STOP_TOKENS),
        "ignore_eos": flag("Go on where the model would end."),
        "lora": LORA,
        "cache_prompt": flag("Begin with what is known of the prompt. Default true."),
    }


def _messages() -> Schema:
    return rows(ref("OpenAIMessage"), least=1, most=MAX_MESSAGES)


def _chat() -> dict[str, Schema]:
    efforts = choice(chat.EFFORTS, "none is not to think at all.")
    return {
        **refused(chat.REFUSED),
        "modalities": either(const("text"), rows(const("text"), most=2)),
        "tools": rows(ref("OpenAITool"), most=MAX_TOOLS),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": flag("Whether more than one may be called. Default true."),
        "functions": rows(
            ref("OpenAIFunction"), "As tools, from before there were any.", most=MAX_TOOLS
        ),
        "function_call": either(choice(("none", "auto")), record({"name": TOOL_NAME})),
        "logprobs": flag("Give each token's log-probability."),
        "top_logprobs": whole("And so many of the likeliest.", least=0, most=MAX_TOP_LOGPROBS),
        "reasoning_effort": efforts,
        "reasoning": record(
            {},
            {
                "effort": efforts,
                "enabled": flag(),
                **refused({"max_tokens": "reasoning has no budget of its own; leave it out"}),
            },
        ),
        "reasoning_format": text("Anything but none: reasoning is told apart."),
        "enable_thinking": flag("Whether to think first."),
        "chat_template": text("A Jinja template instead of the model's own."),
        "chat_template_kwargs": json_object("Variables of the template."),
        "documents": rows(either(text(), json_object()), most=chat.MAX_DOCUMENTS),
        "add_generation_prompt": flag("True: the answer is a message of its own."),
        "continue_final_message": flag("Whether to go on with the assistant's last message."),
    }


def _completion() -> dict[str, Schema]:
    return {
        **refused(completions.REFUSED),
        "suffix": text("What comes after the gap that is to be filled."),
        "best_of": whole("Answers made, of which the best n are given.", least=1, most=MAX_CHOICES),
        "echo": flag("Begin the answer with the prompt."),
        "logprobs": either(whole(least=0, most=MAX_TOP_LOGPROBS), flag()),
        "top_logprobs": whole("Beside logprobs: true.", least=0, most=MAX_TOP_LOGPROBS),
    }


def _prompt() -> Schema:
    one = text(least=1)
    return either(one, rows(one, least=1, most=completions.MAX_PROMPTS))


def _inputs() -> Schema:
    token = whole(least=0, most=MAX_TOKEN_ID)
    tokens = rows(token, least=1, most=embeddings.MAX_INPUT_TOKENS)
    texts = rows(either(text(least=1), tokens), least=1, most=embeddings.MAX_INPUTS)
    return either(text(least=1), tokens, texts, about="Texts, or their tokens.")


def _constraints() -> dict[str, Schema]:
    """At most one of these holds the answer to something."""
    schema = either(json_object(), text(), about="A JSON schema, or its text.")
    grammar = text("llama.cpp's GBNF.")
    regex = text("A regular expression.", least=1)
    choices = either(text(least=1), rows(text(least=1), least=1, most=constraint.MAX_CHOICES))
    named = record({"schema": schema}, {"name": text(), "description": text(), "strict": STRICT})
    return {
        "response_format": either(
            record({"type": const("text")}),
            record({"type": const("json_object")}, {"schema": schema}),
            record({"type": const("json_schema"), "json_schema": named}),
            record({"type": const("json_schema"), "schema": schema}),
            record({"type": const("grammar"), "grammar": text(least=1)}),
            *(record({"type": const("regex"), name: regex}) for name in constraint.REGEX_FIELDS),
        ),
        "grammar": grammar,
        "json_schema": schema,
        "guided_json": schema,
        "guided_regex": regex,
        "guided_choice": choices,
        "guided_grammar": text(least=1),
        "structured_outputs": record(
            {},
            {
                "json": schema,
                "regex": regex,
                "choice": choices,
                "grammar": grammar,
                "json_object": flag(),
                **refused({"structural_tag": constraint.NO_TAGS}),
            },
            "One of them.",
        ),
    }


def _function() -> Schema:
    return record(
        {"name": TOOL_NAME},
        {"description": text(), "parameters": json_object("A JSON schema."), "strict": STRICT},
    )


def _tool() -> Schema:
    return record({"function": ref("OpenAIFunction")}, {"type": const("function")})


def _message() -> Schema:
    call = record(
        {"name": text(least=1)},
        {"arguments": either(text(), json_object(), about="JSON, as text or as an object.")},
    )
    calls = rows(
        record({"id": text(least=1), "function": call}, {"type": const("function")}),
        most=MAX_TOOLS,
    )
    shared = {"name": text(), **refused({"audio": messages.NO_AUDIO})}
    answering = {"tool_call_id": text("The call that it answers.", least=1)}
    instructing = [role for role, known in messages.ROLES.items() if known == "system"]
    return either(
        record({"role": choice(instructing), "content": _content("system")}, shared),
        record({"role": const("user"), "content": _content("user")}, shared),
        record(
            {"role": const("assistant")},
            {
                **shared,
                "content": _content("assistant"),
                "tool_calls": calls,
                "function_call": call,
                "refusal": text(),
                "reasoning_content": text("What the assistant thought."),
                "reasoning": text("As reasoning_content."),
            },
        ),
        record({"role": const("tool"), "content": _content("tool"), **answering}, shared),
        record(
            {"role": const("function"), "name": text(least=1), "content": _content("tool")},
            refused({"audio": messages.NO_AUDIO}),
        ),
    )


def _content(role: Role) -> Schema:
    parts = _parts()
    allowed = either(*(parts[kind] for kind in messages.PARTS[role]))
    return either(text(), rows(allowed, most=MAX_PARTS))


def _parts() -> dict[str, Schema]:
    image = record(
        {"url": _DATA_URL}, {"detail": choice(messages.DETAILS)}, "PNG, JPEG, GIF or BMP."
    )
    sound = record({"format": choice(sound_files.FORMATS), "data": text("Base64.", least=1)})
    bodies = {
        "text": {"text": text()},
        "refusal": {"refusal": text(least=1)},
        "image_url": {"image_url": either(_DATA_URL, image)},
        "input_audio": {"input_audio": sound},
    }
    return {kind: record({"type": const(kind), **body}) for kind, body in bodies.items()}
