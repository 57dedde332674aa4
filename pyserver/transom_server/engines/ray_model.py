"""One model of a Ray cluster: an `Engine` whose work is done by Ray Serve's replicas.

It is a Serve application with one deployment, which Ray places where there is memory for it, starts
anew elsewhere when a machine goes, and makes more of under load. Must not know templates, dialects
or other models.
"""

import contextlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ray import serve
from ray.exceptions import RayActorError, TaskCancelledError

from transom_api.engine import (
    Cancelled,
    Done,
    Embeddings,
    EngineError,
    EngineFailed,
    GenerateRequest,
    Input,
    ModelFacts,
    Ranking,
    RequestCancelled,
    TokenEvent,
)
from transom_models.errors import TransomError
from transom_server.engines.budget import gigabytes
from transom_server.engines.ray_replica import END_MARK, MARK, Replica, Source

POLL_SECONDS: Final = 0.1
STATUS_SECONDS: Final = 0.5
# A replica that finds no machine for so long waits for memory that others hold.
PLACE_SECONDS: Final = 120.0
# Questions that need no computing.
ANSWER_SECONDS: Final = 60.0
# A replica died before a request had its first token: another one is asked, so often.
TRIES: Final = 4
PAUSE_SECONDS: Final = 0.5
MAX_AHEAD: Final = 1024
# How full replicas are when Ray starts another one.
FULL_SHARE: Final = 0.8
# A replica that is not asked any more goes after so long, down to the least.
IDLE_SECONDS: Final = 300.0
_MARKED: Final = re.compile(f"{MARK}(.*?){END_MARK}", re.DOTALL)
_GONE: Final = "the machine that ran the model has gone; ask again, and another one answers"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many of each model there are, at least and at most."""

    least: int = 1
    most: int = 1


class RayModel:
    """An `Engine`: one model of the cluster, however many replicas it has. Threads may share it."""

    def __init__(
        self, name: str, source: Source, needed: int, replicas: Replicas, cancelled: Cancelled
    ) -> None:
        """Loads. Raises `EngineError`."""
        self._name, self._needed = name, needed
        self._closed = threading.Event()
        self._running = self._resident = 0
        self._watcher = threading.Thread(target=self._watch, name="ray-model", daemon=True)
        parallel = source.options.parallel
        assert parallel is not None
        deployment = serve.deployment(
            Replica,
            name="model",
            num_replicas=replicas.least if replicas.least == replicas.most else None,
            autoscaling_config=None
            if replicas.least == replicas.most
            else {
                "min_replicas": replicas.least,
                "max_replicas": replicas.most,
                "target_ongoing_requests": max(1.0, parallel * FULL_SHARE),
                "upscale_delay_s": 5.0,
                "downscale_delay_s": IDLE_SECONDS,
            },
            max_ongoing_requests=parallel,
            max_constructor_retry_count=1,
            ray_actor_options={"num_cpus": source.options.threads or 1, "memory": needed},
            health_check_period_s=2.0,
            health_check_timeout_s=10.0,
            graceful_shutdown_timeout_s=5.0,
            graceful_shutdown_wait_loop_s=0.5,
        )
        target = serve.RunTarget(deployment.bind(source), name=name, route_prefix=None)
        try:
            (self._handle,) = serve.run_many([target], wait_for_applications_running=False)
            self._wait(cancelled)
            facts = self._ask("facts", cancelled)
            assert isinstance(facts, ModelFacts)
            # As many as all replicas that there may be: those that wait make Ray start them.
            self.facts = replace(facts, parallel=facts.parallel * replicas.most)
        except BaseException:
            self.close()
            raise
        self._watcher.start()

    def alive(self) -> bool:
        """Replicas come back by themselves: it lives until it is let go of."""
        return not self._closed.is_set()

    def resident_bytes(self) -> int:
        """Of all replicas, as last seen; before that, what was kept free for them."""
        return self._running * (self._resident or self._needed)

    def close(self) -> None:
        """See `Engine`."""
        if self._closed.is_set():
            return
        self._closed.set()
        # The cluster may have gone first.
        with contextlib.suppress(Exception):
            serve.delete(self._name, _blocking=False)
        # Whoever asks after the end would make Ray join the cluster again.
        if self._watcher.ident is not None:
            self._watcher.join(ANSWER_SECONDS)

    def generate(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        """See `Engine`."""
        for tries in range(TRIES):
            begun = False
            try:
                for event in self._stream(request, cancelled):
                    begun = True
                    yield event
                return
            except _Gone:
                # Nothing was told of it yet: whoever comes in its place is asked.
                if begun or tries + 1 == TRIES or self._closed.is_set():
                    raise EngineFailed(_GONE) from None
                _LOG.warning("%s: a machine has gone; another one is asked", self._name)
                self._closed.wait(PAUSE_SECONDS)

    def embed(self, inputs: Sequence[Input], cancelled: Cancelled) -> Embeddings:
        """See `Engine`."""
        found = self._ask("embed", cancelled, list(inputs))
        assert isinstance(found, Embeddings)
        return found

    def rerank(self, query: str, documents: Sequence[str], cancelled: Cancelled) -> Ranking:
        """See `Engine`."""
        found = self._ask("rerank", cancelled, query, list(documents))
        assert isinstance(found, Ranking)
        return found

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> tuple[int, ...]:
        """See `Engine`."""
        return tuple(self._ask("tokenize", _deadline(), text, special, around))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """See `Engine`."""
        return str(self._ask("detokenize", _deadline(), list(tokens)))

    def _stream(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        handle = self._handle.options(method_name="generate", stream=True)
        answer = _explained(lambda: handle.remote(request))
        came: queue.Queue[list[Any] | Exception | None] = queue.Queue(MAX_AHEAD)
        gone = threading.Event()

        def put(item: list[Any] | Exception | None) -> None:
            while not gone.is_set():
                with contextlib.suppress(queue.Full):
                    came.put(item, timeout=POLL_SECONDS)
                    return

        def read() -> None:
            # Ray's own wait cannot look whether anybody still waits.
            try:
                for pieces in answer:
                    put(pieces)
                put(None)
            except Exception as error:
                put(error)

        threading.Thread(target=read, name="ray-reader", daemon=True).start()
        try:
            while True:
                if cancelled():
                    raise RequestCancelled("nobody waits for this answer any more")
                if self._closed.is_set():
                    raise EngineFailed("the model was let go of; ask again")
                try:
                    found = came.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if found is None:
                    return
                if isinstance(found, Exception):
                    raise _failure(found)
                for piece in found:
                    if isinstance(piece, TransomError):
                        raise piece
                    yield piece
        finally:
            gone.set()
            answer.cancel()

    def _ask(self, method: str, cancelled: Cancelled, *given: Any) -> Any:
        """A question with one answer."""
        for tries in range(TRIES):
            answer = _explained(lambda: getattr(self._handle, method).remote(*given))
            try:
                found = self._answer(answer, cancelled)
            except _Gone:
                if tries + 1 == TRIES or self._closed.is_set():
                    raise EngineFailed(_GONE) from None
                self._closed.wait(PAUSE_SECONDS)
                continue
            if isinstance(found, TransomError):
                raise found
            return found

    def _answer(self, answer: Any, cancelled: Cancelled) -> Any:
        while True:
            if cancelled():
                answer.cancel()
                raise RequestCancelled("nobody waits for this answer any more")
            try:
                return answer.result(timeout_s=POLL_SECONDS)
            except TimeoutError:
                continue
            except Exception as error:
                raise _failure(error) from error

    def _wait(self, cancelled: Cancelled) -> None:
        """Until there is a replica. Raises `EngineError`."""
        deadline = time.monotonic() + PLACE_SECONDS
        while True:
            if cancelled():
                raise RequestCancelled("nobody waits for this model any more")
            states, message, status = self._look()
            if states.get("RUNNING", 0):
                self._running = states["RUNNING"]
                return
            marked = _MARKED.search(message)
            if marked is not None:
                raise EngineError(" ".join(marked[1].split()))
            if status in ("DEPLOY_FAILED", "UNHEALTHY"):
                _LOG.error("Ray on %s: %s", self._name, message)
                raise EngineError(f"Ray cannot start the model: {message.strip()[-300:]}")
            if time.monotonic() > deadline:
                raise EngineError(
                    f"no machine of the cluster had {gigabytes(self._needed)} of memory for the "
                    f"model within {PLACE_SECONDS:.0f} s; let go of others, or add a machine"
                )
            time.sleep(STATUS_SECONDS)

    def _look(self) -> tuple[dict[str, int], str, str]:
        """How many replicas are in which state, and what Ray says of them."""
        try:
            app = serve.status().applications.get(self._name)
        except Exception as error:
            raise _failure(error) from error
        if app is None:
            return {}, "", ""
        states: dict[str, int] = {}
        messages = [app.message]
        for deployment in app.deployments.values():
            messages.append(deployment.message)
            for state, count in deployment.replica_states.items():
                states[str(getattr(state, "value", state))] = count
        return states, "\n".join(messages), str(getattr(app.status, "value", app.status))

    def _watch(self) -> None:
        """How many there are, and what they take, for whoever asks."""
        while not self._closed.wait(STATUS_SECONDS * 2):
            with contextlib.suppress(Exception):
                running = self._look()[0].get("RUNNING", 0)
                if running != self._running:
                    _LOG.warning(
                        "%s has %s replicas, and had %s", self._name, running, self._running
                    )
                self._running = running
                if running:
                    self._resident = int(self._ask("resident_bytes", self._closed.is_set))


class _Gone(Exception):
    """The replica has gone, or its machine."""


def _failure(error: Exception) -> Exception:
    if isinstance(error, RayActorError):
        return _Gone()
    if isinstance(error, TaskCancelledError):
        return RequestCancelled("nobody waits for this answer any more")
    if isinstance(error, TransomError | _Gone):
        return error
    _LOG.error("Ray failed", exc_info=error)
    text = str(error).strip().splitlines() or [type(error).__name__]
    return EngineFailed(f"Ray failed: {text[-1]:.300}")


def _explained(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        raise _failure(error) from error


def _deadline() -> Cancelled:
    end = time.monotonic() + ANSWER_SECONDS
    return lambda: time.monotonic() > end
