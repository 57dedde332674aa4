"""pytest tests/pyserver/test_memory_measured.py: what was said of a model, and what it then takes.

`-s` shows the table.
"""

from pathlib import Path

import pytest

from tests.fakes.tiny_gguf import tiny_llama
from transom_api.engine import Done, GenerateRequest, LoadOptions, ModelFiles, Sampling
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.memory import LAYER_ITEMS, CacheShape, estimate
from transom_server.engines.repacking import repacked_types
from transom_server.model.gguf_facts import read_gguf

# What the issue asks for.
TOLERANCE = 0.1


def said(path: Path, context: int, slots: int) -> int:
    with path.open("rb") as file:
        facts = read_gguf(file, path.stat().st_size, path.name, LAYER_ITEMS)
    shape = CacheShape(context, slots)
    return estimate(facts, shape, LoadOptions(), repacked_types=repacked_types()).total


def measured(path: Path, context: int, slots: int, prompt: str) -> int:
    """The process after a prompt that nearly fills a context."""
    options = LoadOptions(context_tokens=context, parallel=slots, threads=2)
    engine = LlamaCpp(ModelFiles(str(path)), options, lambda: False)
    try:
        request = GenerateRequest(prompt, Sampling(temperature=0), max_tokens=2)
        *_, done = engine.generate(request, lambda: False)
        assert isinstance(done, Done)
        assert context * 0.8 < done.prompt_tokens <= context
        return engine.resident_bytes()
    finally:
        engine.close()


def check(name: str, path: Path, context: int, prompt: str, slots: int = 1) -> None:
    before = said(path, context, slots)
    after = measured(path, context, slots, prompt)
    row = f"{name:<9} {slots} x {context:>6}  said {before:>12,}  takes {after:>12,}"
    print(f"\n{row}  {before / after:.3f}")
    assert before == pytest.approx(after, rel=TOLERANCE)


@pytest.mark.parametrize(("context", "slots"), [(4096, 1), (16384, 2)])
def test_a_tiny_model(tmp_path: Path, context: int, slots: int) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama(metadata={"llama.context_length": 65536}).to_bytes())
    check("tiny", path, context, "a" * (context * 9 // 10), slots)


@pytest.mark.slow
@pytest.mark.parametrize("context", [1024, 4096])
def test_smollm2(smollm2: Path, context: int) -> None:
    check("smollm2", smollm2, context, " it" * (context - 64))


@pytest.mark.slow
@pytest.mark.parametrize("context", [1024, 4096])
def test_gemma(gemma3: Path, context: int) -> None:
    check("gemma 3", gemma3, context, " it" * (context - 64))
