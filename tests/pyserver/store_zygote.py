"""A process that forks one child per operation on a store, for tests that kill the children.

    python -m tests.pyserver.store_zygote      lines of JSON in, lines of text out

A line in is `{"op": …, …}`; out come `<pid>` when the child starts, and `exit <code>` once it is
gone. Forking costs milliseconds where a new interpreter costs half a second, so that a sweep can
kill hundreds. Nothing here has threads before the fork.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transom_models.modelfile import parse_modelfile
from transom_models.name import ModelName
from transom_server.model.base import base_from_model
from transom_server.model.creation import create_model
from transom_server.store import Store
from transom_server.transfer.pull import pull
from transom_server.transfer.push import push
from transom_server.transfer.status import Status, TransferOptions


def _ignore(status: Status) -> None:
    pass


def _options(order: dict[str, Any]) -> TransferOptions:
    return TransferOptions(connections=order["connections"], piece_bytes=order["piece_bytes"])


def pulling(store: Store, order: dict[str, Any]) -> None:
    pull(store, ModelName.parse(order["name"]), _options(order), _ignore, registry="")


def pushing(store: Store, order: dict[str, Any]) -> None:
    name, target = ModelName.parse(order["name"]), ModelName.parse(order["target"])
    push(store, name, _options(order), _ignore, target=target, registry="")


def creating(store: Store, order: dict[str, Any]) -> None:
    modelfile = parse_modelfile(order["modelfile"])
    base = base_from_model(store, ModelName.parse(modelfile.base))
    create_model(store, ModelName.parse(order["name"]), modelfile, base, _ignore)


def collecting(store: Store, order: dict[str, Any]) -> None:
    store.collect_garbage(0)


def copying(store: Store, order: dict[str, Any]) -> None:
    for number in range(order["count"]):
        target = ModelName.parse(f"{order['name']}:copy{number}")
        store.copy_model(ModelName.parse(order["name"]), target)
        if number % 2:
            store.remove_model(target)


OPERATIONS: dict[str, Callable[[Store, dict[str, Any]], None]] = {
    "pull": pulling,
    "push": pushing,
    "create": creating,
    "gc": collecting,
    "copy": copying,
}


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                OPERATIONS[order["op"]](Store(Path(order["root"])), order)
            except BaseException:
                traceback.print_exc()
                code = 1
            os._exit(code)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"exit {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
