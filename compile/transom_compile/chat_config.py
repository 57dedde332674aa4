"""`mlc-chat-config.json`, a superset of what WebLLM 0.2.86 reads, and `chat_template.jinja`.

WebLLM takes its prompt pieces from `conv_template`; our own engine renders the Jinja template,
which travels beside it unchanged. Must not know block layouts, shards or TVM.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from transom_compile.template_lint import TEMPLATE_KEY, LintReport
from transom_compile.template_probe import ConversationParts, ProbeFailed, probe_template
from transom_compile.tokenizers import Tokenizer

CHAT_CONFIG_NAME = "mlc-chat-config.json"
CHAT_TEMPLATE_NAME = "chat_template.jinja"
TOKENIZER_NAME = "tokenizer.json"
# What most browsers' memory takes beside the weights; a model with less keeps its own.
DEFAULT_CONTEXT_WINDOW = 4096
DEFAULT_PREFILL_CHUNK = 512
# llama.cpp's own, so that browser and server sample alike when a checkpoint says nothing.
DEFAULT_TEMPERATURE, DEFAULT_TOP_P = 0.8, 0.95
# How MLC says that a token's text becomes bytes, by kind of tokenizer.
POSTPROCESSING = {"byte_level": "byte_level", "word_piece": "raw"}


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What the chat config says besides tokenizer and template. `template`: what lint found."""

    architecture: str
    config: Any
    context_window: int
    prefill_chunk: int
    quantization: str
    provenance: Mapping[str, Any]
    task: str = "chat"
    template: LintReport = field(default_factory=LintReport)


@dataclass(frozen=True, slots=True)
class ChatConfig:
    """The two files, and why WebLLM gets no prompt format when it gets none."""

    json_bytes: bytes
    template: str | None
    conversation_problem: str | None


def build_chat_config(
    metadata: Mapping[str, Any], tokenizer: Tokenizer, settings: ChatSettings
) -> ChatConfig:
    """Everything that is known about chatting with this checkpoint."""
    template = metadata.get(TEMPLATE_KEY) if settings.task == "chat" else None
    if not isinstance(template, str) or not template:
        template = None
    parts, problem, status = None, None, "unavailable: an embedding model does not chat"
    if settings.task == "chat":
        parts, problem = _conversation(template, tokenizer)
        status = "exact" if problem is None else f"unavailable: {problem}"
    stops = _stops(tokenizer, settings.template)
    document = {
        "version": "0.1.0",
        "model_type": settings.architecture,
        "model_task": settings.task,
        "quantization": settings.quantization,
        "model_config": {
            **asdict(settings.config),
            "context_window_size": settings.context_window,
            "prefill_chunk_size": settings.prefill_chunk,
        },
        "vocab_size": settings.config.vocab_size,
        "context_window_size": settings.context_window,
        # WebLLM takes one of the two windows; -1 switches this one off.
        "sliding_window_size": -1,
        "prefill_chunk_size": settings.prefill_chunk,
        "attention_sink_size": -1,
        "tensor_parallel_shards": 1,
        "temperature": _setting(metadata, "general.sampling.temp", DEFAULT_TEMPERATURE, 2.0),
        "top_p": _setting(metadata, "general.sampling.top_p", DEFAULT_TOP_P, 1.0),
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "bos_token_id": tokenizer.token_id("bos"),
        "eos_token_id": _ends(tokenizer, stops) if len(stops) > 1 else tokenizer.token_id("eos"),
        "pad_token_id": tokenizer.token_id("padding"),
        "tokenizer_files": [TOKENIZER_NAME],
        "tokenizer_info": {
            "token_postproc_method": POSTPROCESSING.get(tokenizer.kind, "byte_fallback"),
            "prepend_space_in_encode": tokenizer.adds_space,
            "strip_space_in_decode": tokenizer.adds_space,
        },
        "conv_template": _conv_template(parts, tokenizer, stops),
        "transom": {
            **settings.provenance,
            "chat_template": CHAT_TEMPLATE_NAME if template is not None else None,
            "conv_template": status,
            "template": settings.template.to_json(),
        },
    }
    # WebLLM tests for `undefined`, so an unknown id is left out, not null.
    known = {key: value for key, value in document.items() if value is not None}
    data = json.dumps(known, ensure_ascii=False, indent=1).encode() + b"\n"
    return ChatConfig(data, template, problem)


