"""The models of this browser and its host, as the core's operations need them. Knows no HTTP."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transom_api.chat import Audio, Chat, Image
from transom_api.engine import (
    Done,
    Embeddings,
    Input,
    ModelFacts,
    SchemaRefused,
    TokenEvent,
)
from transom_api.fields import InvalidField
from transom_api.lengths import check_length, check_text, most_bytes, within
from transom_api.ollama.capabilities import template_capabilities
from transom_api.ollama.listing import LoadedModel, TaggedModel
from transom_api.ollama.management import detail_rows
from transom_api.ollama.showing import lengths_info, shown_body
from transom_api.operations import Embed, ListedModel
from transom_api.prompting import ModelDefaults, Plan, check_files, plan
from transom_api.raw_text import as_text
from transom_models.modelfile import PARAMETERS, ParameterValue, check_parameters
from transom_models.name import InvalidName, ModelName
from transom_pyodide.errors import EngineSaid, ModelNotFound, WrongTask
from transom_pyodide.keeping import Keeping
from transom_pyodide.rendering import render
from transom_pyodide.wire import (
    Call,
    Engine,
    ask,
    events_of,
    facts_of,
    request_json,
    value_of,
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A model that is loaded. `name` is the engine's word for it."""

    name: str
    load_seconds: float
    task: str
    facts: ModelFacts
    defaults: ModelDefaults


