"""WebGPU kernels as TIR, one file per family. They know shapes and block types, never a model."""
