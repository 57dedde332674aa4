"""One replica of a model on some machine of a Ray cluster: `LlamaCpp`, asked through Ray Serve.

The machine opens the blobs in the store itself: in a folder that it shares, or in a bucket, through
its own cache. Errors are answers here, because Ray would wrap them in its own. Must not know who
asks, nor Ray's client side.
"""

import asyncio
import contextlib
import platform
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from typing import Any, Final

from transom_api.engine import (
    Done,
    EngineError,
    EngineFailed,
    GenerateRequest,
    Input,
    LoadOptions,
    ModelFiles,
    TokenEvent,
)
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.store import BlobNotFound, open_store

# Around a text in what Ray says of a replica that did not start.
MARK: Final = "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}transom"
END_MARK: Final = "transom\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"
# Events that wait for the next look; a stream that nobody reads stops the model there.
MAX_AHEAD: Final = 1024
DIGEST: Final = "sha256:"

Piece = TokenEvent | Done | TransomError


@dataclass(frozen=True, slots=True)
class Source:
    """What a replica runs. `files` are digests, `store` is a location as in the settings."""

    name: str
    store: str
    files: ModelFiles
    options: LoadOptions
    version: str


class Replica:
    """What Ray Serve starts."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loading = threading.Lock()
        self._fault: str | None = None
        try:
            self._engine = _load(source)
        except TransomError as error:
            # Of a failed start Ray keeps the text only.
            raise RuntimeError(f"{MARK}{error}{END_MARK}") from None

    def __del__(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.close()

    def check_health(self) -> None:
        """Ray starts another one in the place of whoever raises here."""
        if self._fault is not None:
            raise RuntimeError(self._fault)

    def _alive(self) -> LlamaCpp:
        """The model, loaded again when its process has ended."""
        with self._loading:
            if not self._engine.alive():
                self._engine.close()
                try:
                    self._engine = _load(self._source)
                except TransomError as error:
                    self._fault = str(error)
                    raise
            return self._engine

    async def facts(self) -> Any:
        return self._engine.facts

    async def resident_bytes(self) -> int:
        return await asyncio.to_thread(self._engine.resident_bytes)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[list[Piece]]:
        """Pieces as they come, those that are there at once in one list; an error is the last."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        room = threading.Semaphore(MAX_AHEAD)
        gone = threading.Event()

        def put(piece: Piece | None) -> None:
            while not room.acquire(timeout=0.1):
                if gone.is_set():
                    return
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def work() -> None:
            try:
                with closing(self._alive().generate(request, gone.is_set)) as events:
                    for event in events:
                        put(event)
            except TransomError as error:
                put(_portable(error))
            except Exception as error:
                put(EngineFailed(f"the model's machine failed: {error}"))
            finally:
                put(None)

        threading.Thread(target=work, name="transom-replica", daemon=True).start()
        try:
            ended = False
            while not ended:
                batch: list[Piece] = []
                piece = await pieces.get()
                while True:
                    room.release()
                    ended = piece is None
                    if piece is not None:
                        batch.append(piece)
                    if ended or pieces.empty():
                        break
                    piece = pieces.get_nowait()
                if batch:
                    yield batch
        finally:
            # Ended, or cancelled because nobody reads any more.
            gone.set()

    async def embed(self, inputs: Sequence[Input]) -> Any:
        return await self._told(lambda gone: self._alive().embed(inputs, gone))

    async def rerank(self, query: str, documents: Sequence[str]) -> Any:
        return await self._told(lambda gone: self._alive().rerank(query, documents, gone))

    async def tokenize(self, text: str, special: bool, around: bool) -> Any:
        return await self._told(
            lambda gone: self._alive().tokenize(text, special=special, around=around)
        )

    async def detokenize(self, tokens: Sequence[int]) -> Any:
        return await self._told(lambda gone: self._alive().detokenize(tokens))

    async def _told(self, work: Callable[[Callable[[], bool]], Any]) -> Any:
        """What it gives, or the error as a value."""
        gone = threading.Event()
        try:
            return await asyncio.to_thread(work, gone.is_set)
        except TransomError as error:
            return _portable(error)
        finally:
            gone.set()


def _load(source: Source) -> LlamaCpp:
    here = version("transom")
    where = platform.node()
    if here != source.version:
        raise EngineError(
            f"{where} has transom {here}, and the server {source.version}; install the same one"
        )
    store = open_store(source.store)

    def path(text: str) -> str:
        if not text.startswith(DIGEST):
            return text
        try:
            return str(store.blob_path(Digest.parse(text)))
        except BlobNotFound:
            raise EngineError(
                f"{where} does not find {source.name} in {source.store}; every machine of the "
                "cluster needs the store: a shared folder at this path, or a bucket"
            ) from None

    return LlamaCpp(located(source.files, path), source.options, lambda: False)


def located(files: ModelFiles, path: Callable[[str], str]) -> ModelFiles:
    """The same files, each by what `path` makes of it."""
    found: dict[str, Any] = {}
    for field in fields(files):
        value = getattr(files, field.name)
        if isinstance(value, str):
            found[field.name] = path(value)
        elif isinstance(value, tuple):
            found[field.name] = tuple(
                path(each) if isinstance(each, str) else each for each in value
            )
    return replace(files, **found)


def _portable(error: TransomError) -> TransomError:
    """An error that another process can read: without what caused it."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
