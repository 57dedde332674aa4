"""MLC's `conv_template` as a Jinja chat template, which is what our page renders.

MLC publishes no template but a table of prefixes and separators; WebLLM glues prompts from it
(`Conversation` in web-llm 0.2.86). The Jinja text made here glues the same. Knows no files.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from transom_compile.mlc.errors import InvalidMlcModel

WHERE = "conv_template in mlc-chat-config.json"
# Two in every published model: after the user's words, after the assistant's.
MAX_SEPARATORS = 16
MAX_PREFIX_TOKENS = 16
# System prompts of published models stay below a few KB.
MAX_TEXT_CHARACTERS = 64 * 1024
# WebLLM's own, where a field is not given.
DEFAULT_SEPARATOR = ": "
_PLACEHOLDERS = {"user": "{user_message}", "assistant": "{assistant_message}"}
_SYSTEM = "{system_message}"
_FUNCTION = "{function_string}"


def chat_template(conversation: Mapping[str, Any], spellings: Mapping[int, str]) -> str:
    """Jinja for `conversation`; `spellings`: text of each token that is found in a prompt whole.

    Raises `InvalidMlcModel` naming the field that cannot be said.
    """
    before, after = _system_parts(conversation)
    roles = _object(conversation, "roles")
    empty = _text(conversation, "role_empty_sep", DEFAULT_SEPARATOR)
    render_empty = conversation.get("render_empty_system_message") is not False
    lines = [
        f"{{{{ {_literal(_prefix(conversation, spellings))} }}}}",
        "{% if messages and messages[0]['role'] == 'system' %}"
        "{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}",
        f"{{% else %}}{{% set system = {_literal(_text(conversation, 'system_message', ''))} %}}"
        "{% set turns = messages %}{% endif %}",
        f"{{% set head = {_literal(before)} + system + {_literal(after)} %}}",
        "" if render_empty else "{% if system == '' %}{% set head = '' %}{% endif %}",
        "{{ head }}{% set separators = ["
        + ", ".join(_literal(text) for text in _separators(conversation))
        + "] %}{% for message in turns %}",
        _turn(conversation, roles, "user", "if"),
        _turn(conversation, roles, "assistant", "elif"),
        "{% else %}{{ raise_exception('this model knows the roles system, user and assistant') }}"
        "{% endif %}",
        "{{ separators[loop.index0 % (separators | length)] }}{% endfor %}",
        "{% if add_generation_prompt %}"
        f"{{{{ {_literal(_text(roles, 'assistant') + empty)} }}}}{{% endif %}}",
    ]
    return "".join(lines)


def stop_texts(conversation: Mapping[str, Any]) -> list[str]:
    """`stop_str`: texts that end an answer."""
    value = conversation.get("stop_str") or []
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidMlcModel(f"{WHERE}: stop_str is not a list of strings")
    return [text for text in texts if text]


def _turn(conversation: Mapping[str, Any], roles: Mapping[str, Any], role: str, test: str) -> str:
    """One role's part of the loop: its prefix, then its words."""
    separator = _text(conversation, "role_content_sep", DEFAULT_SEPARATOR)
    prefix = f"{{{{ {_literal(_text(roles, role) + separator)} }}}}"
    if conversation.get("add_role_after_system_message") is False:
        prefix = f"{{% if head == '' or loop.index0 != 0 %}}{prefix}{{% endif %}}"
    before, after = _role_parts(conversation, role)
    content = f"{{{{ {_literal(before)} + message['content'] + {_literal(after)} }}}}"
    return f"{{% {test} message['role'] == '{role}' %}}{prefix}{content}"


def _system_parts(conversation: Mapping[str, Any]) -> tuple[str, str]:
    template = _text(conversation, "system_template", _SYSTEM)
    before, found, after = template.partition(_SYSTEM)
    if not found:
        raise InvalidMlcModel(f"{WHERE}: system_template has no {_SYSTEM}")
    return before, after


def _role_parts(conversation: Mapping[str, Any], role: str) -> tuple[str, str]:
    templates = conversation.get("role_templates")
    if templates is None or role not in _object(conversation, "role_templates"):
        return "", ""
    template = _text(templates, role).replace(_FUNCTION, "", 1)
    before, found, after = template.partition(_PLACEHOLDERS[role])
    if not found:
        raise InvalidMlcModel(f"{WHERE}: role_templates.{role} has no {_PLACEHOLDERS[role]}")
    return before, after


def _prefix(conversation: Mapping[str, Any], spellings: Mapping[int, str]) -> str:
    """`system_prefix_token_ids` (a bos, as a rule) by their spelling, which encodes to them."""
    ids = conversation.get("system_prefix_token_ids") or []
    if not isinstance(ids, list) or len(ids) > MAX_PREFIX_TOKENS:
        raise InvalidMlcModel(f"{WHERE}: system_prefix_token_ids is not a short list of ids")
    for token in ids:
        if type(token) is not int or token not in spellings:
            raise InvalidMlcModel(
                f"{WHERE}: system_prefix_token_ids has {str(token)[:40]}, which is no added token "
                "of tokenizer.json"
            )
    return "".join(spellings[token] for token in ids)


def _separators(conversation: Mapping[str, Any]) -> Sequence[str]:
    value = conversation.get("seps")
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SEPARATORS:
        raise InvalidMlcModel(f"{WHERE}: seps is not a list of 1 to {MAX_SEPARATORS} strings")
    return [_checked(text, "seps") for text in value]


def _object(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    if not isinstance(value, dict):
        raise InvalidMlcModel(f"{WHERE}: {key} is not an object")
    return value


def _text(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = table.get(key)
    if value is None and default is not None:
        return default
    return _checked(value, key)


def _checked(value: Any, key: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
        raise InvalidMlcModel(f"{WHERE}: {key} is not a string of up to {MAX_TEXT_CHARACTERS}")
    return value


def _literal(text: str) -> str:
    """A string as Jinja spells it: JSON's escapes of line ends and quotes are Jinja's too."""
    quoted = json.dumps(text, ensure_ascii=False)
    if "\\u" in quoted.replace("\\\\", ""):
        raise InvalidMlcModel(f"{WHERE} holds a control character: {quoted[:60]}")
    return quoted
