"""Repacking moves bits and loses none: random blocks, hand-written ones, and all of SmolLM2."""

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from tests.compile.random_weights import finite_blocks
from transom_compile.repack import BlockRepacker, StoredTensor, dequantize, repack, unpack
from transom_compile.repack.base import SLAB_BYTES
from transom_compile.repack.codebooks import IQ4_LEVELS, MXFP4_LEVELS
from transom_compile.sources.checkpoint import Blocks
from transom_compile.sources.gguf import open_checkpoint
from transom_models.block_type import BLOCK_TYPES, UnsupportedBlockType, block_type

TYPES = list(BLOCK_TYPES)
# Rows x blocks in a row: one block, odd numbers of them (a padded scale), more than one slab.
SHAPES = [(1, 1), (3, 3), (2, 2), (1100, 15)]
FLOAT_GROUP = 32
"""Elements that stand for a block in these shapes where there are no blocks."""


def shape_of(name: str, blocks: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a matrix of so many blocks."""
    elements, _ = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return blocks[0], blocks[1] * (FLOAT_GROUP if elements == 1 else elements)


def random_bytes(name: str, shape: tuple[int, int], seed: int = 0) -> Blocks:
    """Any bit pattern at all: scales may be NaN or infinite."""
    elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    row_bytes = shape[1] // elements * block_bytes
    return np.random.default_rng(seed).integers(0, 256, (shape[0], row_bytes), dtype=np.uint8)


def planes(stored: list[StoredTensor]) -> dict[str, np.ndarray]:
    return {tensor.suffix: tensor.array for tensor in stored}


def test_every_block_type_has_its_class_and_ggml_s_sizes() -> None:
    assert set(BlockRepacker.registry) == set(BLOCK_TYPES)
    for name, kind in BLOCK_TYPES.items():
        assert (kind.elements, kind.block_bytes) == GGML_QUANT_SIZES[GGMLQuantizationType[name]]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("blocks_of", SHAPES)
def test_unpack_undoes_repack_for_any_bits(name: str, blocks_of: tuple[int, int]) -> None:
    shape = shape_of(name, blocks_of)
    blocks = random_bytes(name, shape)
    stored = repack(blocks, name, shape)
    assert np.array_equal(unpack(stored, name, shape), blocks)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("blocks_of", SHAPES)
def test_stored_tensors_have_the_shapes_of_the_table(name: str, blocks_of: tuple[int, int]) -> None:
    shape = shape_of(name, blocks_of)
    stored = repack(random_bytes(name, shape), name, shape)
    found = [(tensor.suffix, tensor.array.shape, tensor.array.dtype.name) for tensor in stored]
    planned = BLOCK_TYPES[name].planes(shape)
    assert found == [(plane.suffix, plane.shape, plane.dtype) for plane in planned]


@pytest.mark.parametrize("name", [name for name in TYPES if BLOCK_TYPES[name].layout])
def test_stored_tensors_are_as_large_as_the_blocks(name: str) -> None:
    """Nothing is expanded: a bundle's weights are as large as the GGUF's."""
    shape = shape_of(name, (8, 4))
    stored = repack(random_bytes(name, shape), name, shape)
    assert sum(tensor.array.nbytes for tensor in stored) == 32 * BLOCK_TYPES[name].block_bytes


def test_these_shapes_are_more_than_one_slab() -> None:
    rows, blocks = SHAPES[-1]
    sizes = [kind.block_bytes for kind in BLOCK_TYPES.values() if kind.layout]
    assert rows * blocks * min(sizes) > SLAB_BYTES


@pytest.mark.parametrize("name", TYPES)
def test_every_byte_pattern_survives_at_every_place(name: str) -> None:
    _, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    patterns = np.arange(256, dtype=np.uint8)[:, None]
    blocks: Blocks = np.add(patterns, np.arange(block_bytes, dtype=np.uint8), dtype=np.uint8)
    shape = (256, BLOCK_TYPES[name].elements)
    assert np.array_equal(unpack(repack(blocks, name, shape), name, shape), blocks)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("blocks_of", SHAPES)
def test_dequantizes_as_ggml_does(name: str, blocks_of: tuple[int, int]) -> None:
    shape = shape_of(name, blocks_of)
    blocks = finite_blocks(name, shape)
    found = dequantize(repack(blocks, name, shape), name, shape)
    with np.errstate(over="ignore"):  # MXFP4's largest exponents
        expected = quants.dequantize(blocks, GGMLQuantizationType[name]).reshape(shape)
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_q4_0_by_hand() -> None:
    # Element j is j % 16: GGML keeps element i low and element i + 16 high in byte i.
    nibbles = bytes((i | i << 4) for i in range(16))
    blocks = np.frombuffer(struct.pack("<e", 0.5) + nibbles, np.uint8).reshape(1, 18)
    stored = planes(repack(blocks, "Q4_0", (1, 32)))
    assert stored[".q"].tolist() == [[0x76543210, 0xFEDCBA98, 0x76543210, 0xFEDCBA98]]
    assert stored[".s"].tolist() == [0x3800]
    values = dequantize(repack(blocks, "Q4_0", (1, 32)), "Q4_0", (1, 32))
    assert values[0].tolist() == [0.5 * (j % 16 - 8) for j in range(32)]


def test_q4_1_by_hand() -> None:
    # Elements 0 to 15 are 1, elements 16 to 31 are 2.
    block = struct.pack("<ee", 2.0, -1.0) + bytes([0x21] * 16)
    blocks = np.frombuffer(block * 3, np.uint8).reshape(1, 60)
    stored = planes(repack(blocks, "Q4_1", (1, 96)))
    assert stored[".q"].tolist() == [[0x11111111, 0x11111111, 0x22222222, 0x22222222] * 3]
    assert stored[".s"].tolist() == [0x40004000, 0x00004000]
    assert stored[".m"].tolist() == [0xBC00BC00, 0x0000BC00]
    values = dequantize(repack(blocks, "Q4_1", (1, 96)), "Q4_1", (1, 96))
    assert values[0].tolist() == ([1.0] * 16 + [3.0] * 16) * 3


def test_q8_0_by_hand() -> None:
    quants_bytes = bytes((j - 16) & 0xFF for j in range(32))
    blocks = np.frombuffer(struct.pack("<e", 0.25) + quants_bytes, np.uint8).reshape(1, 34)
    stored = planes(repack(blocks, "Q8_0", (1, 32)))
    assert stored[".q"][0, 0] == 0xF3F2F1F0
    assert stored[".q"][0, 4] == 0x03020100
    assert stored[".s"].tolist() == [0x3400]
    values = dequantize(repack(blocks, "Q8_0", (1, 32)), "Q8_0", (1, 32))
    assert values[0].tolist() == [0.25 * (j - 16) for j in range(32)]


def test_q5_1_by_hand() -> None:
    # Element j is j: the fifth bit of elements 16 to 31 is set.
    nibbles = bytes((i | i << 4) for i in range(16))
    block = struct.pack("<eeI", 0.5, 8.0, 0xFFFF0000) + nibbles
    stored = repack(np.frombuffer(block, np.uint8).reshape(1, 24), "Q5_1", (1, 32))
    assert planes(stored)[".q"].tolist() == [[0x76543210, 0xFEDCBA98, 0x76543210, 0xFEDCBA98]]
    # Bits 2 and 3 of each nibble: pieces 2 and 3.
    assert planes(stored)[".h"].tolist() == [[0xCCCCCCCC]]
    assert dequantize(stored, "Q5_1", (1, 32))[0].tolist() == [8 + 0.5 * j for j in range(32)]


def test_fifth_bits_by_hand() -> None:
    # Element 9 is element 1 of piece 1: nibble 1, bit 1.
    block = struct.pack("<eI", 1.0, 1 << 9) + bytes(16)
    stored = repack(np.frombuffer(block, np.uint8).reshape(1, 22), "Q5_0", (1, 32))
    assert planes(stored)[".h"].tolist() == [[0x20]]
    assert dequantize(stored, "Q5_0", (1, 32))[0].tolist() == [-16.0] * 9 + [0.0] + [-16.0] * 22


def test_q4_k_by_hand() -> None:
    # Scale of group g is 8g + 1, minimum 8g + 2; quants of even groups are 3, of odd ones 5.
    scales, minimums = [8 * g + 1 for g in range(8)], [8 * g + 2 for g in range(8)]
    packed = bytes(
        [scales[g] | scales[g + 4] >> 4 << 6 for g in range(4)]
        + [minimums[g] | minimums[g + 4] >> 4 << 6 for g in range(4)]
        + [scales[g + 4] & 15 | (minimums[g + 4] & 15) << 4 for g in range(4)]
    )
    block = struct.pack("<ee", 0.5, 0.25) + packed + bytes([0x53] * 128)
    stored = repack(np.frombuffer(block, np.uint8).reshape(1, 144), "Q4_K", (1, 256))
    assert planes(stored)[".q"].tolist() == [([0x33333333] * 4 + [0x55555555] * 4) * 4]
    # Low nibbles of groups 0 to 3 and 4 to 7 (scale 1 or 9, minimum 2 or 10), then upper pairs:
    # nibble g is scale >> 4 and, above it, minimum >> 4, here both g / 2.
    assert planes(stored)[".s"].tolist() == [0xA921A921, 0xA921A921, 0xFFAA5500]
    assert planes(stored)[".d"].tolist() == [0x34003800]
    values = dequantize(stored, "Q4_K", (1, 256))[0].reshape(8, 32)
    for g in range(8):
        quant = 5 if g % 2 else 3
        assert (values[g] == 0.5 * scales[g] * quant - 0.25 * minimums[g]).all()


def test_q6_k_by_hand() -> None:
    # Every quant is 0b10_0001 = 33, so q - 32 is 1; scale j is j - 8.
    scales = bytes((j - 8) & 0xFF for j in range(16))
    block = bytes([0x11] * 128) + bytes([0b10101010] * 64) + scales + struct.pack("<e", 2.0)
    stored = repack(np.frombuffer(block, np.uint8).reshape(1, 210), "Q6_K", (1, 256))
    assert planes(stored)[".q"].tolist() == [[0x11111111] * 32]
    assert planes(stored)[".h"].tolist() == [[0xAAAAAAAA] * 16]
    assert planes(stored)[".s"].tolist()[0] == 0xFBFAF9F8
    assert planes(stored)[".d"].tolist() == [0x00004000]
    values = dequantize(stored, "Q6_K", (1, 256))[0].reshape(16, 16)
    assert values[:, 0].tolist() == [2.0 * (j - 8) for j in range(16)]


@pytest.mark.parametrize(("name", "levels"), [("IQ4_NL", IQ4_LEVELS), ("MXFP4", MXFP4_LEVELS)])
def test_levels_are_ggml_s(name: str, levels: tuple[int, ...]) -> None:
    traits = getattr(quants, name)
    assert traits.kvalues == levels


@pytest.mark.parametrize("exponent", [0, 1, 2, 127, 128, 252, 255])
def test_mxfp4_by_hand(exponent: int) -> None:
    """2**(e - 128) times doubled levels: from subnormal scales to infinite values."""
    block = bytes([exponent]) + bytes([0xF7] * 16)
    blocks = np.frombuffer(block, np.uint8).reshape(1, 17)
    values = dequantize(repack(blocks, "MXFP4", (1, 32)), "MXFP4", (1, 32))[0]
    expected = 12 * 2.0 ** (exponent - 128) if exponent < 253 else float("inf")
    assert values.tolist() == [expected] * 16 + [-expected] * 16


def test_bf16_by_hand() -> None:
    blocks = np.array([0x3F80, 0xC000, 0x7F80], np.uint16).view(np.uint8).reshape(1, 6)
    (stored,) = repack(blocks, "BF16", (3,))
    assert stored.array.tolist() == [0xC0003F80, 0x00007F80]
    assert dequantize([stored], "BF16", (3,)).tolist() == [1.0, -2.0, float("inf")]


@pytest.mark.parametrize(
    ("shape", "stored_shape"), [((3, 4), (3, 2)), ((3, 3), (5,)), ((5,), (3,))]
)
def test_f16_by_hand(shape: tuple[int, ...], stored_shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    halves = np.arange(count, dtype=np.float16).view(np.uint8)
    blocks = halves.reshape(int(np.prod(shape[:-1])), -1)
    (stored,) = repack(blocks, "F16", shape)
    assert (stored.suffix, stored.array.shape) == ("", stored_shape)
    assert stored.array.reshape(-1)[0] == 0x3C000000  # 0.0 low, 1.0 high
    assert np.array_equal(unpack([stored], "F16", shape), blocks)
    assert dequantize([stored], "F16", shape).reshape(-1).tolist() == list(range(count))


def test_f32_is_a_view_of_the_file() -> None:
    blocks = np.array([1.5, -2.0], np.float32).view(np.uint8).reshape(1, 8)
    (stored,) = repack(blocks, "F32", (2,))
    assert stored.array.tolist() == [1.5, -2.0]
    assert np.shares_memory(stored.array, blocks)


@pytest.mark.parametrize("name", ["IQ2_XXS", "IQ1_S", "TQ1_0", "NVFP4", "Q8_K"])
def test_an_unknown_block_type_is_named_with_the_way_out(name: str) -> None:
    with pytest.raises(UnsupportedBlockType, match=rf"{name}.*--quantize q4_k_m"):
        block_type(name, "blk.0.ffn_up.weight")
    with pytest.raises(UnsupportedBlockType, match=name):
        repack(np.zeros((1, 66), np.uint8), name, (1, 256))


def test_every_tensor_of_smollm2_survives_and_dequantizes_as_ggml_does(smollm2: Path) -> None:
    checkpoint = open_checkpoint(smollm2)
    for name, info in checkpoint.tensors.items():
        blocks = checkpoint.read_blocks(name)
        stored = repack(blocks, info.block_type, info.shape)
        assert np.array_equal(unpack(stored, info.block_type, info.shape), blocks), name
        found = dequantize(stored, info.block_type, info.shape)
        expected = quants.dequantize(blocks, GGMLQuantizationType[info.block_type])
        expected = expected.reshape(info.shape)
        assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), name
        checkpoint.release(name)
