"""The oracle for embeddings: the published model in f32 by `transformers`, with its own tokenizer.

Knows nothing of Transom, nor of GGUF. Runs as a child process (`python -m
tests.e2e.embedding_oracle FOLDER OUT < texts.json`), so that its memory, its threads and its
warnings stay out of pytest's.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
Vectors = npt.NDArray[np.float32]


def ask(model: Path, texts: Sequence[str], out: Path) -> tuple[Vectors, list[int]]:
    """Unit vectors [texts, width] and tokens of each text; `model` is a Hugging Face folder."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.e2e.embedding_oracle"]
    subprocess.run(
        [*command, str(model), str(out)], input=json.dumps(texts), text=True, check=True, cwd=ROOT
    )
    with np.load(out) as saved:
        return saved["vectors"], [int(count) for count in saved["tokens"]]


def main(folder: str, out: str) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors, tokens = [], []
    with torch.inference_mode():
        for text in json.load(sys.stdin):
            encoded = tokenizer(text, truncation=False, return_tensors="pt")
            states = model(**encoded).last_hidden_state[0]
            mean = states.mean(dim=0)
            vectors.append((mean / mean.norm()).numpy())
            tokens.append(len(states))
    np.savez(out, vectors=np.stack(vectors), tokens=np.array(tokens))


if __name__ == "__main__":
    main(*sys.argv[1:])
