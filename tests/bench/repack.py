"""How fast blocks become stored tensors: python -m tests.bench.repack [--megabytes N] [TYPE ...]

One random tensor per block type, repacked a few times; prints MB of GGUF blocks per second (the
best run: others share the machine) and how much memory the stored tensors take beside the blocks.
"""

import argparse
import time

import numpy as np

from transom_compile.repack import repack
from transom_models.block_type import BLOCK_TYPES

MEGABYTE = 1_000_000
RUNS = 3
ROW_ELEMENTS = 4096


def measure(name: str, megabytes: int) -> tuple[float, float]:
    """MB per second, bytes stored per byte of blocks."""
    kind = BLOCK_TYPES[name]
    row_bytes = ROW_ELEMENTS // kind.elements * kind.block_bytes
    rows = megabytes * MEGABYTE // row_bytes
    blocks = np.random.default_rng(0).integers(0, 256, (rows, row_bytes), dtype=np.uint8)
    best, stored_bytes = float("inf"), 0
    for _ in range(RUNS):
        start = time.perf_counter()
        stored = repack(blocks, name, (rows, ROW_ELEMENTS))
        best = min(best, time.perf_counter() - start)
        stored_bytes = sum(tensor.array.nbytes for tensor in stored)
    return blocks.nbytes / best / MEGABYTE, stored_bytes / blocks.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("types", nargs="*", metavar="TYPE", help="block types (default: all)")
    parser.add_argument("--megabytes", type=int, default=64)
    options = parser.parse_args()
    for name in options.types or BLOCK_TYPES:
        speed, size = measure(name, options.megabytes)
        print(f"{name:8} {speed:7.0f} MB/s  stored / blocks {size:.3f}")


if __name__ == "__main__":
    main()
