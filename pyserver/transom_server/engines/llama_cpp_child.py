"""The child of `llama_cpp.py`: one model in llama.cpp's own server, on a free port of this machine.

Its order is one line of JSON on stdin; it prints `{"address": …, "gpu_bytes": …}` once it can
answer, and ends when stdin ends, so that it never outlives its parent. Must know nothing of stores
and dialects.
"""

import json
import os
import sys
import threading
from typing import Any, Final
from urllib.parse import urlsplit

# A prompt cache in RAM beside the KV cache (llama.cpp's default is 8 GiB) would be memory that
# nobody asked for.
CACHE_RAM_MIB: Final = 0
# Copies of the keys and values of sliding windows, to take a conversation up again. One of a large
# model is hundreds of megabytes, and llama.cpp keeps 32 a slot. `memory` counts these.
CONTEXT_CHECKPOINTS: Final = 2
# A chat model that embeds works out the chances of all tokens after each one, twice over, though
# nobody asks: 1.2 GB for 1024 tokens of a large vocabulary.
LAST_PIECE_TOKENS: Final = 128
# Ollama's default of draft_num_predict.
DRAFT_TOKENS: Final = 4
# What cannot be read as a picture llama.cpp would hand to ffmpeg, as a film. No program lies here.
NO_FFMPEG: Final = os.devnull
# llama.cpp runs the model's own template when it loads, and gives up where it cannot read it. Ours
# are rendered elsewhere.
NO_TEMPLATE: Final = "{{ messages[0].content }}"


def main() -> None:
    """Serve until the parent is gone."""
    order = json.loads(sys.stdin.readline())
    # From now on, also while the model is read.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import xllamacpp

    free = free_on_cards(xllamacpp)
    server = xllamacpp.Server(parameters(xllamacpp, order))
    said = {
        "address": urlsplit(server.listening_address).netloc,
        "gpu_bytes": max(0, free - free_on_cards(xllamacpp)),
    }
    print(json.dumps(said), flush=True)
    threading.Event().wait()


def free_on_cards(xllamacpp: Any) -> int:
    """Bytes that are free on all graphics cards. Without any, as in the builds on PyPI, which know
    the processor alone, it is 0: so is what a model takes of them, whatever `gpu_layers` asks for.
    llama.cpp tells of no allocation but in its log; what other programs take or give back while a
    model is loaded is counted as the model's."""
    kinds = xllamacpp.ggml_backend_dev_type
    cards = (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU)
    found = xllamacpp.get_device_info()
    return sum(int(row["memory_free"]) for row in found if row["type"] in cards)


def parameters(xllamacpp: Any, order: dict[str, Any]) -> Any:
    """llama.cpp's settings for an order."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = order["weights"]
    # Each slot has a context for itself. In one that they share, tokens would depend on what else
    # is asked at the same time, and the first that fills it would end all.
    chosen.n_ctx = order["context_tokens"] * order["parallel"]
    chosen.n_parallel = order["parallel"]
    chosen.kv_unified = False
    if order["kv_type"] is not None:
        kept = getattr(xllamacpp.ggml_type, "GGML_TYPE_" + order["kv_type"].upper())
        chosen.cache_type_k = chosen.cache_type_v = kept
    # A port is open to whoever is on this machine; the key is the parent's.
    chosen.api_keys = [order["key"]]
    chosen.cors_origins = ""
    chosen.chat_template = NO_TEMPLATE
    chosen.ui = False
    chosen.endpoint_slots = False
    chosen.warmup = False
    # Threads that sleep while they wait: spinning ones starve whoever else runs here.
    chosen.cpuparams.poll = 0
    chosen.cpuparams_batch.poll = 0
    # Else it would change the context behind our back to fit free memory.
    chosen.fit_params = False
    chosen.ctx_shift = False
    chosen.cache_ram_mib = CACHE_RAM_MIB
    chosen.n_ctx_checkpoints = CONTEXT_CHECKPOINTS
    if order["projector"] is not None:
        chosen.mmproj.path = order["projector"]
    chosen.video_ffmpeg_bin_dir = NO_FFMPEG
    if order["adapters"]:
        chosen.lora_adapters = [
            xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in order["adapters"]
        ]
    if order["draft"] is not None and order["task"] == "generate" and order["draft_tokens"] != 0:
        _draft(xllamacpp, chosen.speculative, order)
    if order["batch_tokens"] is not None:
        # Each slot has a token in a step, at the least.
        batch = max(order["batch_tokens"], order["parallel"])
        chosen.n_batch = batch
        chosen.n_ubatch = min(chosen.n_ubatch, batch)
    if order["mmap"] is not None:
        modes = xllamacpp.llama_load_mode
        mapped, read = modes.LLAMA_LOAD_MODE_MMAP, modes.LLAMA_LOAD_MODE_NONE
        chosen.load_mode = mapped if order["mmap"] else read
    if order["gpu_layers"] is not None:
        chosen.n_gpu_layers = order["gpu_layers"]
    if order["main_gpu"] is not None:
        chosen.main_gpu = order["main_gpu"]
    if order["threads"] is not None:
        chosen.cpuparams.n_threads = order["threads"]
        chosen.cpuparams_batch.n_threads = order["threads"]
    if order["task"] != "generate":
        chosen.embedding = True
        # A text is computed in one piece, unless its last token alone is what counts.
        whole = order["context_tokens"]
        piece = min(LAST_PIECE_TOKENS, whole) if order["pooling"] == "last" else whole
        # llama.cpp reserves room for as many tokens of each slot, and dies where that is more.
        piece += -piece % order["parallel"]
        chosen.n_batch = chosen.n_ubatch = piece
        pooling = "rank" if order["task"] == "rerank" else order["pooling"]
        if pooling is not None:
            kinds = xllamacpp.llama_pooling_type
            chosen.pooling_type = getattr(kinds, "LLAMA_POOLING_TYPE_" + pooling.upper())
    return chosen


def _draft(xllamacpp: Any, chosen: Any, order: dict[str, Any]) -> None:
    chosen.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    draft = chosen.draft
    model = draft.mparams
    model.path = order["draft"]
    draft.mparams = model
    draft.n_max = order["draft_tokens"] or DRAFT_TOKENS
    if order["kv_type"] is not None:
        kept = getattr(xllamacpp.ggml_type, "GGML_TYPE_" + order["kv_type"].upper())
        draft.cache_type_k = draft.cache_type_v = kept
    if order["gpu_layers"] is not None:
        draft.n_gpu_layers = order["gpu_layers"]
    for processors in (draft.cpuparams, draft.cpuparams_batch):
        processors.poll = 0
        if order["threads"] is not None:
            processors.n_threads = order["threads"]


def _end_with_parent() -> None:
    sys.stdin.read()
    # No destructors: they wait for threads that have nothing left to say.
    os._exit(0)


if __name__ == "__main__":
    main()