class PageModels:
    """See the module."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keeping = Keeping(self._unload)

    async def open(
        self,
        model: str,
        task: str | None = "generate",
        options: Mapping[str, ParameterValue] | None = None,
    ) -> Opened:
        """Load a model where it is not loaded; `task` None: whatever it is made for. Raises
        `InvalidName`, `WrongTask`, `EngineSaid`."""
        name = str(ModelName.parse(model))
        opened = await ask(self._engine, "open", {"name": name})
        if task == "generate" and opened["task"] == "embed":
            raise WrongTask(
                f"{name} writes no text, it makes vectors (/v1/embeddings); ask another model"
            )
        _check_context(name, opened, options or {})
        return Opened(
            name=opened["name"],
            load_seconds=opened["loadSeconds"],
            task=opened["task"],
            facts=facts_of(opened),
            defaults=_defaults(opened),
        )

    def plan(self, chat: Chat, opened: Opened) -> Plan:
        """What the engine is asked. Raises as `prompting.plan`."""
        facts, defaults = opened.facts, opened.defaults
        if chat.raw_prompt is not None and chat.suffix is None:
            defaults = ModelDefaults(defaults.system, defaults.messages, defaults.parameters)
        asked = as_text(chat, defaults, facts)
        self._engine.rendering(opened.name)
        try:
            return plan(asked, defaults, facts, render, new_id=_call_id)
        except InvalidField as error:
            if not _has_files(chat):
                raise
            # No model sees or hears here, and one of a server may.
            raise EngineSaid(error, "invalid-request") from None
        finally:
            self._engine.rendering("")

    def complete(
        self, opened: Opened, planned: Plan, take: Callable[[Sequence[TokenEvent | Done]], None]
    ) -> Call:
        """Begin an answer; `take` gets its events, those together that came together. Raises
        `ContextOverflow`."""
        check_length(planned.request.prompt, opened.facts)
        request = request_json(opened.name, planned.request)
        return self._engine.complete(request, lambda text: take(events_of(text)))

    async def count_tokens(self, chat: Chat) -> int:
        """Of the prompt that the conversation becomes. Raises as `open` and `plan`."""
        await self._require_words(chat)
        opened = await self.open(chat.model, options=chat.options)
        prompt = self.plan(chat, opened).request.prompt
        check_text(prompt)
        return len(await self.tokenize(opened, prompt, special=True, around=True))

    async def embed(self, asked: Embed) -> tuple[Embeddings, float]:
        """Vectors, and the seconds that the loading took. The model is let go of where that is
        asked for."""
        opened = await self.open(asked.asked.model, "embed", asked.asked.options)
        self._keeping.begin(opened.name)
        try:
            return await self._embed(asked, opened)
        finally:
            await self._keeping.end(opened.name, asked.asked.keep_seconds)

    async def _embed(self, asked: Embed, opened: Opened) -> tuple[Embeddings, float]:
        if not asked.inputs:
            return Embeddings((), 0), opened.load_seconds
        if not asked.cuts:
            for each in asked.inputs:
                if isinstance(each, str):
                    check_length(each, opened.facts)
            return await self._vectors(opened, asked.inputs), opened.load_seconds
        most = opened.facts.context_tokens
        try:
            given = [await self._cut(opened, each, most) for each in asked.inputs]
            found = await self._vectors(opened, given)
        except EngineSaid as error:
            if error.code != "context-overflow":
                raise
            # A model that writes, too, wants room for one token more.
            given = [await self._cut(opened, each, most - 1) for each in asked.inputs]
            found = await self._vectors(opened, given)
        cut = tuple(number for number, each in enumerate(asked.inputs) if given[number] is not each)
        return Embeddings(found.vectors, found.tokens, cut), opened.load_seconds

    async def _vectors(self, opened: Opened, inputs: Sequence[Input]) -> Embeddings:
        payload = {"model": opened.name, "inputs": list(inputs)}
        found = await ask(self._engine, "embed", payload)
        vectors = tuple(tuple(map(float, row)) for row in found["vectors"])
        return Embeddings(vectors, found["tokens"])

    async def _cut(self, opened: Opened, given: Input, most: int) -> Input:
        """At most so many tokens, with those that the tokenizer puts at the end."""
        tokens: Sequence[int] = given if not isinstance(given, str) else ()
        if isinstance(given, str):
            text = given[: most_bytes(opened.facts)]
            tokens = await self.tokenize(opened, text, special=True, around=True)
        if len(tokens) <= most:
            return given
        around = await self.tokenize(opened, "", special=True, around=True)
        return within(tokens, most, around)

    async def tokenize(
        self, opened: Opened, text: str, *, special: bool, around: bool
    ) -> tuple[int, ...]:
        payload = {"model": opened.name, "text": text, "special": special, "around": around}
        return tuple(await ask(self._engine, "tokenize", payload))

    async def detokenize(self, opened: Opened, tokens: Sequence[int]) -> str:
        payload = {"model": opened.name, "tokens": list(tokens)}
        text: str = await ask(self._engine, "detokenize", payload)
        return text

    async def unload(self, model: str) -> None:
        """No error when it is not loaded. Raises `ModelNotFound`."""
        row, _ = await self._row(ModelName.parse(model))
        await ask(self._engine, "unload", {"model": row["name"]})

    async def load(self, chat: Chat) -> None:
        """Load a model and keep it as the chat says. Raises as `open`."""
        async with self.opened(chat):
            pass

    @contextlib.asynccontextmanager
    async def opened(self, chat: Chat) -> AsyncIterator[Opened]:
        """The chat's model, loaded; afterwards it is kept as the chat says. Raises as `open`."""
        await self._require_words(chat)
        opened = await self.open(chat.model, options=chat.options)
        self._keeping.begin(opened.name)
        try:
            yield opened
        finally:
            await self._keeping.end(opened.name, chat.keep_seconds)

    async def _require_words(self, chat: Chat) -> None:
        """No model sees or hears in a page: none is fetched and loaded to say so. A server gets the
        request. Raises `ModelNotFound`, `EngineSaid`."""
        if not _has_files(chat):
            return
        row, _ = await self._row(ModelName.parse(chat.model))
        if row["loadedBytes"] is None:
            try:
                check_files(chat, ModelFacts(0))
            except InvalidField as error:
                raise EngineSaid(error, "invalid-request") from None

    async def _unload(self, name: str) -> None:
        # Answers are there, whatever becomes of the model.
        with contextlib.suppress(EngineSaid):
            await ask(self._engine, "unload", {"model": name})

    async def listed(self) -> list[ListedModel]:
        """By name."""
        rows = await self._rows()
        return sorted((_listed(row, name) for row, name in rows), key=lambda row: row.name)

    async def find(self, name: ModelName) -> ListedModel:
        """Raises `ModelNotFound`."""
        return _listed(*await self._row(name))

    async def tagged(self) -> list[TaggedModel]:
        """The newest first."""
        rows = sorted(await self._rows(), key=lambda each: -each[0]["created"])
        return [
            TaggedModel(
                name=name,
                modified=row["created"],
                size=row["bytes"],
                digest=row["digest"].removeprefix("sha256:"),
                details=_details(row),
                capabilities=row["capabilities"],
            )
            for row, name in rows
        ]

    async def loaded(self) -> list[LoadedModel]:
        """On the graphics adapter, with all that they are."""
        found = []
        for row, name in await self._rows():
            if row["loadedBytes"] is None:
                continue
            try:
                # Rows have what a model was trained for.
                opened = await ask(self._engine, "open", {"name": row["name"]})
            except EngineSaid:
                # It has gone meanwhile.
                continue
            found.append(
                LoadedModel(
                    name=name,
                    size=row["loadedBytes"],
                    digest=row["digest"].removeprefix("sha256:"),
                    details=_details(row),
                    expires=self._keeping.expires(row["name"]),
                    gpu_bytes=row["loadedBytes"],
                    context_tokens=opened["contextTokens"],
                )
            )
        return found

    async def shown(self, name: ModelName) -> dict[str, Any]:
        """What is known without loading it; its texts only where it is loaded. Raises
        `ModelNotFound`."""
        row, found = await self._row(name)
        opened = None
        if row["loadedBytes"] is not None:
            opened = await ask(self._engine, "open", {"name": row["name"]})
        texts = ModelDefaults() if opened is None else _defaults(opened)
        details, capabilities = row["details"], list(row["capabilities"])
        if opened is not None and not details:
            # Of a file that was brought in nobody said anything; it is seen now.
            details = {"context_length": opened["contextTokens"]}
            found_in = template_capabilities(texts.template or "")
            capabilities += [word for word in found_in if word not in capabilities]
        place = "is kept in this browser" if row["isStored"] else "is on this page's host"
        return shown_body(
            license_text=None if opened is None else opened["license"],
            modelfile=f"# {found} {place}\nFROM {found}\n",
            parameters=texts.parameters,
            template=texts.template,
            system=texts.system,
            details=_details({"details": details}),
            messages=texts.messages,
            model_info=lengths_info(
                details.get("family") or "",
                details.get("context_length"),
                details.get("embedding_length"),
            ),
            capabilities=capabilities,
            modified=row["created"],
        )

    async def _rows(self) -> list[tuple[Mapping[str, Any], ModelName]]:
        """Each with its name; one whose name nobody could ask for is left out."""
        found = []
        for row in await ask(self._engine, "models", None):
            try:
                found.append((row, ModelName.parse(row["name"])))
            except InvalidName:
                continue
        return found

    async def _row(self, wanted: ModelName) -> tuple[Mapping[str, Any], ModelName]:
        for row, name in await self._rows():
            if name.folded == wanted.folded:
                return row, name
        raise ModelNotFound(f"no model {wanted} in this browser, nor on its host")


