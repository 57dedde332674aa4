"""One request to a stored model, from messages to tokens: store, template, engine.

Knows the order and no HTTP; what a request says is `transom_api`'s business.
"""

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from transom_api.chat import Chat
from transom_api.engine import (
    Cancelled,
    Done,
    GenerateRequest,
    LoadEngine,
    LoadOptions,
    ModelFiles,
    TokenEvent,
)
from transom_api.lengths import check_length, check_text
from transom_api.ollama.generation import DEFAULT_KEEP_SECONDS
from transom_api.prompting import ModelDefaults, Plan, plan
from transom_api.raw_text import as_text
from transom_models.name import ModelName
from transom_server.engines.budget import Budget
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.loaded import InUse, LoadedModels
from transom_server.engines.loaded_model import ModelKey
from transom_server.engines.loading import loading_of
from transom_server.engines.native_model import (
    NativeModel,
    chat_template,
    files_of,
    read_native_model,
)
from transom_server.engines.needs import needed_bytes
from transom_server.engines.template_process import TemplateProcess
from transom_server.engines.waiting import WaitingLine
from transom_server.store import Store


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is loaded. `seconds` is 0 when it was before."""

    seconds: float


class NativeModels:
    """Every model of a store, run natively. Threads may share it."""

    def __init__(
        self,
        store: Store,
        load: LoadEngine = LlamaCpp,
        *,
        loading: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
        budget: Budget | None = None,
        line: WaitingLine | None = None,
        client: Callable[[], str] = lambda: "",
        heard: Callable[[Done], None] = lambda done: None,
    ) -> None:
        """`loading`: what counts where neither a request nor the model says. `client`: who asks in
        this thread; `heard` is told of each end. Without a budget memory is not counted."""
        self._heard = heard
        self._store = store
        self._loading = loading
        self._templates = TemplateProcess()
        # Requests bring templates, too; one that is slow shall keep nobody's model waiting.
        self._brought = TemplateProcess()
        self.loaded: LoadedModels[NativeModel] = LoadedModels(
            load,
            budget=budget,
            line=line,
            needs=lambda key: needed_bytes(store, key.tag, key.options) if budget else 0,
            client=client,
        )

    def close(self) -> None:
        """Let go of all models; requests that run end with an error."""
        self.loaded.close()
        self._templates.close()
        self._brought.close()

    def load(self, chat: Chat, cancelled: Cancelled) -> Loaded:
        """Load a model and keep it as asked."""
        model = read_native_model(self._store, ModelName.parse(chat.model))
        with self._use(model, chat, cancelled) as used:
            return Loaded(used.load_seconds)

    def unload(self, name: str) -> None:
        """Let go of a model. Raises `ModelNotFound`; no error when it was not loaded."""
        self.loaded.unload(str(self._store.get_index(ModelName.parse(name)).name))

    def converse(
        self, chat: Chat, cancelled: Cancelled
    ) -> Generator[Loaded | Plan | TokenEvent | Done, None, None]:
        """`Loaded`, the `Plan`, then what the engine says. Closing it ends the work."""
        with self._planned(chat, cancelled) as (used, planned):
            check_length(planned.request.prompt, used.engine.facts)
            yield Loaded(used.load_seconds)
            yield planned
            with closing(used.engine.generate(planned.request, used.cancelled)) as events:
                for event in events:
                    if isinstance(event, Done):
                        self._heard(event)
                    yield event

    def count_tokens(self, chat: Chat, cancelled: Cancelled) -> int:
        """Tokens of the prompt that this conversation becomes."""
        with self._planned(chat, cancelled) as (used, planned):
            check_text(planned.request.prompt)
            if not planned.request.images:
                return len(used.engine.tokenize(planned.request.prompt, around=True))
            # What a picture takes only its encoder knows.
            request = GenerateRequest(
                planned.request.prompt, images=planned.request.images, max_tokens=1
            )
            with closing(used.engine.generate(request, used.cancelled)) as events:
                return next(event.prompt_tokens for event in events if isinstance(event, Done))

    @contextmanager
    def _planned(self, chat: Chat, cancelled: Cancelled) -> Iterator[tuple[InUse, Plan]]:
        """The model of a conversation while it is used, and what it is asked."""
        model = read_native_model(self._store, ModelName.parse(chat.model))
        with self._use(model, chat, cancelled) as used:
            # Text alone needs none; a gap in it is filled as the template says.
            is_text = chat.raw_prompt is not None and chat.suffix is None
            template = None if is_text else chat_template(self._store, model)
            defaults = ModelDefaults(
                system=model.texts.system,
                messages=model.texts.messages,
                parameters=model.texts.parameters,
                template=template,
            )
            facts = used.engine.facts
            templates = self._templates if chat.template is None else self._brought
            yield (
                used,
                plan(
                    as_text(chat, defaults, facts),
                    defaults,
                    facts,
                    templates.render,
                    new_id=lambda: f"call_{secrets.token_hex(12)}",
                ),
            )

    @contextmanager
    def _use(self, model: NativeModel, chat: Chat, cancelled: Cancelled) -> Iterator[InUse]:
        loading = loading_of(self._store, model, chat.options, self._loading, task="generate")
        key = ModelKey(str(model.name), model.stored.digest, loading.options, model)
        keep = DEFAULT_KEEP_SECONDS if chat.keep_seconds is None else chat.keep_seconds

        def files() -> ModelFiles:
            loading.tell(str(model.name))
            return files_of(self._store, model)

        with self.loaded.use(key, files, keep, cancelled) as used:
            yield used
