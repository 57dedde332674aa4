"""Models on the machines of a Ray cluster (`ray_model.py` is one of them).

This server stays the front: names, templates and dialects are its business, and Serve's own HTTP is
off. Must not know templates or dialects.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray import serve

from transom_api.engine import Cancelled, EngineError, LoadOptions, ModelFiles
from transom_models.digest import Digest
from transom_server.engines.budget import NeverFits, gigabytes
from transom_server.engines.llama_cpp import DEFAULT_CONTEXT_TOKENS
from transom_server.engines.ray_model import RayModel, Replicas
from transom_server.engines.ray_replica import Source
from transom_server.engines.slots import parallel_for
from transom_server.store import Store


class DigestStore(Store):
    """A store whose files are told by their digests: other machines find them for themselves."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.storage)

    def blob_path(self, digest: Digest) -> Path:
        if not self.has_blob(digest):
            return super().blob_path(digest)  # says so
        return Path(str(digest))


class RayCluster:
    """This server's part in a cluster. One for each process."""

    def __init__(
        self,
        address: str,
        store: str,
        replicas: Replicas,
        needs: Callable[[ModelFiles, LoadOptions], int],
        owner: str,
    ) -> None:
        """Joins the cluster at `address`; "local" starts one of this machine alone. `needs` says
        what a model takes; `owner` tells this server's applications from those of others. Raises
        `EngineError`."""
        self._store, self._replicas, self._needs = store, replicas, needs
        self._prefix = f"transom-{owner}-"
        self._numbers = itertools.count()
        try:
            ray.init(
                address=address,
                namespace="transom",
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
            serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
        except Exception as error:  # Ray's own say less than their texts
            where = "that this machine is in" if address == "auto" else f"at {address}"
            (why, *_) = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError(
                f"no Ray cluster {where}: {why:.300}; start one with `ray start --head`, or look at"
                " TRANSOM_RAY_ADDRESS"
            ) from error
        # What an earlier run of this server left when it was killed.
        for name in self._names():
            serve.delete(name, _blocking=False)

    def load(self, files: ModelFiles, options: LoadOptions, cancelled: Cancelled) -> RayModel:
        """A `LoadEngine`. `files` are digests."""
        context = options.context_tokens or DEFAULT_CONTEXT_TOKENS
        options = replace(options, parallel=options.parallel or parallel_for(context))
        needed = self._needs(files, options)
        self._check_room(needed, options)
        source = Source(files.weights, self._store, files, options, version("transom"))
        return RayModel(
            f"{self._prefix}{next(self._numbers)}", source, needed, self._replicas, cancelled
        )

    def memory(self) -> int:
        """What all machines together give to models."""
        return sum(int(row["Resources"].get("memory", 0)) for row in _machines())

    def close(self) -> None:
        """Let go of all, and of the cluster when it is only this server's."""
        if not ray.is_initialized():
            return
        with contextlib.suppress(Exception):
            names = list(serve.status().applications)
            own = [name for name in names if name.startswith(self._prefix)]
            for name in own:
                serve.delete(name, _blocking=False)
            if len(own) == len(names):
                serve.shutdown()
        ray.shutdown()

    def _names(self) -> list[str]:
        return [name for name in serve.status().applications if name.startswith(self._prefix)]

    def _check_room(self, needed: int, options: LoadOptions) -> None:
        """Raises `NeverFits`: else Ray would wait for ever for a machine that may come."""
        rows = _machines()
        largest = max((int(row["Resources"].get("memory", 0)) for row in rows), default=0)
        if needed > largest:
            raise NeverFits(
                f"the model needs about {gigabytes(needed)} of memory as it is asked for, and the "
                f"largest of {len(rows)} machines gives {gigabytes(largest)} (`ray start --memory`)"
                "; ask with a smaller num_ctx, or take a smaller quantization"
            )
        processors = max((float(row["Resources"].get("CPU", 0)) for row in rows), default=0.0)
        if (options.threads or 1) > processors:
            raise NeverFits(
                f"no machine of the cluster has {options.threads or 1} processors; the largest has "
                f"{processors:g}"
            )


def _machines() -> list[dict[str, Any]]:
    return [row for row in ray.nodes() if row["Alive"]]
