"""What one more token asks of the GPU: counts, which no busy machine changes.

The GPU gets nothing to do meanwhile (web/src/node/gpu-counters.ts), so this takes seconds.
"""

from pathlib import Path

import pytest

from tests.bench import engines

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(600)]


def test_a_token_asks_little_of_the_gpu(
    bundle: Path, llvmpipe: dict[str, str], web_build: Path
) -> None:
    for program, figures in engines.quick(bundle).items():
        cost = figures["host"]["perToken"]
        print(f"\n{program}: {cost}")
        for name, most in engines.MOST_PER_TOKEN.items():
            assert cost[name] <= most, f"{program}: {name}"
