"""Changes of a browser platform's config (`mlc-chat-config.json`), so that WebLLM, which reads
nothing else, obeys what a Modelfile says. Our page reads the layers beside it as well.

Pure: documents in, documents out. Must not know stores; compiling is another room's.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from transom_models.manifest import InvalidManifest
from transom_models.modelfile import Parameters

Document = dict[str, Any]
# Gives the config another template's prompt format, where somebody can find it out.
Reconverse = Callable[[Document, str], Document]

# Ollama's name -> WebLLM's, with the values that WebLLM takes.
_SAMPLING: Final[Mapping[str, tuple[str, float, float]]] = {
    "temperature": ("temperature", 0.0, 100.0),
    # 0 is refused by WebLLM; the smallest share says the same: the likeliest token.
    "top_p": ("top_p", 1e-6, 1.0),
    "repeat_penalty": ("repetition_penalty", 1e-6, 100.0),
    "presence_penalty": ("presence_penalty", -2.0, 2.0),
    "frequency_penalty": ("frequency_penalty", -2.0, 2.0),
}
# Where the template's own system message is kept while another one stands in its place.
_OWN_SYSTEM: Final = "template_system_message"
_CHANGED: Final = ("conv_template", "transom")
NOT_DERIVED: Final = (
    "the template was replaced where templates are not run; `transom create` finds the format out"
)


def read_config(data: bytes) -> Document:
    """A config blob. Raises `InvalidManifest`."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(f"the browser config is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidManifest("the browser config is not a JSON object")
    return document


def write_config(document: Document) -> bytes:
    """As the compiler writes it: keys in their order, a space a level, and a line end."""
    try:
        return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"
    except UnicodeEncodeError:
        raise InvalidManifest("the browser config holds half a surrogate pair") from None
    except RecursionError:
        raise InvalidManifest("the browser config is nested too deep") from None


def with_system(document: Document, system: str | None) -> Document:
    """The default system message; None or empty gives the template's own back."""
    changed = _copied(document)
    conversation, ours = _part(changed, "conv_template"), _part(changed, "transom")
    if conversation is None:
        return changed
    if ours is None:
        ours = changed["transom"] = {}
    own = ours.setdefault(_OWN_SYSTEM, conversation.get("system_message", ""))
    if not system:
        del ours[_OWN_SYSTEM]
    conversation["system_message"] = system or own
    return changed


def with_parameters(document: Document, parameters: Parameters) -> Document:
    """Sampling defaults, texts that end an answer, and the context window, as far as it can be
    had: a library is compiled for the longest."""
    changed = _copied(document)
    for name, (key, least, most) in _SAMPLING.items():
        value = parameters.get(name)
        if isinstance(value, int | float):
            changed[key] = min(max(float(value), least), most)
    conversation = _part(changed, "conv_template")
    stops = parameters.get("stop")
    if conversation is not None and isinstance(stops, tuple):
        conversation["stop_str"] = list(stops)
    wanted, compiled = parameters.get("num_ctx"), _compiled_window(changed)
    if isinstance(wanted, int) and compiled is not None:
        changed["context_window_size"] = min(wanted, compiled)
    return changed


def with_template(document: Document, template: str, reconverse: Reconverse | None) -> Document:
    """The prompt format of another template; without `reconverse` WebLLM gets bare messages, and
    the config says so."""
    if reconverse is not None:
        changed = _copied(document)
        (_part(changed, "transom") or {}).pop(_OWN_SYSTEM, None)
        return reconverse(changed, template)
    return without_conversation(document, NOT_DERIVED)


def without_conversation(document: Document, problem: str) -> Document:
    """No prompt format for WebLLM: bare content, one message a line, as the compiler has it."""
    changed = _copied(document)
    conversation, ours = _part(changed, "conv_template"), _part(changed, "transom")
    if conversation is not None:
        for key in ("render_empty_system_message", "add_role_after_system_message"):
            conversation.pop(key, None)
        conversation |= {
            "system_template": "{system_message}",
            "system_message": "",
            "roles": {"user": "", "assistant": ""},
            "seps": ["\n"],
            "role_empty_sep": "",
        }
    if ours is not None:
        ours.pop(_OWN_SYSTEM, None)
        ours |= {
            "conv_template": f"unavailable: {problem}",
            "template": {"system": None, "tools": "none", "problems": [], "notes": [problem]},
        }
    return changed


def _copied(document: Document) -> Document:
    """A copy whose parts that change here are copies, too."""
    parts = {key: dict(document[key]) for key in _CHANGED if _part(document, key) is not None}
    return {**document, **parts}


def _part(document: Document, key: str) -> Document | None:
    part = document.get(key)
    return part if isinstance(part, dict) else None


def _compiled_window(document: Document) -> int | None:
    """The longest context that the libraries were compiled for, in tokens."""
    compiled = (_part(document, "model_config") or document).get("context_window_size")
    return compiled if isinstance(compiled, int) and not isinstance(compiled, bool) else None
