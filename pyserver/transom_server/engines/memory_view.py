"""What loading a model would take, whether it fits, and which context would: told without loading.

Reads headers and what the machine says of itself; asks no running server.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from transom_api.engine import LoadOptions
from transom_models.name import ModelName
from transom_server.engines.budget import default_total, free_bytes
from transom_server.engines.llama_cpp import DEFAULT_CONTEXT_TOKENS
from transom_server.engines.loading import loading_of, weights_header
from transom_server.engines.memory import CELL_STEP, MemoryEstimate
from transom_server.engines.native_model import NativeModel, read_native_model
from transom_server.engines.needs import estimate_of
from transom_server.engines.slots import parallel_for
from transom_server.settings.config import Config
from transom_server.store import Store

# Contexts that are tried for the largest that fits; the answer is that exact.
_STEPS: Final = 64


@dataclass(frozen=True, slots=True)
class MemoryView:
    """`options` as the model would be loaded: its context and slots are always said. `asked_tokens`
    where more context was asked for than the model was trained for; `free` is what the machine
    has now, None where it does not say; `largest_tokens` the most context that fits, None: none."""

    name: ModelName
    options: LoadOptions
    asked_tokens: int | None
    trained_tokens: int | None
    estimate: MemoryEstimate
    budget: int
    free: int | None
    largest_tokens: int | None

    @property
    def fits(self) -> bool:
        """Into what all models may take, when nothing else is loaded."""
        return self.estimate.total <= self.budget

    @property
    def fits_now(self) -> bool:
        """Into what is free besides."""
        return self.fits and (self.free is None or self.estimate.total <= self.free)

    @property
    def parts(self) -> Mapping[str, int]:
        """Bytes by what they are for, without those that are 0."""
        return {name: count for name, count in asdict(self.estimate).items() if count}


def look_at_memory(
    store: Store, name: ModelName, config: Config, context: int | None = None
) -> MemoryView:
    """Raises `ModelNotFound`, `NotNative`, `BlobNotFound`, `InvalidGguf`, `Unestimated`."""
    model = read_native_model(store, name)
    otherwise = LoadOptions(parallel=config.parallel, kv_type=config.kv_type)
    asked = {} if context is None else {"num_ctx": context}
    loading = loading_of(store, model, asked, otherwise, task=None)
    said = loading.options
    options = _with(said, said.context_tokens or DEFAULT_CONTEXT_TOKENS)
    budget = default_total() if config.memory is None else config.memory
    free = free_bytes()
    facts = weights_header(store, model)
    trained = facts.integer(f"{facts.architecture}.context_length")
    room = budget if free is None else min(budget, free)
    return MemoryView(
        name=model.name,
        options=options,
        asked_tokens=loading.asked_tokens,
        trained_tokens=trained,
        estimate=estimate_of(store, model, options),
        budget=budget,
        free=free,
        largest_tokens=_largest(store, model, said, trained, room),
    )


def _largest(
    store: Store,
    model: NativeModel,
    said: LoadOptions,
    trained: int | None,
    room: int,
) -> int | None:
    most = trained or said.context_tokens or DEFAULT_CONTEXT_TOKENS
    step = max(CELL_STEP, -(-most // _STEPS // CELL_STEP) * CELL_STEP)
    context: int
    for context in (most, *range((most - 1) // step * step, 0, -step)):
        if estimate_of(store, model, _with(said, context)).total <= room:
            return context
    return None


def _with(said: LoadOptions, context: int) -> LoadOptions:
    parallel = said.parallel or parallel_for(context)
    return replace(said, context_tokens=context, parallel=parallel)
