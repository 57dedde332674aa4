"""Every cap on what a checkpoint file may claim about itself, each with its reason.

A header is believed only up to these numbers: none of them is near a published model, and each one
bounds the memory or the time that a lying file can cost. Knows no format; readers import from here.
"""

# Specification: "up to 2^16-1 bytes". Real keys stay below 100.
MAX_KEY_BYTES = 65_535
# ggml itself refuses names of 64 bytes and more; builds that raise its limit use 128.
MAX_TENSOR_NAME_BYTES = 128
# The longest real strings are licences and chat templates, tens of kilobytes.
MAX_STRING_BYTES = 4 * 1024 * 1024
# Real files hold 20 to 60 keys; per-layer notes of merge tools reach some hundreds.
MAX_METADATA_KEYS = 16_384
# Vocabularies reach 262 144 tokens, merge lists about twice that.
MAX_ARRAY_LENGTH = 4 * 1024 * 1024
# The format allows arrays of arrays; llama.cpp refuses them and no published file holds one.
MAX_ARRAY_DEPTH = 1
# A mixture of experts stored one tensor per expert stays below 50 000.
MAX_TENSORS = 131_072
# ggml's GGML_MAX_DIMS: a fifth dimension cannot run natively.
MAX_DIMENSIONS = 4
# 2^48 elements are more than any file holds, and sizes computed from them cannot overflow.
MAX_ELEMENTS = 1 << 48
# Default is 32; a memory page is the largest with a use, a huge page the largest imaginable.
MAX_ALIGNMENT = 2 * 1024 * 1024
