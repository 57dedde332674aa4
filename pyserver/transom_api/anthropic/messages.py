"""A body of `/v1/messages` or `/v1/messages/count_tokens` to a `Chat`. Pure.

What Anthropic's own machines do for a request (containers, MCP, tools of theirs, files) is refused
by its name; unknown fields are passed over.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from transom_api.anthropic.content import read_system, read_turns
from transom_api.chat import MAX_STOPS, MAX_TOOLS, Chat, Constraint, Tool, ToolChoice, goes_on_with
from transom_api.fields import Fields, InvalidField, shown
from transom_api.ollama.fields import keep_seconds_of
from transom_api.openai.request import DEFAULTS, read_model
from transom_api.tool_fields import read_each, refuse_other_callers
from transom_models.modelfile import InvalidParameter, ParameterValue
from transom_models.modelfile.parameters import check_value

# More than any context holds.
MAX_TOKENS: Final = 2**31 - 1
# Anthropic's.
LEAST_BUDGET: Final = 1024
MAX_EXAMPLES: Final = 100
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
DISPLAYS: Final = ("summarized", "omitted")
TIERS: Final = ("auto", "standard_only")
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
REFUSED: Final[Mapping[str, str]] = {
    "container": "there are no containers here; leave it out",
    "mcp_servers": "the server calls no MCP servers; give their tools as custom ones",
    "diagnostics": "nothing is told about caches; leave it out",
}


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """A request, and what only its writer needs."""

    chat: Chat
    model: str
    """As it was asked for."""
    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    """The request's own, beside which the model may have others."""
    omits_thinking: bool = False
    """Say that the model thought, not what."""


def read_messages(body: object, context: str | None = None) -> MessagesRequest:
    """A body of `/v1/messages`; `context` is the header's value. Raises `InvalidField`."""
    fields = Fields(body)
    max_tokens = fields.whole("max_tokens", None, least=1, most=MAX_TOKENS)
    if max_tokens is None:
        fields.refuse("max_tokens", "is missing")
    return _read(fields, max_tokens, context)


def read_count_tokens(body: object, context: str | None = None) -> Chat:
    """A body of `/v1/messages/count_tokens`, whose prompt is to be counted. Raises
    `InvalidField`."""
    return _read(Fields(body), MAX_TOKENS, context).chat


def _read(fields: Fields, max_tokens: int, context: str | None) -> MessagesRequest:
    fields.refuse_if_set(REFUSED)
    _pass_over(fields)
    model, options = read_model(fields, context)
    stops = fields.texts("stop_sequences", most=MAX_STOPS)
    thinks, variables, omits = _thinking(fields, max_tokens)
    effort, constraint = _output(fields)
    tools = read_each(fields, _tool)
    messages = (*read_system(fields), *read_turns(fields))
    chat = Chat(
        model=model,
        messages=messages,
        stream=fields.flag("stream", False),
        tools=tools,
        tool_choice=_tool_choice(fields, tools),
        constraint=constraint,
        options={**options, "num_predict": max_tokens, **_stop(fields)},
        fallback_options=DEFAULTS,
        thinks=thinks,
        effort=effort,
        template_variables=variables,
        continues_last=goes_on_with(messages),
        must_continue=goes_on_with(messages),
        keep_seconds=keep_seconds_of(fields),
    )
    return MessagesRequest(chat, fields.raw("model"), max_tokens, stops, omits)


def _pass_over(fields: Fields) -> None:
    """Fields that change nothing here, as long as they are what they have to be."""
    metadata = fields.object("metadata")
    if metadata is not None:
        metadata.text("user_id", None)
    fields.object("cache_control")  # equal beginnings are always kept
    fields.text("service_tier", None, choices=TIERS)
    fields.text("inference_geo", None)
    fields.text("user_profile_id", None)
    if fields.text("speed", None, choices=("standard", "fast")) == "fast":
        fields.refuse("speed", "there is one speed here; leave it out")
    management = fields.object("context_management")
    if management is not None:
        for edit in management.objects("edits", most=MAX_TOOLS):
            kept = edit.raw("keep") == "all"
            if not (edit.required_text("type").startswith("clear_thinking_") and kept):
                edit.refuse("type", "a conversation is never changed; shorten it before it is sent")


