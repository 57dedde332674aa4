"""One request to a stored model, from messages to tokens: store, template, engine.

Knows the order and no HTTP; what a request says is `transom_api`'s business.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from transom_api import options
from transom_api.chat import Chat
from transom_api.engine import (
    Cancelled,
    Done,
    GenerateRequest,
    LoadEngine,
    LoadOptions,
    ModelFacts,
    TokenEvent,
)
from transom_api.ollama_generation import DEFAULT_KEEP_SECONDS, Asked, conversation
from transom_api.prompting import ModelDefaults, NoTemplate, Plan, plan
from transom_models.modelfile import ParameterValue, jinja_template
from transom_models.name import ModelName
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.loaded import InUse, LoadedModels, ModelKey
from transom_server.engines.native_model import (
    NativeModel,
    chat_template,
    files_of,
    read_native_model,
)
from transom_server.engines.template_process import TemplateProcess
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
    ) -> None:
        """`loading`: what counts where neither a request nor the model says."""
        self._store = store
        self._loading = loading
        self._templates = TemplateProcess()
        self.loaded: LoadedModels[NativeModel] = LoadedModels(load)

    def close(self) -> None:
        """Let go of all models; requests that run end with an error."""
        self.loaded.close()
        self._templates.close()

    def load(self, asked: Asked, cancelled: Cancelled) -> Loaded:
        """Load a model and keep it as asked."""
        model = read_native_model(self._store, ModelName.parse(asked.model))
        with self._use(model, asked, cancelled) as used:
            return Loaded(used.load_seconds)

    def unload(self, asked: Asked) -> None:
        """Let go of a model. Raises `ModelNotFound`; no error when it was not loaded."""
        self.loaded.unload(str(self._store.get_index(ModelName.parse(asked.model)).name))

    def converse(
        self, chat: Chat, cancelled: Cancelled
    ) -> Generator[Loaded | Plan | TokenEvent | Done, None, None]:
        """`Loaded`, the `Plan`, then what the engine says. Closing it ends the work."""
        with self._planned(chat, cancelled) as (used, planned):
            yield Loaded(used.load_seconds)
            yield planned
            with closing(used.engine.generate(planned.request, used.cancelled)) as events:
                yield from events

    def count_tokens(self, chat: Chat, cancelled: Cancelled) -> int:
        """Tokens of the prompt that this conversation becomes."""
        with self._planned(chat, cancelled) as (used, planned):
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
        key = self._key(model, {**model.texts.parameters, **chat.options})
        keep = DEFAULT_KEEP_SECONDS if chat.keep_seconds is None else chat.keep_seconds
        with self.loaded.use(key, lambda: files_of(self._store, model), keep, cancelled) as used:
            defaults = ModelDefaults(
                system=model.texts.system,
                messages=model.texts.messages,
                parameters=model.texts.parameters,
                # Text alone needs none; a gap in it is filled as the template says.
                template=None
                if chat.raw_prompt is not None and chat.suffix is None
                else chat_template(self._store, model),
            )
            yield used, plan(chat, defaults, used.engine.facts, self._templates.render)

    def answer(self, asked: Asked, cancelled: Cancelled) -> Iterator[Loaded | TokenEvent | Done]:
        """`Loaded`, then what the engine says. Closing it ends the work."""
        model = read_native_model(self._store, ModelName.parse(asked.model))
        with self._use(model, asked, cancelled) as used:
            yield Loaded(used.load_seconds)
            request = self._request(asked, model, used.engine.facts)
            with closing(used.engine.generate(request, used.cancelled)) as events:
                yield from events

    @contextmanager
    def _use(self, model: NativeModel, asked: Asked, cancelled: Cancelled) -> Iterator[InUse]:
        key = self._key(model, {**model.texts.parameters, **asked.options})
        keep = DEFAULT_KEEP_SECONDS if asked.keep_seconds is None else asked.keep_seconds
        with self.loaded.use(key, lambda: files_of(self._store, model), keep, cancelled) as used:
            yield used

    def _key(
        self, model: NativeModel, parameters: Mapping[str, ParameterValue]
    ) -> ModelKey[NativeModel]:
        loading = options.load_options_of(parameters, self._loading)
        return ModelKey(str(model.name), model.stored.digest, loading, model)

    def _request(self, asked: Asked, model: NativeModel, facts: ModelFacts) -> GenerateRequest:
        parameters = {**model.texts.parameters, **asked.options}
        return GenerateRequest(
            prompt=self._prompt(asked, model, facts),
            sampling=options.sampling_of(parameters),
            max_tokens=options.max_tokens_of(parameters),
            stop=options.stops_of(parameters),
            json_schema=asked.json_schema,
            images=asked.images,
        )

    def _prompt(self, asked: Asked, model: NativeModel, facts: ModelFacts) -> str:
        if asked.raw:
            (only,) = conversation(replace(asked, system=None), None, (), facts.image_marker)
            return str(only["content"])
        messages = conversation(asked, model.texts.system, model.texts.messages, facts.image_marker)
        if asked.template is not None:
            template: str | None = jinja_template(asked.template)
        else:
            template = chat_template(self._store, model)
        if template is None:
            if asked.kind == "generate" and len(messages) == 1:
                return str(messages[0]["content"])
            raise NoTemplate(
                f"{model.name} has no chat template; give it one (TEMPLATE in a Modelfile, "
                "`transom create`), or ask /api/generate with a prompt alone"
            )
        variables: dict[str, Any] = {}
        if asked.thinks is not None:
            variables["enable_thinking"] = asked.thinks
        prompt = self._templates.render(
            template, messages, bos=facts.bos, eos=facts.eos, variables=variables
        )
        # Templates that write it themselves would have it twice.
        return prompt.removeprefix(facts.bos) if facts.adds_bos and facts.bos else prompt
