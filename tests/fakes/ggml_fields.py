"""Where the fields of GGML's blocks lie, for tests that make up blocks with sensible scales.

Written from ggml-org/ggml src/ggml-common.h; knows nothing of Transom.
"""

HALF_FIELDS = {
    **dict.fromkeys(["Q4_0", "Q5_0", "Q8_0", "IQ4_NL", "IQ4_XS"], (0,)),
    **dict.fromkeys(["Q4_1", "Q5_1", "Q4_K", "Q5_K"], (0, 2)),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q6_K": (208,),
}
"""Byte offsets of a block's f16 fields: scale, then minimum."""
QUANT_BYTES = {
    **dict.fromkeys(["Q4_0", "Q5_0", "Q8_0"], slice(2, None)),
    **dict.fromkeys(["Q4_1", "Q5_1"], slice(4, None)),
    **dict.fromkeys(["Q4_K", "Q5_K"], slice(16, None)),
    "Q2_K": slice(16, 80),
    "Q3_K": slice(0, 96),
    "Q6_K": slice(0, 192),
}
"""Where a block's quants are, for types with a zero point or a minimum."""
SUB_SCALE = {"Q2_K": 8, "Q3_K": 16, "Q4_K": 32, "Q5_K": 32, "Q6_K": 64, "IQ4_XS": 32}
"""About what the integer scales multiply the f16 one by."""
E8M0_FIELD = 0
"""Byte offset of MXFP4's exponent."""
E8M0_SMALL = (118, 124)
"""Exponents that give values about as large as an f16 scale of 0.02 does."""
