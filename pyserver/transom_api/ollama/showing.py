"""A model as Ollama's `/api/show` tells it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from transom_api.ollama.listing import rfc3339
from transom_api.ollama.management import parameters_text
from transom_models.modelfile import ParameterValue

# The rest is left out where there is none of it.
_ALWAYS: Final = ("modelfile", "details", "model_info", "modified_at")


def shown_body(
    *,
    license_text: str | None,
    modelfile: str,
    parameters: Mapping[str, ParameterValue],
    template: str | None,
    system: str | None,
    details: Mapping[str, Any],
    messages: Sequence[tuple[str, str]],
    model_info: Mapping[str, Any],
    capabilities: Sequence[str],
    modified: float,
    projector_info: Mapping[str, Any] | None = None,
    tensors: Sequence[Mapping[str, Any]] | None = None,
    requires: str | None = None,
) -> dict[str, Any]:
    """What is not there is left out, as Ollama does. `modified` in Unix seconds."""
    shown = {
        "license": license_text,
        "modelfile": modelfile,
        "parameters": parameters_text(parameters),
        "template": template,
        "system": system,
        "details": details,
        "messages": [{"role": role, "content": content} for role, content in messages],
        "model_info": model_info,
        "projector_info": projector_info,
        "tensors": tensors,
        "capabilities": list(capabilities),
        "modified_at": rfc3339(modified),
        "requires": requires,
    }
    return {key: value for key, value in shown.items() if value or key in _ALWAYS}


def lengths_info(
    family: str, context_length: int | None, embedding_length: int | None
) -> dict[str, Any]:
    """`model_info` of a model that has no GGUF."""
    lengths = {"context_length": context_length, "embedding_length": embedding_length}
    known = {f"{family}.{key}": value for key, value in lengths.items() if value is not None}
    return {"general.architecture": family, **known}
