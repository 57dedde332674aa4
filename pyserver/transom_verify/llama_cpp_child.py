"""The child of `llama_cpp.py`: `python -m transom_verify.llama_cpp_child MODEL CONTEXT_TOKENS`.

Prints the server's address and runs until stdin ends, so that it never outlives its parent. Its
log is on stderr, which a thread of llama.cpp's writes.
"""

import os
import sys


def main(model: str, context_tokens: str) -> None:
    """Serve `model` on a free port of this machine alone."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = int(context_tokens)
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    # Threads that sleep while they wait: spinning ones starve whoever else runs here.
    parameters.cpuparams.poll = 0
    parameters.cpuparams_batch.poll = 0
    # Asked not to fit the model to free memory: it would change the context behind our back.
    parameters.fit_params = False
    # A window's cache would forget tokens that the next prefix still has.
    parameters.swa_full = True
    parameters.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    # Its destructor waits for threads that have nothing left to say.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
