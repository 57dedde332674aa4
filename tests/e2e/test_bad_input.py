"""What is wrong with a checkpoint reaches a person as one line that names it, and leaves no trace.

Each bad file is a small good one with one thing changed; the good one stands beside them.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType

from tests.e2e.commands import transom
from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, tiny_llama

EXIT_USER_ERROR = 2
DOWN = "blk.0.ffn_down.weight"

WHOLE = tiny_llama().to_bytes()
BAD = {
    "not a GGUF": (b"PK\x03\x04" + bytes(4096), "GGUF"),
    "cut off": (WHOLE[: len(WHOLE) // 2], "model.gguf"),
    "unknown architecture": (
        tiny_llama(metadata={"general.architecture": "perceptron"}).to_bytes(),
        "perceptron",
    ),
    "unknown block type": (
        tiny_llama(
            without=[DOWN],
            extra=[
                TinyTensor(
                    DOWN, (96, 64), GGMLQuantizationType.Q8_1, data=bytes(96 * 64 // 32 * 40)
                )
            ],
        ).to_bytes(),
        "Q8_1",
    ),
    "block type nobody knows": (
        TinyGguf(
            metadata=tiny_llama().metadata,
            tensors=[replace(tensor, kind=250) for tensor in tiny_llama().tensors],
        ).to_bytes(),
        "250",
    ),
    "missing tensor": (tiny_llama(without=[DOWN]).to_bytes(), DOWN),
}


@pytest.mark.parametrize(("content", "named"), BAD.values(), ids=BAD.keys())
def test_one_line_names_it_and_nothing_stays(
    content: bytes, named: str, runtime: Path, tmp_path: Path
) -> None:
    store, work = tmp_path / "models", tmp_path / "work"
    work.mkdir()
    model = work / "model.gguf"
    model.write_bytes(content)
    done = transom("compile", model, "--name", "bad", store=store)
    errors = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == EXIT_USER_ERROR, done.stdout + done.stderr
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert named in errors[0]
    assert [path for path in store.rglob("*") if path.is_file()] == []
    assert list(work.iterdir()) == [model]


def test_the_small_good_one_is_no_error(runtime: Path, tmp_path: Path) -> None:
    """Else the cases above could all fail for a reason that they share."""
    model = tmp_path / "model.gguf"
    model.write_bytes(WHOLE)
    done = transom(
        "compile", model, "--out", tmp_path / "out", "--context", "256", "--variant", "f32",
        store=tmp_path / "models", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.json").exists()


def test_a_name_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(WHOLE)
    done = transom("compile", model, "--name", "../etc/passwd", store=tmp_path / "models")
    assert done.returncode == EXIT_USER_ERROR
    assert "'..'" in done.stderr
    assert not (tmp_path / "models").exists()
