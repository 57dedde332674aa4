"""What a chat template can do, in Ollama's words. Pure."""

import re
from typing import Final

# Variables that a chat template reads only if it can do the thing.
_TOOLS: Final = re.compile(r"\btools\b|\.Tools\b")
_THINKING: Final = re.compile(r"<think>|reasoning_content|enable_thinking|\.Thinking\b")
_INSERT: Final = re.compile(r"\bsuffix\b|\.Suffix\b")
# A Go template that became Jinja prepares all of it in front; what its body uses counts.
_TRANSLATED: Final = "{#- Translated from a Go template"
_BODY_TOOLS: Final = re.compile(r"go_tools\(|(?<!set )\bgo\.tools\b")
_BODY_THINKING: Final = re.compile(r"<think>|\b(item_\d+|turn)\.thinking\b")


def template_capabilities(template: str) -> list[str]:
    """`tools`, `insert` and `thinking`, as far as it does them."""
    is_translated = template.startswith(_TRANSLATED)
    tools = _BODY_TOOLS if is_translated else _TOOLS
    thinking = _BODY_THINKING if is_translated else _THINKING
    ways = (("tools", tools), ("insert", _INSERT), ("thinking", thinking))
    return [word for word, pattern in ways if pattern.search(template)]
