"""A small MLC model folder, every field true; tests make one of them lie."""

import hashlib
import json
from pathlib import Path
from typing import Any

CONVERSATION: dict[str, Any] = {
    "name": "chatml",
    "system_template": "<|im_start|>system\n{system_message}<|im_end|>\n",
    "system_message": "You are a helpful assistant.",
    "system_prefix_token_ids": [1],
    "add_role_after_system_message": True,
    "roles": {"user": "<|im_start|>user", "assistant": "<|im_start|>assistant"},
    "role_templates": {
        "user": "{user_message}",
        "assistant": "{assistant_message}",
        "tool": "{tool_message}",
    },
    "seps": ["<|im_end|>\n"],
    "role_content_sep": "\n",
    "role_empty_sep": "\n",
    "stop_str": ["<|im_end|>"],
    "stop_token_ids": [2],
    "function_string": "",
}


def leb(number: int) -> bytes:
    """Unsigned LEB128."""
    data = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        data.append(low | (0x80 if number else 0))
        if not number:
            return bytes(data)


def wasm(*exports: str, tail: bytes = b"") -> bytes:
    """A module that exports functions of these names; `tail` lies in a custom section."""
    rows = b"".join(leb(len(name)) + name.encode() + b"\0" + leb(0) for name in exports)
    section = leb(len(exports)) + rows
    custom = leb(1) + b"x" + tail
    sections = b"\7" + leb(len(section)) + section + b"\0" + leb(len(custom)) + custom
    return b"\0asm\1\0\0\0" + sections


def mlc_config() -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "model_type": "llama",
        "quantization": "q4f16_1",
        "context_window_size": 4096,
        "sliding_window_size": -1,
        "prefill_chunk_size": 1024,
        "vocab_size": 4,
        "eos_token_id": 2,
        "conv_template": json.loads(json.dumps(CONVERSATION)),
    }


def tokenizer() -> dict[str, Any]:
    added = {1: "<s>", 2: "</s>", 3: "<|im_end|>"}
    return {
        "added_tokens": [{"id": number, "content": text} for number, text in added.items()],
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
    }


def tensor_cache(shard: bytes) -> dict[str, Any]:
    def tensor(name: str, shape: list[int], dtype: str, kind: str, size: int, offset: int) -> Any:
        return {
            "name": name,
            "shape": shape,
            "dtype": dtype,
            "format": kind,
            "nbytes": size,
            "byteOffset": offset,
        }

    return {
        "metadata": {"ParamSize": 3, "ParamBytes": 64.0, "BitsPerParam": 4.5},
        "records": [
            {
                "dataPath": "params_shard_0.bin",
                "format": "raw-shard",
                "nbytes": len(shard),
                "records": [
                    tensor("model.embed_tokens.q_weight", [2, 4], "uint32", "raw", 32, 0),
                    tensor("model.embed_tokens.q_scale", [2, 3], "float16", "raw", 12, 32),
                    tensor("model.norm.weight", [10], "float32", "f32-to-bf16", 20, 44),
                ],
                "md5sum": hashlib.md5(shard, usedforsecurity=False).hexdigest(),
            }
        ],
    }


def write_mlc_model(folder: Path) -> Path:
    """The older name of the cache, as most published models still have it."""
    folder.mkdir(parents=True)
    shard = bytes(range(64))
    (folder / "params_shard_0.bin").write_bytes(shard)
    (folder / "ndarray-cache.json").write_text(json.dumps(tensor_cache(shard)))
    (folder / "mlc-chat-config.json").write_text(json.dumps(mlc_config()))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "model-webgpu.wasm").write_bytes(
        wasm("memory", "TVMFFIFunctionCall", tail=b"enable f16;\n@compute fn x() {}")
    )
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA model.\n")
    return folder
