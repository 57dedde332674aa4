"""How a kernel reads a stored weight: from planes of u32 to f32 values.

`quants`: how words become numbers. `scales`: what numbers are multiplied by. `reader`: both
together for each block type, and the one way in for kernels.
"""

from transom_compile.kernels.weights.reader import GROUP, PIECE, WeightReader

__all__ = ["GROUP", "PIECE", "WeightReader"]
