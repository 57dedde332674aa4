"""llama.cpp on the files of one model, in a child process (`llama_cpp_process.py`).

Native code that dies must not take the server along: the child is watched, and what it leaves is
one clear error for each of its requests. llama.cpp's own HTTP server runs in it, with a slot for
each of a few requests at once; we send it finished prompts and read tokens as they come. Must not
know names, stores, templates or dialects.
"""

import array
import base64
import importlib.util
import secrets
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Final

from transom_api.engine import (
    Cancelled,
    ContextOverflow,
    Done,
    Embeddings,
    EngineError,
    EngineFailed,
    GenerateRequest,
    Input,
    LoadFailed,
    LoadOptions,
    ModelFacts,
    ModelFiles,
    Ranking,
    RequestCancelled,
    TokenEvent,
    UnknownToken,
)
from transom_server.engines import llama_cpp_wire as wire
from transom_server.engines.llama_cpp_client import LlamaCppClient
from transom_server.engines.llama_cpp_process import LlamaCppProcess
from transom_server.engines.llama_cpp_watch import GrammarWatch, Prompts, Watch
from transom_server.engines.slots import Lease, Slots, parallel_for

# Ollama's on a machine without a large graphics card.
DEFAULT_CONTEXT_TOKENS: Final = 4096
# llama.cpp's log comes a little late.
LOG_TIMEOUT_SECONDS: Final = 10
# Texts embedded between two looks at whether anybody still waits.
EMBED_BATCH: Final = 32
# Engines keep a seed in 32 bits, and the largest one means another seed each time.
_SEEDS: Final = 2**32 - 1

_MISSING: Final = "llama.cpp is missing; install it with: pip install 'transom[native]'"


