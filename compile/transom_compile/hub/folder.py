"""A Hugging Face folder: its JSON files, read with limits, and its weights over all shards.

Knows file names, not what they mean: configs, tokenizers and tensors are for others to understand.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from transom_compile.hub.safetensors import (
    MAX_TENSORS,
    SafetensorsFile,
    StoredTensor,
    open_safetensors,
)
from transom_compile.sources.checkpoint import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# A config.json is a few KB; those that list every layer or label reach some hundred KB.
MAX_CONFIG_BYTES = 4 * 1024 * 1024
# The largest tokenizer.json (262 144 tokens, twice as many merges) is 33 MB.
MAX_TOKENIZER_BYTES = 64 * 1024 * 1024
# The index names each tensor and its file in about 100 bytes.
MAX_INDEX_BYTES = 16 * 1024 * 1024
# The largest published checkpoints have under 200 shards.
MAX_SHARDS = 1024
# What file systems allow.
MAX_FILE_NAME_BYTES = 255


class Weights:
    """The tensors of a folder, whichever shard holds them."""

    def __init__(self, files: Mapping[str, SafetensorsFile]) -> None:
        self._files = files
        """Tensor name -> the file that holds it."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __len__(self) -> int:
        return len(self._files)

    def info(self, name: str) -> StoredTensor:
        return self._files[name].tensors[name]

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """uint8 [nbytes], a read-only view of the file."""
        return self._files[name].read(name)

    def release(self, name: str, start: int = 0, end: int | None = None) -> None:
        """Let the tensor's pages leave memory, or those of its bytes `start` to `end`."""
        self._files[name].release(name, start, end)


def read_json(path: Path, cap: int) -> Any:
    """A JSON file of at most `cap` bytes. Raises `CheckpointError` naming the file."""
    text = read_text(path, cap)
    try:
        return json.loads(text)
    except RecursionError:
        raise CheckpointError(f"{path} nests deeper than any such file") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {str(error)[:120]}") from None


def read_object(path: Path, cap: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON file that holds one object."""
    value = read_json(path, cap)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds {type(value).__name__}, not a JSON object")
    return value


def optional_object(path: Path, cap: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """The same of a file that need not exist: then it says nothing."""
    return read_object(path, cap) if path.is_file() else {}


def read_text(path: Path, cap: int = MAX_CONFIG_BYTES) -> str:
    data = read_bytes(path, cap)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path} is not valid UTF-8") from None


def read_bytes(path: Path, cap: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(cap + 1)
    except OSError as error:
        raise CheckpointError(f"cannot open {path}: {error.strerror or error}") from error
    if len(data) > cap:
        raise CheckpointError(f"{path} is longer than the {cap} bytes that Transom accepts")
    return data


def open_weights(folder: Path) -> Weights:
    """Every tensor of the folder: one file, or the shards that its index names.

    Raises `CheckpointError` when a shard is missing, or holds other tensors than the index says.
    """
    # Where both are there, the index is what an earlier save left behind; transformers agrees.
    if (folder / WEIGHTS).is_file():
        file = open_safetensors(folder / WEIGHTS)
        return Weights(MappingProxyType(dict.fromkeys(file.tensors, file)))
    if (folder / INDEX).is_file():
        return Weights(_sharded(folder))
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    if others:
        raise CheckpointError(
            f"{folder} has {', '.join(others[:3])} but neither {WEIGHTS} nor {INDEX}; "
            "fetch the missing file"
        )
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        raise CheckpointError(
            f"{folder} has its weights as pickles, which can run code when they are read; "
            "save it again as safetensors (save_pretrained does)"
        )
    raise CheckpointError(f"{folder} has no {WEIGHTS}")


def _is_file_name(name: str) -> bool:
    plain = Path(name).name == name and name.isprintable() and "\\" not in name
    return plain and 0 < len(name.encode("utf-8", "replace")) <= MAX_FILE_NAME_BYTES


def _sharded(folder: Path) -> Mapping[str, SafetensorsFile]:
    path = folder / INDEX
    weight_map = read_object(path, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map")
    if len(weight_map) > MAX_TENSORS:
        raise CheckpointError(f"{path} names more than {MAX_TENSORS} tensors")
    names: dict[str, None] = {}
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not _is_file_name(name):
            raise CheckpointError(
                f"{path}: tensor {tensor[:100]!r} is in {str(name)[:100]!r}, "
                "which is not the name of a file in this folder"
            )
        names[name] = None
    if len(names) > MAX_SHARDS:
        raise CheckpointError(f"{path} names {len(names)} shards, more than {MAX_SHARDS}")
    files: dict[str, SafetensorsFile] = {}
    for name in names:
        shard = open_safetensors(folder / name)
        for tensor in shard.tensors:
            if weight_map.get(tensor) != name:
                raise CheckpointError(f"{shard.path} holds tensor {tensor}, against {INDEX}")
            files[tensor] = shard
    missing = [tensor for tensor in weight_map if tensor not in files]
    if missing:
        raise CheckpointError(
            f"{folder / str(weight_map[missing[0]])} lacks tensor {missing[0]}, which {INDEX} "
            f"promises ({len(missing)} such)"
        )
    return MappingProxyType(files)
