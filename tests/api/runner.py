"""Runs the scripts of clients, each in an environment of its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.api.client_table import HERE, NPM
from tests.e2e.commands import run_checked

SECONDS = 240

Environment = Callable[[str], Path]


@dataclass(frozen=True)
class Runner:
    """Runs scripts against an address. `pictures` is a folder of those that they show."""

    environment: Environment
    npm: str
    address: str
    pictures: Path

    def run(self, script: str, environment: str | None) -> dict[str, Any]:
        """What the script printed last."""
        if environment is None:
            command: list[str | Path] = [self.npm, NPM / script]
        else:
            command = [self.environment(environment), HERE / "clients" / script]
        printed = run_checked(*command, self.address, self.pictures, timeout=SECONDS)
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return found
