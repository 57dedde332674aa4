"""The oracle for embeddings: a published BERT in f32 by `transformers`, with its own tokenizer.

The weights are the folder's, or what `gguf` dequantizes from a GGUF of the same model. Knows
nothing of Transom. Runs as a child process (`python -m tests.e2e.embedding_oracle FOLDER OUT [GGUF]
< texts.json`), so that its memory, its threads and its warnings stay out of pytest's.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
Vectors = npt.NDArray[np.float32]


TOP_LEVEL = {
    "token_embd": "embeddings.word_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
}
IN_BLOCK = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


def ask(
    folder: Path, texts: Sequence[str], out: Path, weights: Path | None = None
) -> tuple[Vectors, list[int]]:
    """Unit vectors [texts, width] and tokens of each text, pooled by the mean.

    Args:
        folder: Hugging Face folder: config, tokenizer, weights.
        texts: what to embed.
        out: file for the child's answer.
        weights: GGUF file to take the weights from instead.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.e2e.embedding_oracle"]
    command += [str(folder), str(out), *([] if weights is None else [str(weights)])]
    subprocess.run(command, input=json.dumps(texts), text=True, check=True, cwd=ROOT)
    with np.load(out) as saved:
        return saved["vectors"], [int(count) for count in saved["tokens"]]


def block_types(path: Path) -> str:
    """Of a GGUF's matrices, most frequent first: "Q5_0:28 Q4_K:4"."""
    from gguf import GGUFReader

    matrices = (tensor for tensor in GGUFReader(path).tensors if len(tensor.shape) > 1)
    counts = Counter(tensor.tensor_type.name for tensor in matrices)
    return " ".join(f"{name}:{count}" for name, count in counts.most_common())


def _dequantized(path: str) -> dict[str, Any]:
    """A bert GGUF's weights under their names in `transformers`."""
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    found = {}
    for tensor in GGUFReader(path).tensors:
        head, *rest = tensor.name.split(".")
        if head == "blk":
            name = f"encoder.layer.{rest[0]}.{IN_BLOCK[rest[1]]}.{rest[2]}"
        else:
            name = f"{TOP_LEVEL[head]}.{rest[0]}"
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        found[name] = torch.from_numpy(values.copy())
    return found


def main(folder: str, out: str, weights: str | None = None) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = BertModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False)
    model = model.eval()
    if weights is not None:
        model.load_state_dict(_dequantized(weights))
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
