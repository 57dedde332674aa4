"""What a Hugging Face folder is, before any work: its architecture, config and licence.

Reads config.json and README.md, no weights.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transom_compile.hub.folder import optional_object, read_json, read_object
from transom_compile.hub.model_card import read_card
from transom_compile.progress import Silent
from transom_compile.sources.checkpoint import CheckpointError
from transom_models import architectures
from transom_models.architecture import (
    Architecture,
    HubModel,
    UnknownArchitecture,
    known_architectures,
    load_architecture,
)
from transom_models.licence import stated_licence

CONFIG_FILE = "config.json"
# A list of two or three steps.
MAX_MODULES_BYTES = 64 * 1024
_POOLING_MODES = {"mean": "mean_tokens", "cls": "cls_token"}


def read_hub_model(folder: Path) -> tuple[str, HubModel, str | None]:
    """(architecture's name, its config in GGUF's words, licence if the card names one)."""
    config = read_object(folder / CONFIG_FILE)
    architecture = find_architecture(folder, config)
    licence = stated_licence(read_card(folder, Silent()))
    if architecture.TASK == "embedding":
        config = {**config, **read_pooling(folder)}
    hub = architecture.from_hugging_face(config)
    return architecture.NAME, hub, licence


def find_architecture(folder: Path, config: Mapping[str, Any]) -> Architecture:
    """The file in `architectures/` that says it is this config's. Raises `UnknownArchitecture`."""
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        raise CheckpointError(
            f"{folder} is quantized by {str(quantization.get('quant_method'))[:40]!r}, which "
            "cannot be converted; take the checkpoint as it was before"
        )
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if not isinstance(name, str):
        raise CheckpointError(f"{folder / CONFIG_FILE} does not name its architecture")
    known: list[str] = []
    for candidate in known_architectures():
        module = importlib.import_module(f"{architectures.__name__}.{candidate}")
        if name in module.HUGGING_FACE:
            return load_architecture(module.NAME)
        known.extend(module.HUGGING_FACE)
    raise UnknownArchitecture(
        f"{folder / CONFIG_FILE} is a {name[:80]}, which is not supported yet; "
        f"this version converts {', '.join(known)}"
    )


def read_pooling(folder: Path) -> dict[str, Any]:
    """{"pooling": …}: how one vector is made of a text's many, from sentence-transformers' files.

    Empty where there are none. Raises `CheckpointError` on a step that would change the vector.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    modules = read_json(path, MAX_MODULES_BYTES)
    pooling: dict[str, Any] = {}
    for module in modules if isinstance(modules, list) else [modules]:
        match module:
            case {"type": str(kind), "path": str(place)} if ".." not in place.split("/"):
                kind = kind.rpartition(".")[2]
            case _:
                raise CheckpointError(f"{path} lists something that is not a module")
        if kind == "Pooling":
            pooling = optional_object(folder / place.lstrip("/") / CONFIG_FILE)
        elif kind not in {"Transformer", "Normalize"}:
            raise CheckpointError(f"{path}: module {kind[:60]!r} is not supported")
    mode = pooling.get("pooling_mode")
    if isinstance(mode, str):
        # The newer spelling of the same.
        pooling = {f"pooling_mode_{_POOLING_MODES.get(mode, mode)}": True}
    return {"pooling": pooling} if pooling else {}
