"""Which engine the settings choose, and what it needs of the rest of the server."""

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

from transom_api.engine import EngineError, LoadEngine
from transom_server.engines.budget import default_total
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.needs import needed_by_files
from transom_server.settings.config import Config
from transom_server.store import Store


@dataclass(frozen=True, slots=True)
class Chosen:
    """`store` is for whoever loads models by `load`; `memory` is what they may take together."""

    store: Store
    load: LoadEngine
    memory: int
    close: Callable[[], None]


def chosen_engine(config: Config, store: Store) -> Chosen:
    """Raises `EngineError` where it cannot be had."""
    if config.engine != "ray":
        total = default_total() if config.memory is None else config.memory
        return Chosen(store, LlamaCpp, total, lambda: None)
    # Ray reads it as it is imported: nothing is told to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        # Half a second, and a package that few install.
        from transom_server.engines.ray_cluster import DigestStore, RayCluster
        from transom_server.engines.ray_model import Replicas
    except ImportError as error:
        raise EngineError(
            f"Ray is missing; install it with: pip install 'transom[ray]' ({error})"
        ) from None
    cluster = RayCluster(
        config.ray_address,
        config.models,
        Replicas(*config.ray_replicas),
        lambda files, options: needed_by_files(store, files, options),
        re.sub("[^A-Za-z0-9]+", "-", f"{socket.gethostname()}-{config.port}"),
    )
    total = cluster.memory() if config.memory is None else config.memory
    return Chosen(DigestStore(store), cluster.load, total, cluster.close)
