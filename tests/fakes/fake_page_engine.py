"""The page's engine for tests of `transom_pyodide`: a deterministic stand-in that says what
`FakeEngine` says, in the messages of web/src/api-protocol.ts. No model at all."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

CONTEXT_TOKENS = 64
LOGPROB = -0.5


@dataclass
class FakePageEngine:
    """Says `pieces`, one event list each; `gate`, where there is one, is waited for before each but
    the first, and by calls of the `gated` kinds. `failures`: kind of call -> WireError."""

    pieces: Sequence[str] = ("one", " two", " three")
    rows: list[dict[str, Any]] = field(default_factory=list)
    opened: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    gate: asyncio.Event | None = None
    finish: str = "stop"
    calls: list[tuple[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    aborted: int = 0
    gated: Sequence[str] = ()
    aborted_calls: list[str] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)

    def call(self, kind: str, payload: str) -> "FakeCall":
        return FakeCall(self, kind, json.loads(payload))

    async def answer(self, kind: str, given: Any) -> str:
        await asyncio.sleep(0)
        self.calls.append((kind, given))
        if kind in self.gated:
            assert self.gate is not None
            await self.gate.wait()
        if kind in self.failures:
            return json.dumps({"error": self.failures[kind]})
        if kind in ("open", "unload") and self._row(given.get("name", given.get("model"))) is None:
            return json.dumps({"error": {"code": "model-not-found", "message": "no such model"}})
        return json.dumps({"value": getattr(self, f"_{kind}")(given)})

    def complete(self, payload: str, on_events: Callable[[str], None]) -> "FakeCompletion":
        given = json.loads(payload)
        self.requests.append(given)
        return FakeCompletion(self, given, on_events)

    def rendering(self, model: str) -> None:
        self.rendered.append(model)

    def _row(self, name: str) -> dict[str, Any] | None:
        full = name if ":" in name else f"{name}:latest"
        known = (full, f"library/{full}")
        return next((row for row in self.rows if row["name"] in known), None)

    def _models(self, given: None) -> list[dict[str, Any]]:
        return self.rows

    def _open(self, given: dict[str, Any]) -> dict[str, Any]:
        return {**opened_model(given["name"]), **self.opened}

    def _unload(self, given: dict[str, Any]) -> None:
        return None

    def _tokenize(self, given: dict[str, Any]) -> list[int]:
        return [*([256] if given["around"] else []), *given["text"].encode()]

    def _detokenize(self, given: dict[str, Any]) -> str:
        return bytes(token for token in given["tokens"] if token < 256).decode(errors="replace")

    def _embed(self, given: dict[str, Any]) -> dict[str, Any]:
        """The length of each input, as a direction."""
        sizes = [float(len(each)) for each in given["inputs"]]
        vectors = [[size / math.hypot(size, 1.0), 1.0 / math.hypot(size, 1.0)] for size in sizes]
        return {"vectors": vectors, "tokens": sum(len(each) for each in given["inputs"])}


class FakeCall:
    """Anything but an answer, on its way."""

    def __init__(self, engine: FakePageEngine, kind: str, given: Any) -> None:
        self._engine, self._kind = engine, kind
        self.done: Awaitable[str] = asyncio.ensure_future(engine.answer(kind, given))

    def abort(self) -> None:
        self._engine.aborted_calls.append(self._kind)


class FakeCompletion:
    """An answer on its way."""

    def __init__(
        self, engine: FakePageEngine, request: dict[str, Any], on_events: Callable[[str], None]
    ) -> None:
        self._engine, self._request, self._on_events = engine, request, on_events
        self._stopped = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    @property
    def done(self) -> Awaitable[str]:
        return asyncio.shield(self._task)

    def abort(self) -> None:
        self._engine.aborted += 1
        self._stopped.set()

    async def _run(self) -> str:
        engine = self._engine
        if "complete" in engine.failures:
            await asyncio.sleep(0)
            return json.dumps({"error": engine.failures["complete"]})
        choices = range(self._request["choices"])
        for number, piece in enumerate(engine.pieces):
            await asyncio.sleep(0)
            if number and engine.gate is not None:
                await _first(engine.gate.wait(), self._stopped.wait())
            if self._stopped.is_set():
                return json.dumps({"value": None})
            if "after" in engine.failures and number:
                return json.dumps({"error": engine.failures["after"]})
            self._on_events(json.dumps([self._token(choice, number, piece) for choice in choices]))
        self._on_events(json.dumps([self._done(choice) for choice in choices]))
        return json.dumps({"value": None})

    def _token(self, choice: int, number: int, piece: str) -> dict[str, Any]:
        logprobs = []
        if self._request["logprobs"] is not None:
            token = {"id": number, "text": piece, "bytes": [*piece.encode()], "logprob": LOGPROB}
            logprobs.append({"chosen": token, "top": [token] * self._request["logprobs"]})
        return {
            "kind": "token",
            "choice": choice,
            "tokenIds": [number],
            "text": piece,
            "logprobs": logprobs,
            "promptTokens": 0,
        }

    def _done(self, choice: int) -> dict[str, Any]:
        return {
            "kind": "done",
            "choice": choice,
            "finishReason": self._engine.finish,
            "promptTokens": 3,
            "cachedTokens": 0,
            "completionTokens": len(self._engine.pieces),
            "promptSeconds": 0.5,
            "completionSeconds": 0.25,
            "stop": None,
        }


async def _first(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def model_row(name: str, **more: Any) -> dict[str, Any]:
    """A `ModelRow`."""
    return {
        "name": name,
        "created": 1_700_000_000,
        "bytes": 100,
        "digest": f"sha256:{'0' * 64}",
        "details": {"format": "webgpu", "family": "llama", "context_length": CONTEXT_TOKENS},
        "capabilities": ["completion"],
        "loadedBytes": None,
        "isStored": True,
        **more,
    }


def opened_model(name: str, **more: Any) -> dict[str, Any]:
    """An `OpenedModel`."""
    return {
        "name": name,
        "loadSeconds": 0,
        "engine": "webgpu",
        "contextTokens": CONTEXT_TOKENS,
        "vocabulary": None,
        "bos": "",
        "eos": "",
        "addsBos": False,
        "parallel": 1,
        "task": "generate",
        "template": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
        "system": None,
        "messages": [],
        "parameters": {},
        "license": None,
        **more,
    }


@dataclass
class KeptChannel:
    """What was said on a channel. `over` is set at its end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    refused: dict[str, Any] | None = None
    broken: bool = False
    heads: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def head(self, status: int, headers: str) -> None:
        self.heads += 1
        self.status, self.headers = status, dict(json.loads(headers))

    def write(self, text: str) -> None:
        assert self.heads == 1
        self.written.append(text)

    def end(self) -> None:
        assert self.heads == 1
        self.over.set()

    def break_off(self) -> None:
        assert self.heads == 1
        self.broken = True
        self.over.set()

    def refuse(self, error: str, status: int, headers: str, body: str) -> None:
        assert self.heads == 0
        self.refused = json.loads(error)
        self.status, self.headers = status, dict(json.loads(headers))
        self.written = [body]
        self.over.set()

    @property
    def text(self) -> str:
        return "".join(self.written)
