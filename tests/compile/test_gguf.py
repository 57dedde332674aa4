"""The GGUF reader against the `gguf` package: its writer makes the file, its reader judges."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor
from transom_compile.sources.gguf import StringArray, open_checkpoint


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "written.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -128)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 2**32 - 1)
    writer.add_int32("i32", -(2**31))
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_string("text", "naïve 😀")
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("reals", [0.5, 1.5])
    writer.add_array("flags", [True, False])
    writer.add_array("words", ["", "a", "日本"])
    writer.add_tensor("matrix", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("vector", np.arange(5, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reads_every_value_type_as_the_gguf_package_does(written: Path) -> None:
    metadata = open_checkpoint(written).metadata
    oracle = GGUFReader(written)
    fields = {name: field for name, field in oracle.fields.items() if not name.startswith("GGUF.")}
    assert set(metadata) == set(fields)
    for name, field in fields.items():
        found = metadata[name]
        if isinstance(found, np.ndarray | StringArray):
            assert list(found) == field.contents()
        else:
            assert found == field.contents()
            assert type(found) is type(field.contents())


def test_tensors_have_numpy_shapes_and_zero_copy_blocks(written: Path) -> None:
    checkpoint = open_checkpoint(written)
    matrix = checkpoint.tensors["matrix"]
    assert (matrix.shape, matrix.block_type, matrix.nbytes) == ((2, 3), "F32", 24)
    blocks = checkpoint.read_blocks("matrix")
    assert blocks.shape == (2, 12)
    assert blocks.dtype == np.uint8
    assert not blocks.flags.owndata
    assert not blocks.flags.writeable
    assert blocks.view(np.float32).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert checkpoint.read_blocks("vector").shape == (1, 10)


def test_release_gives_pages_back_and_a_later_read_is_the_same(
    write_gguf: Callable[[TinyGguf], Path],
) -> None:
    data = np.random.default_rng(0).bytes(1 << 16)
    path = write_gguf(TinyGguf(tensors=[TinyTensor("t", dims=(1 << 14,), data=data)]))
    checkpoint = open_checkpoint(path)
    assert checkpoint.read_blocks("t").tobytes() == data
    checkpoint.release("t")
    assert checkpoint.read_blocks("t").tobytes() == data


def test_string_arrays_index_slice_and_count(write_gguf: Callable[[TinyGguf], Path]) -> None:
    words = open_checkpoint(write_gguf(TinyGguf([("w", ["a", "b", "c"])]))).metadata["w"]
    assert isinstance(words, StringArray)
    assert (len(words), words[-1], words[1:], "b" in words) == (3, "c", ["b", "c"], True)


def test_smollm2_reads_as_the_gguf_package_does(smollm2: Path) -> None:
    checkpoint, oracle = open_checkpoint(smollm2), GGUFReader(smollm2)
    assert list(checkpoint.tensors) == [tensor.name for tensor in oracle.tensors]
    for tensor in oracle.tensors:
        info = checkpoint.tensors[tensor.name]
        assert info.shape == tuple(int(extent) for extent in reversed(tensor.shape))
        assert (info.block_type, info.offset) == (tensor.tensor_type.name, tensor.data_offset)
        assert info.nbytes == tensor.n_bytes
    assert list(checkpoint.metadata["tokenizer.ggml.merges"])[:2] == ["Ġ t", "Ġ a"]  # type: ignore[arg-type]