def _check_context(
    name: str, opened: Mapping[str, Any], options: Mapping[str, ParameterValue]
) -> None:
    """A smaller one than it has takes nothing away. Raises `EngineSaid` for a larger one."""
    asked, has = options.get("num_ctx"), opened["contextTokens"]
    if isinstance(asked, int) and asked > has:
        words = f"{name} has a context of {has} tokens in this browser, not of {asked}"
        raise EngineSaid(InvalidField("num_ctx", f"{words}; ask for less"), "invalid-request")


def _call_id() -> str:
    return f"call_{os.urandom(12).hex()}"


def _has_files(chat: Chat) -> bool:
    """Whether there are pictures or sounds in it."""
    return any(isinstance(part, Image | Audio) for each in chat.messages for part in each.parts)


async def result_of(completion: Call, planned: Plan) -> None:
    """Wait for its end. Raises `EngineSaid`."""
    try:
        value_of("complete", await completion.done)
    except EngineSaid as said:
        held = planned.request.json_schema is not None or planned.request.grammar is not None
        if said.code == "invalid-request" and held:
            # All else was checked before; what an answer can be held to only the engine knows.
            raise EngineSaid(SchemaRefused(str(said)), said.code) from None
        raise


def _defaults(opened: Mapping[str, Any]) -> ModelDefaults:
    known = {key: value for key, value in opened["parameters"].items() if key in PARAMETERS}
    return ModelDefaults(
        system=opened["system"],
        messages=tuple((role, content) for role, content in opened["messages"]),
        parameters=check_parameters(known),
        template=opened["template"],
    )


def _listed(row: Mapping[str, Any], name: ModelName) -> ListedModel:
    return ListedModel(str(name), row["created"], name.namespace)


def _details(row: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of the server's."""
    details = row["details"]
    texts = ("format", "family", "parameter_size", "quantization_level")
    lengths = ("context_length", "embedding_length")
    rows = {key: details.get(key) or "" for key in texts}
    rows |= {key: details.get(key) for key in lengths}
    families = details.get("families")
    if not isinstance(families, list):
        families = [details["family"]] if details.get("family") else []
    return detail_rows(rows, families)
