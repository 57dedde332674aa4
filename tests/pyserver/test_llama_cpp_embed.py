"""pytest tests/pyserver/test_llama_cpp_embed.py: vectors and scores of a tiny random BERT, beside
those of `transformers` on the same weights."""

import math
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests.fakes import tiny_bert
from tests.fakes.tiny_gguf import tiny_llama
from transom_api.engine import (
    ContextOverflow,
    Done,
    EngineFailed,
    GenerateRequest,
    LoadOptions,
    ModelFiles,
    RequestCancelled,
    Sampling,
)
from transom_server.engines.llama_cpp import LlamaCpp

TEXTS: Final = ("the cat sat on the mat", "a dog runs", "seas", "")


def never() -> bool:
    return False


def load(path: Path, **options: Any) -> LlamaCpp:
    return LlamaCpp(ModelFiles(str(path)), LoadOptions(threads=1, **options), never)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    path = tmp_path_factory.mktemp("bert") / "bert.gguf"
    path.write_bytes(tiny_bert.tiny_bert().to_bytes())
    engine = load(path, task="embed")
    yield engine
    engine.close()


def hidden(rows: Sequence[Sequence[int]]) -> list[np.ndarray[Any, Any]]:
    """The last hidden states of each row of token ids, by `transformers`."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(tiny_bert.TOKENS),
        hidden_size=tiny_bert.WIDTH,
        num_hidden_layers=tiny_bert.BLOCKS,
        num_attention_heads=tiny_bert.HEADS,
        intermediate_size=tiny_bert.FEED,
        max_position_embeddings=tiny_bert.POSITIONS,
        hidden_act="gelu",
    )
    model: Any = BertModel(config, add_pooling_layer=False)
    model.eval()
    names = {
        "token_embd": "embeddings.word_embeddings",
        "position_embd": "embeddings.position_embeddings",
        "token_types": "embeddings.token_type_embeddings",
        "token_embd_norm": "embeddings.LayerNorm",
        "attn_q": "attention.self.query",
        "attn_k": "attention.self.key",
        "attn_v": "attention.self.value",
        "attn_output": "attention.output.dense",
        "attn_output_norm": "attention.output.LayerNorm",
        "ffn_up": "intermediate.dense",
        "ffn_down": "output.dense",
        "layer_output_norm": "output.LayerNorm",
    }
    state = {}
    for name, array in tiny_bert.weights().items():
        *block, part, kind = name.split(".")
        prefix = f"encoder.layer.{block[1]}." if block else ""
        state[f"{prefix}{names[part]}.{kind}"] = torch.from_numpy(array.copy())
    model.load_state_dict(state)
    with torch.no_grad():
        return [model(torch.tensor([list(row)])).last_hidden_state[0].numpy() for row in rows]


def test_vectors_are_those_of_transformers(bert: LlamaCpp) -> None:
    ids = [bert.tokenize(text, around=True) for text in TEXTS]
    assert [len(row) for row in ids] == [8, 5, 4, 2]
    found = bert.embed(TEXTS, never)
    assert found.tokens == sum(len(row) for row in ids)
    for vector, states in zip(found.vectors, hidden(ids), strict=True):
        expected = states.mean(axis=0)
        expected /= np.linalg.norm(expected)
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)
        assert float(np.dot(vector, expected)) > 0.9999


def test_token_ids_and_many_texts(bert: LlamaCpp) -> None:
    """More than go to llama.cpp at once, in their order."""
    texts = [" ".join(["cat"] * (number % 30 + 1)) for number in range(70)]
    ids = [bert.tokenize(text, around=True) for text in texts]
    by_text, by_ids = bert.embed(texts, never), bert.embed(ids, never)
    assert len(by_text.vectors) == 70
    assert np.allclose(by_text.vectors, by_ids.vectors, atol=1e-5)
    alone = bert.embed(texts[41:42], never).vectors[0]
    assert np.allclose(alone, by_text.vectors[41], atol=1e-5)
    assert bert.embed([], never).vectors == ()


def test_too_long_a_text_is_an_error_not_a_cut(bert: LlamaCpp) -> None:
    assert bert.facts.context_tokens == tiny_bert.POSITIONS
    with pytest.raises(ContextOverflow, match=r"72 tokens.*holds 64"):
        bert.embed(["cat", "cat " * 70], never)


def test_nobody_waits_and_nobody_is_there(bert: LlamaCpp, tmp_path: Path) -> None:
    with pytest.raises(RequestCancelled):
        bert.embed(["cat"], lambda: True)
    path = tmp_path / "bert.gguf"
    path.write_bytes(tiny_bert.tiny_bert().to_bytes())
    engine = load(path, task="embed")
    try:
        os.kill(engine._child._process.pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="SIGKILL"):
            engine.embed(["cat"], never)
    finally:
        engine.close()


def test_a_chat_model_embeds_and_answers(tmp_path: Path) -> None:
    """By its last token; a prompt's tokens before it count too."""
    path = tmp_path / "llama.gguf"
    path.write_bytes(tiny_llama().to_bytes())
    engine = load(path, task="embed", pooling="last")
    try:
        one, same, other = engine.embed(["hello w", "hello w", "hello"], never).vectors
        assert one == pytest.approx(same, abs=1e-5)
        assert np.dot(one, other) < 0.999
        greedy = GenerateRequest("hello", Sampling(temperature=0), max_tokens=2)
        *_, done = engine.generate(greedy, never)
        assert isinstance(done, Done)
        assert done.completion_tokens == 2
    finally:
        engine.close()


def test_scores_are_those_of_the_classifier(tmp_path: Path) -> None:
    path = tmp_path / "reranker.gguf"
    path.write_bytes(tiny_bert.tiny_bert(pooling=4, scores=True).to_bytes())
    engine = load(path, task="rerank")
    documents = ["the cat sat", "the sea is blue", "a dog runs fast"]
    try:
        found = engine.rerank("the cat", documents, never)
        # llama.cpp ends the pair without a separator.
        query = engine.tokenize("the cat", around=True)
        rows = [(*query, *engine.tokenize(text)) for text in documents]
        assert engine.rerank("the cat", [], never).scores == ()
    finally:
        engine.close()
    head = tiny_bert.classifier()
    expected = []
    for states in hidden(rows):
        inner = np.tanh(head["cls.weight"] @ states[0] + head["cls.bias"])
        expected.append(float((head["cls.output.weight"] @ inner + head["cls.output.bias"])[0]))
    assert found.tokens == sum(len(row) for row in rows)
    assert found.scores == pytest.approx(expected, abs=1e-2)
