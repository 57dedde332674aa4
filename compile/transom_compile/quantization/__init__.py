"""Quantization by llama.cpp's own quantizer: which tensor gets which block type, and its bits."""
