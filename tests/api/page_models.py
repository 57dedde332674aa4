"""The models of `client_models` as a page's scripted engine has them. No weights at all.

What they are asked is in their prompts, so their templates name the script
(tests/contract/api/README.md).
"""

import json
from pathlib import Path
from typing import Any

from tests.api.judging import TRAINED_CONTEXT

HERE = Path(__file__).parent
CREATED = 1_767_225_600
TOWN = {"name": "Oulu", "sky": {"colour": "blue", "is_clear": True}}
CALL = {"name": "weather", "arguments": {"city": "Oulu"}}
SCRIPTS: dict[str, Any] = {
    "sum": "2 + 2 = 4.",
    "town": json.dumps(TOWN),
    "call": f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
    # Of a model without a form of its own.
    "calls": json.dumps({"tool_calls": [CALL]}),
    "weather": "In Oulu it is sunny and 21 degrees warm.",
    "count": {"tokens": [f" {number}," for number in range(10, 100)], "again": True},
}
# By the questions of tests/api/clients/findings.py.
_ANSWERING = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- set asked = messages[-1].content -%}
@{{ 'town' if 'Answer in JSON' in asked else 'calls' if 'weather' in asked else 'sum' }}
<|im_start|>assistant
"""
_CALLER = (HERE / "caller.jinja").read_text() + (
    "\n@{{ 'weather' if messages[-1].role == 'tool' else 'call' }}\n"
)
PARAMETERS = {"temperature": 0, "num_thread": 1, "num_ctx": 1024, "num_predict": 64}
MODELS: dict[str, dict[str, Any]] = {
    "smollm2": {"template": _ANSWERING, "context": 1024, "parameters": PARAMETERS},
    "caller": {"template": _CALLER, "context": 1024, "parameters": PARAMETERS},
    "counting": {
        "template": "{{ messages[-1].content }}@count",
        "context": 8192,
        "parameters": {**PARAMETERS, "num_ctx": 8192, "num_predict": 7000},
    },
    "minilm": {
        "template": None,
        "context": 512,
        "task": "embed",
        "subjects": [["cat", "kitten"], ["Shares"]],
        "width": 384,
    },
}


def contract() -> dict[str, Any]:
    """`Contract` of tests/web/fakes/scripted-api-engine.ts."""
    return {
        "catalogue": [_row(name, model) for name, model in MODELS.items()],
        "models": MODELS,
        "scripts": SCRIPTS,
    }


def _row(name: str, model: dict[str, Any]) -> dict[str, Any]:
    is_embedder = model.get("task") == "embed"
    capabilities = ["embedding"] if is_embedder else ["completion"]
    return {
        "name": name,
        "created": CREATED,
        "bytes": 1000,
        "digest": "sha256:" + f"{len(name):x}" * 64,
        "details": {"format": "gguf", "family": "llama", "context_length": TRAINED_CONTEXT},
        "capabilities": [*capabilities, *(["tools"] if not is_embedder else [])],
        "isStored": True,
    }
