"""pytest tests/models/test_ggml_types.py: GGML's numbers are those of the `gguf` package."""

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from transom_models.ggml_types import FILE_TYPES, GGML_TYPES


def test_block_types() -> None:
    ours = {n: (row.name, row.elements, row.block_bytes) for n, row in GGML_TYPES.items()}
    assert ours == {int(t): (t.name, *GGML_QUANT_SIZES[t]) for t in GGMLQuantizationType}


def test_file_types() -> None:
    names = {int(t): t.name.removeprefix("MOSTLY_").removeprefix("ALL_") for t in LlamaFileType}
    del names[int(LlamaFileType.GUESSED)]
    assert dict(FILE_TYPES) == names
