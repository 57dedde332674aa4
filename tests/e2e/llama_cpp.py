"""llama.cpp's word on the quantized file itself, for comparison: close to the oracle, not equal.

Its CPU kernels quantize activations as well, so a disagreement with it is reported and judged by
nobody; on an F32 file nothing is rounded, and it is judged. Runs as a child process
(`python -m tests.e2e.llama_cpp TOKENS MODEL…`): native code that dies must not take pytest along.
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


def ask(model: Path, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    """Greedy tokens of llama.cpp on a GGUF file as it is: one list per prompt, no stop token."""
    return ask_each([model], prompts, tokens)[0]


def ask_each(
    models: Sequence[Path], prompts: Sequence[Sequence[int]], tokens: int
) -> list[list[list[int]]]:
    """`ask` for several files, one after another in one child."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.llama_cpp", str(tokens), *map(str, models)],
        input=json.dumps([list(prompt) for prompt in prompts]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True, check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    answers: list[list[list[int]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def _answers(model: str, prompts: list[list[int]], tokens: int) -> list[Any]:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.warmup = False
    # Keys and values as they are: on a CPU, flash attention makes them f16.
    parameters.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)

    def complete(prompt: list[int]) -> Any:
        body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "return_tokens": True}
        request = urllib.request.Request(
            f"{server.listening_address}/completion",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)["tokens"]

    return [complete(prompt) for prompt in prompts]


def main(tokens: str, *models: str) -> None:
    prompts = json.load(sys.stdin)
    print(json.dumps([_answers(model, prompts, int(tokens)) for model in models]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
