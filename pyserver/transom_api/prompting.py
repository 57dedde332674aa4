"""From a `Chat` to what an engine is given, and to who reads its answer.

The model's own defaults come first, then what the request says; the chat template makes the prompt.
Knows no dialect, no store and no engine. Pure: templates are rendered, and ids of calls made, by
functions given in.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from transom_api import options
from transom_api.adapters import check_lora
from transom_api.chat import Audio, Chat, Image, Message, Text, Tool
from transom_api.closed_schema import closed
from transom_api.constraints import grammar_of, schema_of
from transom_api.continuing import Begun, begin, go_on
from transom_api.conversation import (
    Row,
    rows_of,
    tools_of,
    with_defaults,
    with_instructions,
    without_system,
)
from transom_api.deltas import Content, Delta
from transom_api.engine import GenerateRequest, ModelFacts
from transom_api.fields import InvalidField
from transom_api.reasoning import MARKERS, ThinkingReader
from transom_api.schema_limits import check_schema
from transom_api.session import AnswerReader
from transom_api.sound_files import MAX_SECONDS
from transom_api.tools import (
    GENERIC,
    GPT_OSS,
    MISTRAL,
    MISTRAL_NAMED,
    Forced,
    Form,
    NewId,
    Offer,
    calls_schema,
    form_of,
    instructions,
    written_out,
)
from transom_models.errors import TransomError
from transom_models.modelfile import Parameters, check_parameters, jinja_template

Render = Callable[..., str]
"""`render(template, messages, *, bos, eos, reply_header, tools, variables)` gives the prompt."""

# Where gpt-oss says what it was asked for, and how it begins another message.
_FINAL_CHANNEL: Final = "<|channel|>final<|message|>"
_NEXT_MESSAGE: Final = "<|end|><|start|>assistant"
# Any word that begins no call: a reader that has read it is inside of an answer.
_WORD: Final = "a"
_SUFFIX: Final = re.compile(r"\bsuffix\b")


class NoTemplate(TransomError):
    """The model has no chat template, so nobody knows how it wants to be spoken to."""


@dataclass(frozen=True, slots=True)
class ModelDefaults:
    """What a model brings along. `messages` are role and content; `template` is in Jinja."""

    system: str | None = None
    messages: Sequence[tuple[str, str]] = ()
    parameters: Parameters = field(default_factory=dict, hash=False)
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`request` is for the engine; `reader` makes the reader of an answer by its number."""

    request: GenerateRequest
    reader: Callable[[int], AnswerReader]


@dataclass(frozen=True, slots=True)
class _Plain:
    """Everything is content."""

    choice: int

    def feed(self, text: str) -> list[Delta]:
        return [Content(self.choice, text)]

    def finish(self) -> list[Delta]:
        return []


@dataclass(frozen=True, slots=True)
class _Calling:
    """How this request goes about tools: `form` to tell and to read, `told` what the template is
    given, `forced` where a call is a must; `schema` and `grammar` hold the answer."""

    form: Form
    native: Form
    tools: tuple[Tool, ...] = ()
    told: tuple[Tool, ...] = ()
    forced: Forced | None = None
    schema: dict[str, Any] | None = None
    grammar: str | None = None

    @property
    def is_held(self) -> bool:
        return self.schema is not None or self.grammar is not None


def plan(
    chat: Chat,
    defaults: ModelDefaults,
    facts: ModelFacts,
    render: Render,
    new_id: NewId | None = None,
) -> Plan:
    """What to generate for a request, and how to read it.

    `new_id` gives each call its id; without one they are counted, and differ in one conversation.
    An answer that is held to something is not thought about first: the thinking would be held too.
    Raises `InvalidField`, `InvalidParameter`, `NoTemplate`, and what `render` raises.
    """
    template = defaults.template if chat.template is None else jinja_template(chat.template)
    if chat.raw_prompt is not None and chat.suffix is None:
        calling = _Calling(
            GENERIC,
            GENERIC,
            schema=schema_of(chat.constraint),
            grammar=grammar_of(chat.constraint),
        )
        return Plan(_request(chat, defaults, facts, chat.raw_prompt, calling), _Plain)
    if template is None:
        raise NoTemplate(
            f"{chat.model} has no chat template; give it one (TEMPLATE in a Modelfile, "
            "`transom create`), or ask /api/generate or /v1/completions with a prompt alone"
        )
    if chat.suffix is not None and _SUFFIX.search(template) is None:
        raise InvalidField("suffix", f"the template of {chat.model} fills no gaps; leave it out")
    calling = _calling(chat, form_of(template))
    begun = _begun(chat, defaults, facts, render, template, calling)
    prompt = begun.prompt
    if calling.is_held:
        prompt = _ready_to_hold(begun, calling)
    if calling.forced is not None:
        prompt += calling.forced.prefill
    # Templates that write it themselves would have it twice.
    if facts.adds_bos and facts.bos:
        prompt = prompt.removeprefix(facts.bos)
    request = _request(chat, defaults, facts, prompt, calling)
    return Plan(request, _readers(chat, calling, begun, new_id or _counted(chat)))


