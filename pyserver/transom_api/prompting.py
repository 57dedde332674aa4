"""From a `Chat` to what an engine is given, and to who reads its answer.

The model's own defaults come first, then what the request says; the chat template makes the prompt.
Knows no dialect, no store and no engine. Pure: templates are rendered, and ids of calls made, by
functions given in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from transom_api import options
from transom_api.chat import Audio, Chat, Image, Message
from transom_api.deltas import Content, Delta
from transom_api.engine import GenerateRequest, ModelFacts
from transom_api.fields import InvalidField
from transom_api.session import AnswerReader
from transom_models.errors import TransomError
from transom_models.modelfile import Parameters, check_parameters, jinja_template

Render = Callable[..., str]
"""`render(template, messages, *, bos, eos, reply_header, tools, variables)` gives the prompt."""

# Stands for the text to go on with, while the template is asked what comes before it. Letters only,
# so that a template that trims or looks for tags leaves it alone.
_CONTINUED: Final = "qzContinuedqz"


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


def plan(chat: Chat, defaults: ModelDefaults, facts: ModelFacts, render: Render) -> Plan:
    """Raises `InvalidField`, `InvalidParameter`, `NoTemplate`, and what `render` raises."""
    if chat.raw_prompt is not None:
        prompt = chat.raw_prompt
    else:
        prompt = _prompt(chat, defaults, facts, render)
    parameters = {
        **chat.fallback_options,
        **defaults.parameters,
        **check_parameters(chat.options),
    }
    request = GenerateRequest(
        prompt=prompt,
        sampling=options.sampling_of(parameters),
        max_tokens=options.max_tokens_of(parameters),
        stop=options.stops_of(parameters),
        json_schema=_schema(chat),
        grammar=_grammar(chat),
        images=_images(chat, facts),
        stop_token_ids=chat.stop_token_ids,
        ignore_eos=chat.ignore_eos,
        logit_bias=tuple(chat.logit_bias.items()),
        choices=chat.choices,
        logprobs=chat.top_logprobs if chat.logprobs else None,
        cache_prompt=chat.cache_prompt,
    )
    return Plan(request, _Plain)


def _schema(chat: Chat) -> dict[str, Any] | None:
    if chat.constraint is None:
        return None
    if chat.constraint.kind == "json_object":
        return {"type": "object"}
    if chat.constraint.kind == "json_schema":
        return dict(chat.constraint.schema or {})
    return None


def _grammar(chat: Chat) -> str | None:
    if chat.constraint is None or chat.constraint.kind != "grammar":
        return None
    return chat.constraint.text


def _images(chat: Chat, facts: ModelFacts) -> tuple[bytes, ...]:
    parts = [part for message in chat.messages for part in message.parts]
    if any(isinstance(part, Audio) for part in parts):
        raise InvalidField("messages", f"{chat.model} hears no sound; leave it out")
    images = tuple(part.data for part in parts if isinstance(part, Image))
    if images and facts.image_marker is None:
        raise InvalidField("messages", f"{chat.model} sees no images; leave them out")
    if images and any(str(facts.image_marker) in message.text for message in chat.messages):
        raise InvalidField("messages", f"{facts.image_marker} in a text would stand for an image")
    return images


def _prompt(chat: Chat, defaults: ModelDefaults, facts: ModelFacts, render: Render) -> str:
    template = defaults.template if chat.template is None else jinja_template(chat.template)
    if template is None:
        raise NoTemplate(
            f"{chat.model} has no chat template; give it one (TEMPLATE in a Modelfile, "
            "`transom create`), or ask /api/generate or /v1/completions with a prompt alone"
        )
    messages = _conversation(chat, defaults, facts)
    asked = {"bos": facts.bos, "eos": facts.eos, "variables": _variables(chat)}
    if chat.continues_last and messages and messages[-1]["role"] == "assistant":
        last = str(messages[-1]["content"])
        marked = [*messages[:-1], {**messages[-1], "content": _CONTINUED}]
        before, found, _ = render(template, marked, reply_header=False, **asked).rpartition(
            _CONTINUED
        )
        prompt = (before if found else render(template, messages[:-1], **asked)) + last
    else:
        prompt = render(template, messages, **asked)
    # Templates that write it themselves would have it twice.
    return prompt.removeprefix(facts.bos) if facts.adds_bos and facts.bos else prompt


def _variables(chat: Chat) -> dict[str, Any]:
    """Names that templates know besides the conversation."""
    variables: dict[str, Any] = {}
    if chat.thinks is not None:
        # Qwen's name, and DeepSeek's and Granite's.
        variables |= {"enable_thinking": chat.thinks, "thinking": chat.thinks}
    if chat.effort is not None:
        variables["reasoning_effort"] = chat.effort
    if chat.documents:
        variables["documents"] = [dict(document) for document in chat.documents]
    return {**variables, **chat.template_variables}


def _conversation(chat: Chat, defaults: ModelDefaults, facts: ModelFacts) -> list[dict[str, Any]]:
    """The model's system text and seed messages first; the request's own system message takes the
    place of the model's, as in Ollama."""
    own = [_message(message, facts) for message in chat.messages]
    seeds = [{"role": role, "content": content} for role, content in defaults.messages]
    if own and own[0]["role"] == "system":
        return [own[0], *seeds, *own[1:]]
    opening = [{"role": "system", "content": defaults.system}] if defaults.system else []
    return [*opening, *seeds, *own]


def _message(message: Message, facts: ModelFacts) -> dict[str, Any]:
    marker = facts.image_marker or ""
    content = "".join(
        marker if isinstance(part, Image) else getattr(part, "text", "") for part in message.parts
    )
    return {"role": message.role, "content": content}
