"""llama.cpp's word on the quantized file itself, for comparison: close to the oracle, not equal.

Its CPU kernels quantize activations as well, so a disagreement with it is reported and judged by
nobody. Runs as a child process (`python -m tests.e2e.llama_cpp MODEL TOKENS`): native code that
dies must not take pytest along.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTEXT_TOKENS = 2048
TIMEOUT_SECONDS = 600


def ask(
    model: Path, prompts: Sequence[Sequence[int]], tokens: int, *, lora: Path | None = None
) -> list[list[int]]:
    """Greedy tokens of llama.cpp on a GGUF file as it is: one list per prompt, no stop token.

    `lora`: an adapter applied at run time.
    """
    arguments = [str(model), str(tokens), *([str(lora)] if lora else [])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.llama_cpp", *arguments],
        input=json.dumps([list(prompt) for prompt in prompts]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True, check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    answers: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main(model: str, tokens: str, lora: str | None = None) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    if lora:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = lora
        adapter.scale = 1.0
        parameters.lora_adapters = [adapter]
    server = xllamacpp.Server(parameters)

    def complete(prompt: list[int]) -> Any:
        body = {"prompt": prompt, "n_predict": int(tokens), "temperature": 0, "return_tokens": True}
        request = urllib.request.Request(
            f"{server.listening_address}/completion",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)["tokens"]

    print(json.dumps([complete(prompt) for prompt in json.load(sys.stdin)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
