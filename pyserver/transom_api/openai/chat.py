"""A body of `/v1/chat/completions` into a `Chat`.

Every field is honoured, refused by its name, or passed over because it changes no answer: who asks
(`user`, `metadata`), where it is kept or billed (`store`, `service_tier`), hints (`prediction`,
`prompt_cache_key`, `detail`). Unknown fields are passed over, as OpenAI's own clients' helpers
expect of a compatible server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from transom_api.chat import MAX_TOP_LOGPROBS, Chat
from transom_api.fields import Fields
from transom_api.openai.constraint import read_constraint
from transom_api.openai.continuation import read_continuation
from transom_api.openai.messages import read_messages
from transom_api.openai.request import read_common
from transom_api.openai.tools import read_tools

MAX_DOCUMENTS: Final = 1_000
EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
REFUSED: Final[Mapping[str, str]] = {
    "audio": "answers are text; leave it out",
    "web_search_options": "nothing is searched for; give what was found as documents",
    "moderation": "nothing is judged; leave it out",
    "echo": "only /v1/completions can begin with the prompt; leave it out",
    "suffix": "only /v1/completions fills a gap; leave it out",
    "best_of": "only /v1/completions picks the best; n gives several answers",
    "grammar_json_functions": "tools and tool_choice constrain calls; leave it out",
}
# What a template is given by fields of their own.
TAKEN_VARIABLES: Final = ("messages", "tools", "documents", "add_generation_prompt")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`chat` is what is asked; the rest matters to the form of the answer."""

    chat: Chat
    model: str
    """As the request names it."""
    include_usage: bool
    legacy_functions: bool
    """It speaks of `functions`, and so must the answer."""


def read_chat(body: object, context: str | None = None) -> ChatRequest:
    """`context` is the value of the header `CONTEXT_HEADER`. Raises `InvalidField`."""
    fields = Fields(body)
    fields.refuse_if_set(REFUSED)
    for number, way in enumerate(fields.texts("modalities", most=2)):
        if way != "text":
            fields.refuse(f"modalities[{number}]", "answers are text")
    asked = read_common(fields, context)
    messages = read_messages(fields)
    tools, tool_choice, legacy = read_tools(fields)
    thinks, effort = _thinking(fields)
    logprobs, top = _logprobs(fields)
    goes_on, is_said = read_continuation(fields, messages)
    chat = Chat(
        messages=messages,
        tools=tools,
        tool_choice=tool_choice,
        constraint=read_constraint(fields),
        logprobs=logprobs,
        top_logprobs=top,
        thinks=thinks,
        effort=effort,
        template=fields.text("chat_template", None) or None,
        template_variables=_variables(fields),
        documents=tuple(_documents(fields)),
        continues_last=goes_on,
        must_continue=goes_on and is_said,
        **asked.fields,
    )
    return ChatRequest(chat, asked.model, asked.include_usage, legacy)


def _logprobs(fields: Fields) -> tuple[bool, int]:
    wanted = fields.flag("logprobs", False)
    top = fields.whole("top_logprobs", 0, least=0, most=MAX_TOP_LOGPROBS)
    if top and not wanted:
        fields.refuse("top_logprobs", "needs logprobs: true")
    return wanted, top


def _thinking(fields: Fields) -> tuple[bool | None, str | None]:
    """Whether to think, and how hard, in all the words that there are for it."""
    if fields.text("reasoning_format", "auto") == "none":
        fields.refuse("reasoning_format", "reasoning is told apart where the model marks it")
    reasoning = fields.object("reasoning") or Fields({}, "reasoning")
    reasoning.refuse_if_set({"max_tokens": "reasoning has no budget of its own; leave it out"})
    effort = fields.text("reasoning_effort", None, choices=EFFORTS)
    if effort is None:
        effort = reasoning.text("effort", None, choices=EFFORTS)
    thinks = reasoning.flag("enabled", None)
    if thinks is None:
        thinks = fields.flag("enable_thinking", None)
    if thinks is None:
        # Models with such a switch call it so.
        variables = fields.object("chat_template_kwargs")
        said = None if variables is None else variables.raw("enable_thinking")
        thinks = said if isinstance(said, bool) else None
    if effort is None:
        return thinks, None
    if thinks is not None and thinks is (effort == "none"):
        name = "reasoning_effort" if "reasoning_effort" in fields else "reasoning"
        fields.refuse(name, "another field says the opposite; send one of them")
    return (False, None) if effort == "none" else (True, effort)


def _variables(fields: Fields) -> Mapping[str, Any]:
    variables = fields.mapping("chat_template_kwargs") or {}
    for name in TAKEN_VARIABLES:
        if name in variables:
            fields.refuse(f"chat_template_kwargs.{name}", f"send it as {name}")
    return variables


def _documents(fields: Fields) -> list[Mapping[str, Any]]:
    """Objects as templates expect them, or texts."""
    found: list[Mapping[str, Any]] = []
    for number, row in enumerate(fields.items("documents", most=MAX_DOCUMENTS)):
        if isinstance(row, str):
            found.append({"text": row})
        elif isinstance(row, dict):
            found.append(row)
        else:
            fields.refuse(f"documents[{number}]", "must be an object or a string")
    return found