def with_template(
    document: Mapping[str, Any], template: str, tokenizer: Tokenizer, report: LintReport
) -> dict[str, Any]:
    """A chat config with another template: its prompt format, where it ends a turn, and `report`,
    what lint found about it."""
    parts, problem = _conversation(template, tokenizer)
    stops = _stops(tokenizer, report)
    ours = document.get("transom")
    changed = {
        **document,
        "conv_template": _conv_template(parts, tokenizer, stops),
        "transom": {
            **(ours if isinstance(ours, dict) else {}),
            "chat_template": CHAT_TEMPLATE_NAME,
            "conv_template": "exact" if problem is None else f"unavailable: {problem}",
            "template": report.to_json(),
        },
    }
    if len(stops) > 1:
        changed["eos_token_id"] = _ends(tokenizer, stops)
    return changed


def _stops(tokenizer: Tokenizer, report: LintReport) -> list[int]:
    """The template's own end of a turn stops too, whatever the vocabulary says of it."""
    end = report.end_token_id
    return sorted({*tokenizer.stop_ids, *([] if end is None else [end])})


def _ends(tokenizer: Tokenizer, stops: Sequence[int]) -> list[int]:
    """The vocabulary's own end first: the one that templates call `eos_token`."""
    eos = tokenizer.token_id("eos")
    return sorted(stops, key=lambda token: (token != eos, token))


def _conversation(
    template: str | None, tokenizer: Tokenizer
) -> tuple[ConversationParts | None, str | None]:
    if template is None:
        return None, "the checkpoint has no chat template"
    try:
        return probe_template(template, tokenizer.text("bos"), tokenizer.text("eos")), None
    except ProbeFailed as error:
        return None, str(error)


def _conv_template(
    parts: ConversationParts | None, tokenizer: Tokenizer, stops: list[int]
) -> dict[str, Any]:
    """WebLLM's words. Without `parts`: bare content, one message a line.

    `role_templates` is left out: WebLLM fills it with JavaScript's `replace`, where a `$&` in a
    message would be taken for a pattern; without it the content is glued in as it is. There is no
    "tool" role, so WebLLM refuses one instead of writing a prompt that the model never saw.
    """
    common: dict[str, Any] = {
        "name": "transom",
        "role_content_sep": "",
        "stop_str": [],
        "stop_token_ids": stops,
    }
    bos = tokenizer.token_id("bos")
    if bos is not None and (tokenizer.adds_bos or (parts is not None and parts.starts_with_bos)):
        common["system_prefix_token_ids"] = [bos]
    if parts is None:
        return common | {
            "system_template": "{system_message}",
            "system_message": "",
            "roles": {"user": "", "assistant": ""},
            "seps": ["\n"],
            "role_empty_sep": "",
        }
    return common | {
        "system_template": parts.system_template,
        "system_message": parts.system_message,
        "render_empty_system_message": parts.render_empty_system,
        "add_role_after_system_message": parts.role_after_system,
        "roles": {"user": parts.user_role, "assistant": parts.assistant_role},
        "seps": [parts.user_suffix, parts.assistant_suffix],
        "role_empty_sep": parts.reply_suffix,
    }


def _setting(metadata: Mapping[str, Any], key: str, default: float, most: float) -> float:
    """A sampling default of the checkpoint, where it gives one that can be used."""
    value = metadata.get(key, default)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
    # f32 in the file; six digits give back what its author wrote.
    return round(float(value), 6) if usable else default
