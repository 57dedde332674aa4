"""Whether a GGUF was compiled before: a model of the store that is what compiling it would give.

Knows the compile room's defaults and the store; changes nothing.
"""

from typing import Final

from transom_compile.chat_config import DEFAULT_CONTEXT_WINDOW, DEFAULT_PREFILL_CHUNK
from transom_compile.libraries import VARIANTS
from transom_compile.library_cache import tool_versions
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_server.model.base import Base, Part, base_of
from transom_server.model.browser_config import read_config
from transom_server.model.gguf_facts import GgufFacts
from transom_server.model.model_texts import gguf_of, layers_of, read_texts
from transom_server.store import Lease, Store

# Layers that a Modelfile made; a model without any is as it was compiled.
_MADE: Final = (
    media_types.OLLAMA_SYSTEM,
    media_types.OLLAMA_PARAMS,
    media_types.OLLAMA_MESSAGES,
    media_types.OLLAMA_LICENSE,
    media_types.OLLAMA_ADAPTER,
)


def compiled_before(store: Store, source: Digest, lease: Lease) -> Base | None:
    """What compiling the GGUF `source` with default options gives, byte for byte; None where the
    store has it not. `lease` keeps its blobs."""
    for model in store.list_models():
        said = model.index.annotations
        if (
            said.get(media_types.ANNOTATION_SOURCE_DIGEST) != str(source)
            or said.get(media_types.ANNOTATION_VERSIONS) != tool_versions()
        ):
            continue
        try:
            lease.keep(*(row.digest for row in store.descriptors(model)))
            base = base_of(store, model.index)
            if _is_as_compiled(store, base, source):
                return base
        except TransomError:
            continue  # a damaged model offers nothing; `transom verify` says so
    return None


def _is_as_compiled(store: Store, base: Base, source: Digest) -> bool:
    variants = {part.platform.variant for part in base.parts if part.is_browser and part.platform}
    natives = [part for part in base.parts if not part.is_browser]
    if len(natives) != 1 or variants != set(VARIANTS):
        return False
    facts = gguf_of(store, source)
    return all(_is_part_as_compiled(store, part, facts) for part in base.parts)


def _is_part_as_compiled(store: Store, part: Part, facts: GgufFacts) -> bool:
    if any(layers_of(part.manifest, kind) for kind in _MADE):
        return False
    template = read_texts(store, part.manifest).template
    if not part.is_browser:
        return template is None
    config = read_config(store.read_manifest_bytes(part.manifest.config.digest))
    is_encoder = config.get("model_task") == "embedding"
    trained = facts.integer(f"{facts.architecture}.context_length") or DEFAULT_CONTEXT_WINDOW
    window = min(trained, DEFAULT_CONTEXT_WINDOW)
    chunk = window if is_encoder else min(DEFAULT_PREFILL_CHUNK, window)
    sizes = (config.get("context_window_size"), config.get("prefill_chunk_size"))
    return sizes == (window, chunk) and template == (None if is_encoder else facts.template)
