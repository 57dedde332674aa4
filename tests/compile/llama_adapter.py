"""llama.cpp with an adapter beside the model, as a child process: native code may die.

`python -m tests.compile.llama_adapter MODEL TOKENS [ADAPTER]` reads prompts (token ids, JSON) on
stdin and prints the greedy tokens after each. Knows nothing of Transom.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 120


def ask(
    model: Path, prompts: Sequence[Sequence[int]], tokens: int, adapter: Path | None = None
) -> list[list[int]]:
    """Greedy tokens after each prompt; a stop token ends them."""
    arguments = [str(model), str(tokens), *([str(adapter)] if adapter else [])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.compile.llama_adapter", *arguments],
        input=json.dumps(prompts), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    answers: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main(model: str, tokens: str, adapter: str | None = None) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = 256
    parameters.n_parallel = 1
    parameters.warmup = False
    if adapter:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = adapter, 1.0
        parameters.lora_adapters = [lora]
    server = xllamacpp.Server(parameters)
    answers = []
    for prompt in json.load(sys.stdin):
        body = {"prompt": prompt, "n_predict": int(tokens), "temperature": 0, "return_tokens": True}
        request = urllib.request.Request(
            f"{server.listening_address}/completion",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            answers.append(json.load(response)["tokens"])
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
