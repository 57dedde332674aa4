"""An engine that says what it is told to, when it is told to. No model at all."""

import math
import threading
from collections.abc import Generator, Sequence

from transom_api.engine import (
    Cancelled,
    Done,
    Embeddings,
    EngineError,
    GenerateRequest,
    Input,
    LoadOptions,
    ModelFacts,
    ModelFiles,
    Ranking,
    RequestCancelled,
    TokenEvent,
)


class FakeEngine:
    """Says `pieces`, waiting for `go` before each but the first."""

    def __init__(self, pieces: Sequence[str], go: threading.Event, parallel: int = 1) -> None:
        self.facts = ModelFacts(context_tokens=64, parallel=parallel)
        self.requests: list[GenerateRequest] = []
        self.closed = threading.Event()
        self.cancelled = threading.Event()
        self.broken = False
        self._pieces, self._go = pieces, go

    def generate(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        self.requests.append(request)
        for number, piece in enumerate(self._pieces):
            while number and not self._go.wait(0.01):
                if cancelled():
                    self.cancelled.set()
                    raise RequestCancelled("nobody waits")
            yield TokenEvent((number,), piece.encode())
        yield Done("stop", 3, 0, len(self._pieces), 0.5, 0.25)

    def embed(self, inputs: Sequence[Input], cancelled: Cancelled) -> Embeddings:
        """The length of each input, as a direction."""
        rows = [(float(len(each)), 1.0) for each in inputs]
        lengths = [math.hypot(*row) for row in rows]
        unit = [(x / size, y / size) for (x, y), size in zip(rows, lengths, strict=True)]
        return Embeddings(tuple(unit), sum(len(each) for each in inputs))

    def rerank(self, query: str, documents: Sequence[str], cancelled: Cancelled) -> Ranking:
        """A document is as good as the query's words are in it."""
        words = query.split()
        scores = [float(sum(word in document for word in words)) for document in documents]
        return Ranking(tuple(scores), len(query) + sum(map(len, documents)))

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> tuple[int, ...]:
        """Bytes, with 256 around them."""
        return (*((256,) if around else ()), *text.encode())

    def detokenize(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token < 256).decode(errors="replace")

    def alive(self) -> bool:
        return not (self.broken or self.closed.is_set())

    def resident_bytes(self) -> int:
        return 1000

    def close(self) -> None:
        self.closed.set()


class FakeLoader:
    """Loads fake engines, all with the same words, and keeps them for the test to look at."""

    def __init__(self, *pieces: str) -> None:
        self.go = threading.Event()
        self.go.set()
        self.loaded: list[FakeEngine] = []
        self.options: list[LoadOptions] = []
        self.fails = False
        self.parallel = 1
        self._pieces = pieces

    def __call__(self, files: ModelFiles, options: LoadOptions, cancelled: Cancelled) -> FakeEngine:
        if self.fails:
            raise EngineError("it cannot be loaded")
        self.options.append(options)
        self.loaded.append(FakeEngine(self._pieces, self.go, self.parallel))
        return self.loaded[-1]
