"""Write what Go and the translator make of the templates, for the tests to compare.

    go build -o oracle tests/models/go_template_oracle.go
    python -m tests.models.make_go_template_prompts ./oracle

Run after a change of `go_templates.py` or of the translation; then `npm run format`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.models.go_templates import TEMPLATES, cases, go_request, jinja_variables
from transom_models.modelfile import jinja_template

HERE = Path(__file__).parent
# What the page's renderer is tried on: every kind of block, and JSON of tools.
WEB_TEMPLATES = [
    "chatml single turn",
    "llama3.1 tools",
    "mistral tools",
    "gemma collected system",
    "command-r",
    "qwen3 think",
    "falcon jumps after text",
    "solar stops",
    "tool fields",
    "braces and quotes",
    "values kept across blocks",
    "hermes arguments one by one",
]
WEB_CONVERSATIONS = ["one question", "three turns", "a tool called", "tools offered", "thinking"]


def prompts_of_go(oracle: str) -> dict[str, dict[str, str]]:
    """By template and conversation. A template that Go refuses ends this with its reason."""
    asked = cases()
    lines = "\n".join(json.dumps(go_request(*case)) for case in asked)
    done = subprocess.run([oracle], input=lines, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, str]] = {}
    for (template, conversation), line in zip(asked, done.stdout.splitlines(), strict=True):
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(f"{template}, {conversation}: {answer['error']}")
        found.setdefault(template, {})[conversation] = answer["text"]
    return found


def web_copy(prompts: dict[str, dict[str, str]]) -> dict[str, Any]:
    return {
        "conversations": {name: jinja_variables(name) for name in WEB_CONVERSATIONS},
        "templates": [
            {
                "name": name,
                "jinja": jinja_template(TEMPLATES[name]),
                "prompts": {talk: prompts[name][talk] for talk in WEB_CONVERSATIONS},
            }
            for name in WEB_TEMPLATES
        ],
    }


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    by_template = prompts_of_go(sys.argv[1])
    write(HERE / "go_template_prompts.json", by_template)
    write(HERE.parent / "web" / "translated-templates.json", web_copy(by_template))
