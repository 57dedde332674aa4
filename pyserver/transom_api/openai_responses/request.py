"""A body of `/v1/responses` to a `Chat`, and what the response repeats of it. Pure.

What OpenAI's own machines do for a request (stored prompts and conversations, tools of theirs, work
in the background) is refused by its name; unknown fields are passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from transom_api.chat import MAX_TOP_LOGPROBS, Chat, Constraint, Message, Text, Tool
from transom_api.fields import Fields
from transom_api.ollama.fields import keep_seconds_of
from transom_api.openai.continuation import read_continuation
from transom_api.openai.request import DEFAULTS, read_model
from transom_api.openai_responses.items import read_input
from transom_api.openai_responses.kept import ResponseStore
from transom_api.openai_responses.tools import read_tool_choice, read_tools, tool_json
from transom_api.strict_schema import refuse_unheld
from transom_models.modelfile import ParameterValue

# More than any context holds.
MAX_TOKENS: Final = 2**31 - 1
# OpenAI's caps.
MAX_METADATA: Final = 16
MAX_METADATA_CHARS: Final = 512
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
VERBOSITIES: Final = ("low", "medium", "high")
FORMATS: Final = ("text", "json_object", "json_schema")
SUMMARIES: Final = ("auto", "concise", "detailed")
_LOGPROBS: Final = "message.output_text.logprobs"
INCLUDED: Final = (
    _LOGPROBS,
    # Thoughts come in plain words.
    "reasoning.encrypted_content",
    # Of tools that there are not.
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
)
REFUSED: Final[Mapping[str, str]] = {
    "background": "nothing goes on without its client; leave it out",
    "conversation": "no conversations are kept; use previous_response_id",
    "prompt": "no prompts are kept; send instructions and input",
    "moderation": "nothing is moderated; leave it out",
    "context_management": "a conversation is never cut; shorten it before it is sent",
}
REFUSED_STREAM_OPTIONS: Final[Mapping[str, str]] = {
    "include_obfuscation": "events are not padded; leave it out",
}
# They say who asks, and how it is billed.
PASSED_OVER: Final = (
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
)


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """A request, and what only its writer needs."""

    chat: Chat
    repeated: Mapping[str, Any] = field(hash=False)
    """Fields of the request that are fields of the response, too."""
    messages: tuple[Message, ...]
    """The conversation without instructions."""
    store: bool
    summarizes: bool
    """Thoughts are asked for as a summary, not as they are."""


def read_response_request(
    body: object, store: ResponseStore, context: str | None = None
) -> ResponseRequest:
    """`store` has what `previous_response_id` names; `context` is the header's value. Raises
    `InvalidField`."""
    fields = Fields(body)
    model, options = read_model(fields, context)
    fields.refuse_if_set(REFUSED)
    _pass_over(fields)
    instructions = fields.text("instructions", None)
    messages = read_input(fields, _before(fields, store))
    goes_on, is_said = read_continuation(fields, messages)
    given = read_tools(fields)
    choice, tools = read_tool_choice(fields, given)
    constraint, text, variables = _text(fields)
    reasoning, thinks, effort = _reasoning(fields)
    top_logprobs = fields.whole("top_logprobs", 0, least=0, most=MAX_TOP_LOGPROBS)
    logprobs = _LOGPROBS in _include(fields) or top_logprobs > 0
    opening = (Message("system", (Text(instructions),)),) if instructions else ()
    chat = Chat(
        model=model,
        messages=(*opening, *messages),
        stream=fields.flag("stream", False),
        tools=tools,
        tool_choice=choice,
        constraint=constraint,
        options=_options(fields, options),
        fallback_options=DEFAULTS,
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        thinks=thinks,
        effort=effort,
        template_variables=variables,
        continues_last=goes_on,
        must_continue=goes_on and is_said,
        keep_seconds=keep_seconds_of(fields),
    )
    keeps = fields.flag("store", True)
    repeated = {
        **_repeated(fields, chat, given),
        "instructions": instructions,
        "metadata": _metadata(fields),
        "parallel_tool_calls": choice.parallel,
        "reasoning": reasoning,
        "store": keeps,
        "text": text,
        "top_logprobs": top_logprobs,
    }
    return ResponseRequest(chat, repeated, messages, keeps, reasoning["summary"] is not None)


def _before(fields: Fields, store: ResponseStore) -> tuple[Message, ...]:
    name = fields.text("previous_response_id", None)
    if name is None:
        return ()
    kept = store.get(name)
    if kept is None:
        fields.refuse("previous_response_id", "no such response is kept; send the conversation")
    return kept.messages


def _pass_over(fields: Fields) -> None:
    """Fields that change nothing here, as long as they are what they have to be."""
    for name in PASSED_OVER:
        fields.text(name, None)
    # Those calls are OpenAI's machines' own.
    fields.whole("max_tool_calls", None, least=1, most=MAX_TOKENS)
    if fields.text("truncation", "disabled", choices=("auto", "disabled")) == "auto":
        fields.refuse("truncation", "a conversation is never cut; shorten it before it is sent")
    options = fields.object("stream_options")
    if options is not None:
        options.refuse_if_set(REFUSED_STREAM_OPTIONS)


def _options(fields: Fields, options: dict[str, ParameterValue]) -> dict[str, ParameterValue]:
    tokens = fields.whole("max_output_tokens", None, least=1, most=MAX_TOKENS)
    return options if tokens is None else {**options, "num_predict": tokens}


def _include(fields: Fields) -> tuple[str, ...]:
    found = fields.texts("include", most=len(INCLUDED))
    for number, name in enumerate(found):
        if name not in INCLUDED:
            fields.refuse(f"include[{number}]", f"{name:.60} is not known")
    return found


def _metadata(fields: Fields) -> dict[str, str]:
    metadata = fields.object("metadata")
    if metadata is None:
        return {}
    names = metadata.names()
    if len(names) > MAX_METADATA:
        fields.refuse("metadata", f"has {len(names)} names, over {MAX_METADATA}")
    found = {name: metadata.text(name, "") for name in names}
    for name, value in found.items():
        if len(name) + len(value) > MAX_METADATA_CHARS:
            fields.refuse("metadata", f"has a row of over {MAX_METADATA_CHARS} characters")
    return found


def _reasoning(fields: Fields) -> tuple[dict[str, Any], bool | None, str | None]:
    """As the response repeats it; whether the model thinks, and how hard."""
    reasoning = fields.object("reasoning")
    if reasoning is None:
        return {"effort": None, "summary": None}, None, None
    effort = reasoning.text("effort", None, choices=EFFORTS)
    summary = reasoning.text("summary", None, choices=SUMMARIES)
    summary = summary or reasoning.text("generate_summary", None, choices=SUMMARIES)
    if reasoning.text("mode", "standard") != "standard":
        reasoning.refuse("mode", "there is one mode here; leave it out")
    repeated = {"effort": effort, "summary": summary}
    if effort is None:
        return repeated, None, None
    return (repeated, False, None) if effort == "none" else (repeated, True, effort)


def _text(fields: Fields) -> tuple[Constraint | None, dict[str, Any], Mapping[str, Any]]:
    """What the answer has to be; as the response repeats it; what the template is told."""
    plain = {"type": "text"}
    text = fields.object("text")
    if text is None:
        return None, {"format": plain}, {}
    verbosity = text.text("verbosity", None, choices=VERBOSITIES)
    told = {} if verbosity is None else {"verbosity": verbosity}
    form = text.object("format")
    if form is None:
        return None, {"format": plain, **told}, told
    form.required_text("type")
    kind = form.text("type", "text", choices=FORMATS)
    if kind == "text":
        return None, {"format": plain, **told}, told
    if kind == "json_object":
        return Constraint("json_object"), {"format": {"type": kind}, **told}, told
    schema = form.mapping("schema")
    if schema is None:
        form.refuse("schema", "is missing")
    repeated = {
        "type": kind,
        "name": form.text("name", "answer"),
        "description": form.text("description", None),
        "schema": schema,
        "strict": form.flag("strict", False),
    }
    if repeated["strict"]:
        refuse_unheld(form, "schema", schema)
    return Constraint("json_schema", schema), {"format": repeated, **told}, told


def _repeated(fields: Fields, chat: Chat, tools: tuple[Tool, ...]) -> dict[str, Any]:
    named = chat.tool_choice.name
    asked = fields.raw("tool_choice")
    function = {"type": "function", "name": named}
    return {
        "background": False,
        "max_output_tokens": chat.options.get("num_predict"),
        "max_tool_calls": fields.raw("max_tool_calls"),
        "model": fields.raw("model"),
        "previous_response_id": fields.raw("previous_response_id"),
        "prompt_cache_key": fields.raw("prompt_cache_key"),
        "safety_identifier": fields.raw("safety_identifier"),
        "service_tier": "default",
        "temperature": chat.options.get("temperature"),
        "tool_choice": function if named else asked or "auto",
        "tools": [tool_json(tool) for tool in tools],
        "top_p": chat.options.get("top_p"),
        "truncation": "disabled",
        "user": fields.raw("user"),
    }