class LlamaCpp:
    """A loaded model. Threads may share it."""

    def __init__(self, files: ModelFiles, options: LoadOptions, cancelled: Cancelled) -> None:
        """Loads; takes as long as the disk does. Raises `EngineError`."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError(_MISSING)
        context = options.context_tokens or DEFAULT_CONTEXT_TOKENS
        parallel = options.parallel or parallel_for(context)
        self._slots = Slots(parallel)
        key = secrets.token_urlsafe(24)
        self._child = LlamaCppProcess(self._slots.hear)
        try:
            self._child.order(
                {
                    **asdict(files),
                    **asdict(options),
                    "context_tokens": context,
                    "parallel": parallel,
                    "key": key,
                }
            )
            self._client = LlamaCppClient(self._child, self._address(files, cancelled), key)
            meta = self._client.ask("GET", "/v1/models")["data"][0]["meta"]
            self.facts = self._ask_facts(parallel, meta["n_vocab"], len(files.adapters))
            self._client.context_is_whole = meta["n_ctx_train"] <= self.facts.context_tokens
            self._watch = Watch(self._client.responds, self._child.end)
            self._prompts = Prompts()
            self._held: set[GrammarWatch] = set()
        except BaseException:
            self._child.close()
            raise

    def alive(self) -> bool:
        return self._child.alive()

    def resident_bytes(self) -> int:
        return self._child.resident_bytes()

    def close(self) -> None:
        self._child.close()

    def generate(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        """See `Engine`. The child stops computing when we stop reading."""
        cancelled = self._watch.over(cancelled)
        at_once = self.facts.parallel
        for start in range(0, request.choices, at_once):
            some = replace(request, choices=min(at_once, request.choices - start))
            if start and request.sampling.seed >= 0:
                seed = (request.sampling.seed + start) % _SEEDS
                some = replace(some, sampling=replace(request.sampling, seed=seed))
            lease = self._slots.take(request.prompt, some.choices, cancelled)
            yield from self._run(some, start, lease, cancelled)

    def embed(self, inputs: Sequence[Input], cancelled: Cancelled) -> Embeddings:
        """See `Engine`."""
        cancelled = self._watch.over(cancelled)
        vectors: list[tuple[float, ...]] = []
        tokens = 0
        for each in inputs:
            self._check_tokens(() if isinstance(each, str) else each)
        for start in range(0, len(inputs), EMBED_BATCH):
            batch = [
                each if isinstance(each, str) else list(each)
                for each in inputs[start : start + EMBED_BATCH]
            ]
            body = {"input": batch, "encoding_format": "base64"}
            answer = self._client.compute("/v1/embeddings", body, cancelled)
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            vectors += [tuple(array.array("f", base64.b64decode(row["embedding"]))) for row in rows]
            tokens += int(answer["usage"]["prompt_tokens"])
        return Embeddings(tuple(vectors), tokens)

    def rerank(self, query: str, documents: Sequence[str], cancelled: Cancelled) -> Ranking:
        """See `Engine`."""
        if not documents:
            return Ranking((), 0)
        body = {"query": query, "documents": list(documents)}
        answer = self._client.compute("/v1/rerank", body, self._watch.over(cancelled))
        scores = {int(row["index"]): float(row["relevance_score"]) for row in answer["results"]}
        ordered = tuple(scores[number] for number in range(len(documents)))
        return Ranking(ordered, int(answer["usage"]["prompt_tokens"]))

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> tuple[int, ...]:
        """See `Engine`."""
        body = {"content": text, "add_special": around, "parse_special": special}
        return tuple(self._client.ask("POST", "/tokenize", body)["tokens"])

    def detokenize(self, tokens: Sequence[int]) -> str:
        """See `Engine`."""
        self._check_tokens(tokens)
        return str(self._client.ask("POST", "/detokenize", {"tokens": list(tokens)})["content"])

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        most = self.facts.vocabulary
        for token in tokens:
            if most is not None and not 0 <= token < most:
                raise UnknownToken(f"there is no token {token}; this model has {most}")

    def _run(
        self, request: GenerateRequest, offset: int, lease: Lease, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        """Choices in slots of their own, numbered from `offset`; gives the slots back."""
        begun = finished = refused = False
        stops = set(request.stop_token_ids)
        open_choices = set(range(request.choices))
        watch = GrammarWatch(self._child.end, self._prompts)
        prompt = self._prompts.begin()
        if request.grammar is not None:
            cancelled = watch.over(cancelled)
            self._held.add(watch)
        try:
            body = wire.completion(request, self.facts, lease.first.number, request.choices)
            with closing(self._client.events("/completion", body, cancelled)) as stream:
                while open_choices:
                    rows = next(stream)
                    if any(map(wire.is_prompt_read, rows)):
                        self._prompts.end(prompt)
                    events = [row for row in rows if "prompt_progress" not in row]
                    watch.heard()
                    if not events:
                        continue
                    if not begun:
                        begun = True
                        self._check_schema(request, lease)
                    steps: list[TokenEvent | Done] = []
                    for event in events:
                        choice = event["index"]
                        if choice not in open_choices:
                            continue
                        is_stopped = not stops.isdisjoint(event["tokens"])
                        if is_stopped:
                            event["content"] = self._without(event, stops)
                        is_end = bool(event["stop"]) or is_stopped
                        # A last event may bring text that was held back for a stop text.
                        if event["content"] or not is_end:
                            steps.append(wire.token_event(event, choice + offset, request.logprobs))
                        if is_end:
                            open_choices.discard(choice)
                            finished = bool(event["stop"]) and not open_choices and not stops
                            steps.append(wire.done(event, choice + offset))
                    yield from wire.joined(steps)
        except EngineError as error:
            # A prompt is measured by whoever takes it up; other refusals come before.
            is_late = isinstance(error, RequestCancelled | EngineFailed | ContextOverflow)
            refused = not begun and not is_late
            if watch.has_ended and self._held == {watch}:
                # Among several nobody knows which one it was.
                raise wire.grammar_refused() from error
            raise
        finally:
            self._held.discard(watch)
            self._prompts.end(prompt)
            self._slots.give_back(lease, refused=refused, finished=finished)

    def _without(self, event: wire.Event, stops: set[int]) -> str:
        """The text of an event without that of the token which ends the answer."""
        text = str(event["content"])
        for token in event["tokens"]:
            if token in stops:
                text = text.removesuffix(self.detokenize([token]))
        return text

    def _check_schema(self, request: GenerateRequest, lease: Lease) -> None:
        """Raise `SchemaRefused` when llama.cpp passed over the schema of a request it answers."""
        if request.json_schema is None and request.grammar is None:
            return
        try:
            fault = self._slots.fault(lease, LOG_TIMEOUT_SECONDS)
        except TimeoutError:
            raise EngineFailed("llama.cpp does not tell whether it took the request") from None
        if fault is not None:
            raise wire.schema_refused(fault)

    def _address(self, files: ModelFiles, cancelled: Cancelled) -> str:
        try:
            return self._child.address(cancelled)
        except RequestCancelled:
            raise
        except EngineError as error:
            # Whoever asked has no business with where files lie here.
            reason = str(error)
            for name in ("weights", "projector", "draft"):
                if path := getattr(files, name):
                    reason = reason.replace(path, f"its {name}")
            for path in files.adapters:
                reason = reason.replace(path, "its adapter")
            raise LoadFailed(reason) from None

    def _ask_facts(self, parallel: int, vocabulary: int, adapters: int) -> ModelFacts:
        properties = self._client.ask("GET", "/props")
        bos = properties["bos_token"]
        added = self.tokenize("", around=True)
        alone = self.tokenize(bos)
        sees, hears = (properties["modalities"][kind] for kind in ("vision", "audio"))
        return ModelFacts(
            context_tokens=properties["default_generation_settings"]["n_ctx"],
            bos=bos,
            eos=properties["eos_token"],
            adds_bos=bool(bos) and added[:1] == alone[:1],
            image_marker=properties["media_marker"] if sees else None,
            sound_marker=properties["media_marker"] if hears else None,
            parallel=parallel,
            vocabulary=vocabulary,
            adapters=adapters,
            gpu_bytes=self._child.gpu_bytes,
        )
