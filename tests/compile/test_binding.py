"""A vocabulary matrix too large for one binding is stored in pieces that make the whole again."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.tiny_gguf import tiny_llama
from transom_compile.binding import MAX_BINDING_BYTES, divide_large
from transom_compile.graph import Graph
from transom_compile.names import read_parameter
from transom_compile.sources.gguf import open_checkpoint
from transom_models.architecture import ParameterSpec, SourceTensor


def matrix(name: str, rows: int, cols: int, kind: str = "Q8_0") -> ParameterSpec:
    return ParameterSpec(name, (SourceTensor(name, (rows, cols)),), kind, (rows, cols))


def test_what_just_fits_stays_whole_and_a_row_more_does_not() -> None:
    rows = MAX_BINDING_BYTES // 1024
    fits, larger = (matrix("output.weight", count, 1024) for count in (rows, rows + 1))
    assert divide_large([fits]) == (fits,)
    pieces = divide_large([larger])
    assert [piece.name for piece in pieces] == ["output.weight.0", "output.weight.1"]
    assert [piece.whole for piece in pieces] == ["output.weight"] * 2
    assert sum(piece.shape[0] for piece in pieces) == rows + 1


@pytest.mark.parametrize("kind", ["Q8_0", "F16", "Q4_K", "Q6_K"])
def test_every_plane_of_every_piece_fits(kind: str) -> None:
    pieces = divide_large([matrix("token_embd.weight", 1000, 256, kind)], 64 * 256)
    assert len(pieces) > 2
    assert [p.first_row for p in pieces] == list(range(0, 1000, pieces[0].shape[0]))
    assert all(piece.shape[0] % 64 == 0 for piece in pieces[:-1])


def test_other_parameters_are_left_alone() -> None:
    spec = matrix("blk.0.ffn_gate_up.weight", 1000, 256)
    assert divide_large([spec], 1024) == (spec,)


def test_pieces_hold_the_rows_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama().to_bytes())
    checkpoint = open_checkpoint(path)
    info = checkpoint.tensors["token_embd.weight"]
    spec = ParameterSpec(
        info.name, (SourceTensor(info.name, info.shape),), info.block_type, info.shape
    )
    pieces = divide_large([spec], 64 * info.shape[1] // 2)
    assert len(pieces) > 1
    whole = read_parameter(checkpoint, spec)
    assert np.array_equal(np.concatenate([read_parameter(checkpoint, p) for p in pieces]), whole)


def test_a_graph_knows_the_whole_by_its_pieces() -> None:
    pieces = divide_large([matrix("output.weight", 1000, 256)], 64 * 256)
    graph = Graph(pieces, None, "float32")
    assert graph.has("output.weight")
    assert not graph.has("token_embd.weight")