def _stop(fields: Fields) -> dict[str, ParameterValue]:
    texts = fields.texts("stop_sequences", most=MAX_STOPS)
    try:
        return {"stop": check_value("stop", list(texts))} if texts else {}
    except InvalidParameter as error:
        raise InvalidField("stop_sequences", str(error).removeprefix("stop ")) from None


def _thinking(fields: Fields, max_tokens: int) -> tuple[bool | None, Mapping[str, Any], bool]:
    """Whether the model thinks, what its template is told, and whether the thoughts are hidden."""
    thinking = fields.object("thinking")
    if thinking is None:
        return None, {}, False
    kind = thinking.required_text("type")
    display = thinking.text("display", "summarized", choices=DISPLAYS)
    if kind == "disabled":
        return False, {}, False
    if kind == "adaptive":
        return None, {}, display == "omitted"
    if kind != "enabled":
        thinking.refuse("type", f"{shown(kind)} is not one of enabled, adaptive, disabled")
    budget = thinking.whole("budget_tokens", None, least=LEAST_BUDGET, most=MAX_TOKENS)
    if budget is None:
        thinking.refuse("budget_tokens", "is missing")
    if budget >= max_tokens:
        thinking.refuse("budget_tokens", f"must be less than max_tokens, {max_tokens}")
    # A target, not a limit; some templates tell their model.
    return True, {"thinking_budget": budget}, display == "omitted"


def _output(fields: Fields) -> tuple[str | None, Constraint | None]:
    """How hard the model thinks, and what its answer has to be."""
    config = fields.object("output_config")
    effort = None if config is None else config.text("effort", None, choices=EFFORTS)
    form = None if config is None else config.object("format")
    form = form or fields.object("output_format")  # its place before
    if form is None:
        return effort, None
    form.text("type", None, choices=("json_schema",))
    schema = form.mapping("schema")
    if schema is None:
        form.refuse("schema", "is missing")
    return effort, Constraint("json_schema", schema)


def _tool(row: Fields) -> Tool:
    kind = row.text("type", "custom")
    if kind != "custom":
        way_out = "give a custom tool with an input_schema instead"
        row.refuse("type", f"{kind:.60} is a tool of Anthropic's; {way_out}")
    name = row.required_text("name")
    if NAME.fullmatch(name) is None:
        row.refuse("name", "must be 1 to 128 letters, digits, _ and -")
    schema = row.mapping("input_schema")
    if schema is None:
        row.refuse("input_schema", "is missing")
    if schema.get("type", "object") != "object":
        row.refuse("input_schema.type", "must be object")
    refuse_other_callers(row)
    row.flag("eager_input_streaming", True)
    row.object("cache_control")
    description = row.text("description", "")
    for example in row.objects("input_examples", most=MAX_EXAMPLES):
        try:
            given = json.dumps({name: example.raw(name) for name in example.names()})
        except RecursionError:
            row.refuse("input_examples", "are nested too deeply")
        description += f"\nExample: {given}"
    return Tool(name, description.strip(), schema, row.flag("strict", False))


def _tool_choice(fields: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    choice = fields.object("tool_choice")
    if choice is None:
        return ToolChoice()
    kind = choice.required_text("type")
    parallel = not choice.flag("disable_parallel_tool_use", False)
    if kind == "none":
        return ToolChoice("none")
    if kind == "auto":
        return ToolChoice("auto", parallel=parallel)
    if kind not in ("any", "tool"):
        choice.refuse("type", f"{shown(kind)} is not one of auto, any, tool, none")
    if not tools:
        fields.refuse("tool_choice", "there are no tools to choose from")
    if kind == "any":
        return ToolChoice("required", parallel=parallel)
    name = choice.required_text("name")
    if all(tool.name != name for tool in tools):
        choice.refuse("name", f"{shown(name)} is none of the tools")
    # Who names a tool wants its input; a small model held to a list of calls finds no end of it.
    parallel = not choice.flag("disable_parallel_tool_use", True)
    return ToolChoice("required", name, parallel)