def _request(
    chat: Chat, defaults: ModelDefaults, facts: ModelFacts, prompt: str, calling: _Calling
) -> GenerateRequest:
    parameters = {
        **chat.fallback_options,
        **defaults.parameters,
        **check_parameters(chat.options),
    }
    _check_tokens(chat, facts)
    if calling.schema is not None:
        check_schema(calling.schema)
    return GenerateRequest(
        prompt=prompt,
        sampling=options.sampling_of(parameters),
        max_tokens=options.max_tokens_of(parameters),
        stop=options.stops_of(parameters),
        json_schema=None if calling.schema is None else closed(calling.schema),
        grammar=calling.grammar,
        images=check_files(chat, facts),
        stop_token_ids=chat.stop_token_ids,
        ignore_eos=chat.ignore_eos,
        logit_bias=tuple(chat.logit_bias.items()),
        choices=chat.choices,
        logprobs=chat.top_logprobs if chat.logprobs else None,
        cache_prompt=chat.cache_prompt,
        lora=check_lora(chat, facts),
        preserved=() if chat.raw_prompt is not None else _preserved(calling),
    )


def _check_tokens(chat: Chat, facts: ModelFacts) -> None:
    """Only now is it known which tokens there are. Raises `InvalidField`."""
    if facts.vocabulary is None:
        return
    there_are = f"there is no such token; {chat.model} has {facts.vocabulary}"
    for token in chat.logit_bias:
        if token >= facts.vocabulary:
            raise InvalidField(f"logit_bias.{token}", there_are)
    for number, token in enumerate(chat.stop_token_ids):
        if token >= facts.vocabulary:
            raise InvalidField(f"stop_token_ids[{number}]", f"{token}: {there_are}")


def _calling(chat: Chat, native: Form) -> _Calling:
    """Which form of calls, and what the answer is held to. Raises `InvalidField`."""
    choice, constraint = chat.tool_choice, chat.constraint
    tools = () if choice.mode == "none" else chat.tools
    if choice.name is not None and choice.name not in {tool.name for tool in tools}:
        raise InvalidField("tool_choice", f"{choice.name!r:.80} is not one of the tools")
    if choice.mode == "required" and not tools:
        raise InvalidField("tool_choice", "a call is required, but there are no tools")
    schema, grammar = schema_of(constraint), grammar_of(constraint)
    if not tools:
        return _Calling(native, native, schema=schema, grammar=grammar)
    if choice.name is not None or choice.mode == "required":
        if constraint is not None:
            raise InvalidField("tool_choice", "a call cannot be held to a format of answers too")
        wanted = tuple(tool for tool in tools if choice.name in (None, tool.name))
        forced = native.forces(wanted, choice.parallel)
        form = native if forced is not None else GENERIC
        forced = forced or GENERIC.forces(wanted, choice.parallel)
        assert forced is not None
        told = () if form is GENERIC else tools
        return _Calling(form, native, wanted, told, forced, forced.schema)
    if grammar is not None:
        raise InvalidField("tools", "an answer held to a grammar has no room for calls")
    if schema is not None:
        # Calls are one of the forms that the answer may have.
        whole = calls_schema(tools, choice.parallel, schema)
        return _Calling(GENERIC, native, tools, schema=whole)
    return _Calling(native, native, tools, () if native is GENERIC else tools)


def _ready_to_hold(begun: Begun, calling: _Calling) -> str:
    """The prompt, at a place where what comes next may be held: thinking is over by then."""
    is_called = calling.forced is not None and calling.forced.prefill != ""
    if calling.native is GPT_OSS:
        if begun.channel is not None and (is_called or not begun.speaks):
            return begun.prompt + _NEXT_MESSAGE + ("" if is_called else _FINAL_CHANNEL)
        return begun.prompt + ("" if is_called or begun.speaks else _FINAL_CHANNEL)
    if begun.closer is not None:
        return f"{begun.prompt.rstrip()}\n\n{begun.closer}\n\n"
    return begun.prompt


def _readers(
    chat: Chat, calling: _Calling, begun: Begun, new_id: NewId
) -> Callable[[int], AnswerReader]:
    names = frozenset(tool.name for tool in calling.tools)
    kinds = {
        (tool.name, name): schema.get("type")
        for tool in calling.tools
        for name, schema in _properties(tool).items()
        if isinstance(schema, dict)
    }
    offer = Offer(names, new_id, chat.tool_choice.parallel, kinds)

    def reader(choice: int) -> AnswerReader:
        if calling.forced is not None:
            found = calling.form.reader(choice, offer)
            # What was written for the model; the call goes on from there.
            found.feed(calling.forced.prefill)
            return found
        if calling.native is GPT_OSS and not calling.is_held:
            found = GPT_OSS.reader(choice, offer)
            found.feed(begun.channel or "")
            return found
        answer: AnswerReader = (
            calling.form.reader(choice, offer) if calling.tools else _Plain(choice)
        )
        if begun.speaks:
            answer.feed(_WORD)
        if calling.is_held or begun.speaks:
            return answer
        return ThinkingReader(choice, answer, begun.closer)

    return reader


