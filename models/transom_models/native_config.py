"""The config blob of a native (GGUF) platform, in the shape and the keys that Ollama reads.

Pure: no I/O. Knows no GGUF; whoever has read one says what it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from transom_models.digest import Digest


@dataclass(frozen=True, slots=True)
class NativeFacts:
    """What the config says of a model. `file_type` is a scheme's name, as "Q4_K_M"; lengths are
    None where the model has none."""

    architecture: str
    parameter_count: int
    file_type: str
    context_length: int | None = None
    embedding_length: int | None = None
    requires: str | None = None


def native_config(facts: NativeFacts, layers: Sequence[Digest]) -> bytes:
    """Canonical JSON: equal facts and layers give equal bytes."""
    document = {
        "model_format": "gguf",
        "model_family": facts.architecture,
        "model_families": [facts.architecture],
        "model_type": count_text(facts.parameter_count),
        "file_type": facts.file_type,
        "context_length": facts.context_length,
        "embedding_length": facts.embedding_length,
        "requires": facts.requires,
        # Ollama writes these two for every model, whatever it runs on.
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(layer) for layer in layers]},
    }
    return config_bytes({key: value for key, value in document.items() if value is not None})


def config_bytes(document: dict[str, object]) -> bytes:
    """A config as the bytes that its digest names: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def count_text(count: int) -> str:
    """A number of parameters as people say it: `8.0B`, `134.52M`, `12K`, `840`."""
    if count >= 10**9:
        return f"{count / 10**9:.1f}B"
    if count >= 10**6:
        return f"{count / 10**6:.2f}M"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)
