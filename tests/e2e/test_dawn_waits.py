"""What Node does while the GPU works: next to nothing."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "dawn_waits.mjs"
ROUNDS = 20_000_000

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("web_build")]


def test_dawn_asks_now_and_then(llvmpipe: dict[str, str]) -> None:
    command = ["node", str(SCRIPT)]
    environment = {**os.environ, **llvmpipe}
    ended = subprocess.run(command, capture_output=True, env=environment, timeout=300, check=True)
    said = json.loads(ended.stdout)
    assert said["pauses"] > 0
    assert said["turns"] == 0
    assert said["ours"] == ["promised", 1, 2]
    assert said["value"] == expected()


def expected() -> int:
    """sum = 3 sum + i, modulo 2^32, by closed form: sum of 3^(n-1-i) i = (3^n - 2n - 1) / 4."""
    return (pow(3, ROUNDS, 2**34) - 2 * ROUNDS - 1) // 4 % 2**32