def _properties(tool: Tool) -> Mapping[str, Any]:
    """Of its parameters; a schema may say anything."""
    found = tool.parameters.get("properties")
    return found if isinstance(found, dict) else {}


def _preserved(calling: _Calling) -> tuple[str, ...]:
    """Marks that the reader looks for, where they are tokens of their own."""
    marks = [*MARKERS, *MARKERS.values()]
    if calling.tools or calling.native is GPT_OSS:
        marks += calling.form.marks
    return tuple(dict.fromkeys(marks))


def _counted(chat: Chat) -> NewId:
    taken = {call.id for message in chat.messages for call in message.tool_calls}
    names = (f"call_{number}" for number in count(len(taken)))
    return lambda: next(name for name in names if name not in taken)


def check_files(chat: Chat, facts: ModelFacts) -> tuple[bytes, ...]:
    """The pictures and sounds of a conversation, in their order. Raises `InvalidField` for what the
    model cannot take."""
    parts = [part for message in chat.messages for part in message.parts]
    seen = [part for part in parts if isinstance(part, Image)]
    heard = [part for part in parts if isinstance(part, Audio)]
    if heard and facts.sound_marker is None:
        raise InvalidField("messages", f"{chat.model} hears no sound; leave it out")
    if seen and facts.image_marker is None:
        raise InvalidField("messages", f"{chat.model} sees no images; leave them out")
    seconds = sum(part.seconds for part in heard)
    if seconds > MAX_SECONDS:
        raise InvalidField(
            "messages", f"all sounds last {seconds:.0f} seconds together, over {MAX_SECONDS}"
        )
    for files, marker in ((seen, facts.image_marker), (heard, facts.sound_marker)):
        if files and any(str(marker) in message.text for message in chat.messages):
            raise InvalidField("messages", f"{marker} in a text would stand for a file")
    return tuple(part.data for part in parts if isinstance(part, Image | Audio))


def _begun(
    chat: Chat,
    defaults: ModelDefaults,
    facts: ModelFacts,
    render: Render,
    template: str,
    calling: _Calling,
) -> Begun:
    """The template's words for the conversation, in whichever form the template takes it."""
    own = chat.messages
    if chat.raw_prompt is not None:
        own = (Message("user", (Text(chat.raw_prompt),)),)
    messages = with_defaults(own, defaults.system, defaults.messages)
    is_generic = calling.form is GENERIC
    if is_generic and calling.native is GENERIC:
        messages = written_out(messages)
    if calling.native is GPT_OSS:
        # Its template takes words or thoughts beside a call, not both.
        messages = [
            replace(message, reasoning=None) if message.tool_calls and message.text else message
            for message in messages
        ]
    if is_generic and calling.tools:
        messages = with_instructions(messages, instructions(calling.tools))

    def tell(messages: Sequence[Message], arguments_as_text: bool) -> Begun:
        rows = rows_of(
            messages,
            facts.image_marker,
            facts.sound_marker,
            short_ids=calling.native in (MISTRAL, MISTRAL_NAMED),
            arguments_as_text=arguments_as_text,
        )
        asked = {
            "bos": facts.bos,
            "eos": facts.eos,
            "tools": tools_of(calling.told) or None,
            "variables": _variables(chat, calling),
        }

        def told(rows: Sequence[Row], reply_header: bool) -> str:
            return render(template, rows, reply_header=reply_header, **asked)

        continues = chat.continues_last and rows[-1]["role"] == "assistant"
        return go_on(told, rows, template) if continues else begin(told, rows)

    try:
        return tell(messages, False)
    except TransomError:
        if any(message.tool_calls for message in messages):
            return tell(messages, True)
        if is_generic and calling.tools:
            # The system text is ours; a template that takes none has it in the question.
            return tell(without_system(messages), False)
        raise


def _variables(chat: Chat, calling: _Calling) -> dict[str, Any]:
    """Names that templates know besides the conversation."""
    variables: dict[str, Any] = {}
    thinks = False if calling.is_held else chat.thinks
    if thinks is not None:
        # Qwen's name, and DeepSeek's and Granite's.
        variables |= {"enable_thinking": thinks, "thinking": thinks}
    if chat.effort is not None:
        variables["reasoning_effort"] = chat.effort
    if chat.documents:
        variables["documents"] = [dict(document) for document in chat.documents]
    if chat.suffix is not None:
        variables["suffix"] = chat.suffix
    return {**variables, **chat.template_variables}
