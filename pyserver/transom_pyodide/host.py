"""Answers HTTP in the page: what a request means and how its answer looks is the core's, the models
are the engine's on the other side of the border.

    host = start(engine)
    handling = host.handle("POST", "/v1/chat/completions", headers_json, body_text, channel)
    handling.cancel()

One event loop; requests are answered side by side. What the page cannot do, and what its engine
fails at before anything was said, is refused, so that a server may do it; what is wrong with the
request itself is answered here.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from transom_api.addresses import MAX_BODY_BYTES, Found, NotAllowed, find
from transom_api.answering import Answering
from transom_api.chat import Chat
from transom_api.dialects import ANTHROPIC_HEADER
from transom_api.engine import Done, EngineFailed, TokenEvent
from transom_api.openai_responses.kept_responses import KeptResponses
from transom_api.operations import (
    Converse,
    CountTokens,
    Detokenize,
    Embed,
    FindModel,
    Json,
    ListLoaded,
    ListModels,
    Load,
    Operation,
    Say,
    ShowModel,
    TagModels,
    Tokenize,
    Unload,
)
from transom_api.reading import HttpRequest, Means, read
from transom_api.session import Writer
from transom_api.statuses import check_encoding, http_message
from transom_pyodide.errors import HttpError, OnlyServers
from transom_pyodide.http_answer import HttpAnswer
from transom_pyodide.models import PageModels, result_of
from transom_pyodide.wire import Call, Channel, Engine

# Conversations are in the page's memory, which a phone has little of.
MOST_KEPT_BYTES: Final = 32 * 1024 * 1024
# Scores need a model that this browser's engine does not run.
_SERVERS_ALONE: Final = (None, "rerank")
# Their bodies differ by it, under one address.
_VARYING: Final = (ListModels, FindModel)
_WHEEL: Final = re.compile(r".*/transom_host-([^-/]+)-[^/]*\.whl")


def start(engine: Engine) -> "Host":
    """A host of the engine's models."""
    return Host(engine)


class Handling:
    """A request that is being answered."""

    def __init__(self) -> None:
        self.completion: Call | None = None
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Nobody waits any more: the engine's work ends at once."""
        if self.completion is not None:
            self.completion.abort()
        if self.task is not None:
            self.task.cancel()


class Host:
    """See the module."""

    def __init__(self, engine: Engine) -> None:
        self._models = PageModels(engine)
        self._means = Means(
            now=time.time,
            ticks=time.monotonic_ns,
            token=lambda count: os.urandom(count).hex(),
            kept=KeptResponses(most_bytes=MOST_KEPT_BYTES),
            version=_version,
        )

    def handle(
        self, method: str, target: str, headers_json: str, body_text: str | None, channel: Channel
    ) -> Handling:
        """Begin to answer. `target` is path and query; all that is said goes to the channel."""
        handling = Handling()
        answer = HttpAnswer(method, target, json.loads(headers_json), channel)
        body = (body_text or "").encode(errors="replace")
        handling.task = asyncio.ensure_future(self._answer(answer, body, handling))
        return handling

    async def _answer(self, answer: HttpAnswer, body: bytes, handling: Handling) -> None:
        try:
            operation = self._read(answer, body)
            if isinstance(operation, NotAllowed):
                allow = ("Allow", ", ".join(operation.methods))
                answer.say(200, (("Content-Type", "text/html; charset=utf-8"), allow), b"")
            elif isinstance(operation, Converse):
                await self._converse(operation, answer, handling)
            elif isinstance(operation, Say):
                answer.say_json(operation.json, operation.status)
            else:
                found = await self._perform(operation)
                varies = isinstance(operation, _VARYING)
                answer.say_json(found, headers=(("Vary", ANTHROPIC_HEADER),) if varies else ())
        except Exception as error:
            answer.fail(error)
        finally:
            answer.over()

    def _read(self, answer: HttpAnswer, body: bytes) -> Operation | NotAllowed:
        """What is asked for; only the methods of an address, where only these are."""
        if len(body) > MAX_BODY_BYTES:
            raise HttpError(413, f"a body here can have {MAX_BODY_BYTES} bytes at most")
        check_encoding(answer.asked.headers.get("content-encoding"))
        path = answer.path
        found = find(answer.method, path)
        if found is None:
            raise HttpError(404, http_message(404, path))
        if isinstance(found, NotAllowed):
            if answer.method == "OPTIONS":
                return found
            raise HttpError(405, http_message(405, path), found.methods)
        if found.address.name in _SERVERS_ALONE:
            raise OnlyServers(f"{path:.200}: a page cannot do this, a Transom server can; ask one")
        if len(body) > found.address.most_bytes:
            raise HttpError(413, http_message(413, path))
        asked = answer.asked
        request = HttpRequest(asked.query, asked.headers, body)
        return read(Found(found.address, found.names), request, self._means)

    async def _converse(self, asked: Converse, answer: HttpAnswer, handling: Handling) -> None:
        rest = b""
        for chat, writer in asked.turns:
            rest = await self._turn(chat, writer, answer, handling)
        answer.more(rest)
        answer.end()

    async def _turn(
        self, chat: Chat, writer: Writer, answer: HttpAnswer, handling: Handling
    ) -> bytes:
        """What is left to say at its end."""
        answering = Answering(chat, writer)
        broken: list[Exception] = []

        def take(events: Sequence[TokenEvent | Done]) -> None:
            if broken:
                return
            try:
                answer.more(b"".join([answering.feed(event) for event in events]))
                answer.speaks()
            except Exception as error:
                # JavaScript would not know what to do with it.
                broken.append(error)
                if handling.completion is not None:
                    handling.completion.abort()

        async with self._models.opened(chat) as opened:
            answering.loaded(opened.load_seconds)
            planned = self._models.plan(chat, opened)
            answering.planned(planned)
            answer.begins(answering)
            try:
                handling.completion = self._models.complete(opened, planned, take)
                await result_of(handling.completion, planned)
            finally:
                handling.completion = None
        if broken:
            raise broken[0]
        if not answering.is_over:
            raise EngineFailed("the engine ended in the middle of the answer")
        return answering.end()

    async def _perform(self, operation: Any) -> Json:
        """The JSON of an answer that is no conversation."""
        models = self._models
        body: Json
        match operation:
            case CountTokens():
                body = operation.body(await models.count_tokens(operation.chat))
            case Load():
                await models.load(operation.chat)
                body = operation.body()
            case Unload():
                await models.unload(operation.model)
                body = operation.body()
            case Embed():
                body = operation.body(*await models.embed(operation))
            case Tokenize():
                opened = await models.open(operation.model, None)
                special, around = operation.special, operation.around
                found = models.tokenize(opened, operation.text, special=special, around=around)
                body = operation.body(await found, opened.facts.context_tokens)
            case Detokenize():
                opened = await models.open(operation.model, None)
                body = operation.body(await models.detokenize(opened, operation.tokens))
            case ListModels():
                body = operation.body(await models.listed())
            case FindModel():
                body = operation.body(await models.find(operation.name))
            case TagModels():
                body = operation.body(await models.tagged())
            case ShowModel():
                body = await models.shown(operation.name)
            case ListLoaded():
                body = operation.body(await models.loaded())
            case _:
                raise AssertionError(operation)
        return body


def _version() -> str:
    """Of our wheel, which is on the path under its whole name; elsewhere, of the installed
    distribution."""
    for entry in sys.path:
        wheel = _WHEEL.fullmatch(entry)
        if wheel is not None:
            return wheel[1]
    from importlib.metadata import version

    return version("transom")
