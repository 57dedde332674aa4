"""A finished MLC model as its users publish it: which files it has, and that they belong together.

`mlc-chat-config.json`, `tensor-cache.json` (or the older `ndarray-cache.json`, which is the same by
another name), the shards that it names, `tokenizer.json`, and a wasm library. Everything is checked
before anybody copies a byte. Knows no store.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile.hub.folder import MAX_TOKENIZER_BYTES, optional_object, read_object
from transom_compile.mlc.conversation import chat_template, stop_texts
from transom_compile.mlc.errors import InvalidMlcModel
from transom_compile.mlc.wasm import read_library
from transom_compile.progress import Progress

CONFIG_NAME = "mlc-chat-config.json"
CACHE_NAMES = ("tensor-cache.json", "ndarray-cache.json")
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
TEMPLATE_NAME = "chat_template.jinja"

# A hundred layers of some dozen tensors, 300 bytes each, with room.
MAX_CACHE_BYTES = 32 * 1024 * 1024
# One blob of a manifest each, which holds 4096 with the other files.
MAX_SHARDS = 4000
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8
# What the page takes: a shard is held in memory whole.
MAX_SHARD_BYTES = 1024**3
MAX_TEMPLATE_BYTES = 256 * 1024
HASH_PIECE_BYTES = 4 * 1024 * 1024
# A file's own name and nothing more, as the page has it: no folders, no way up.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_DTYPE_BYTES = {"float32": 4, "uint32": 4, "int32": 4, "float16": 2, "uint8": 1, "int8": 1}
_PACKED_BF16 = "f32-to-bf16"


@dataclass(frozen=True, slots=True)
class MlcShard:
    """A file of weights; `md5` where the publisher gave one."""

    path: Path
    size: int
    md5: str | None


@dataclass(frozen=True, slots=True)
class MlcModel:
    """A model that was found whole. `variant`: "f16" or "f32", what the library computes in."""

    folder: Path
    config: Mapping[str, Any]
    tensor_cache: Path
    shards: tuple[MlcShard, ...]
    tokenizer: Path
    library: Path
    variant: str
    template: str
    notes: tuple[str, ...]


def read_mlc_folder(folder: Path, library: Path | None, template: str | None = None) -> MlcModel:
    """Look at every small file and the sizes of all others.

    `library`: the wasm, where the folder does not hold exactly one; `template`: the model's own
    Jinja, where the caller knows better than `conv_template`. Raises `InvalidMlcModel`.
    """
    if not (folder / CONFIG_NAME).is_file():
        raise InvalidMlcModel(f"{folder} is no MLC model: it has no {CONFIG_NAME}")
    config: Mapping[str, Any] = read_object(folder / CONFIG_NAME)
    _check_config(folder / CONFIG_NAME, config)
    tensor_cache = _find_cache(folder)
    shards = _read_cache(folder, tensor_cache)
    tokenizer = folder / TOKENIZER_NAME
    if not tokenizer.is_file():
        raise InvalidMlcModel(
            f"{folder} has no {TOKENIZER_NAME}; save the tokenizer with `transformers` and add it"
        )
    wasm = library or _find_library(folder)
    spellings = _added_tokens(tokenizer)
    if template is not None:
        # Else WebLLM would prompt it in words that its model never saw, and stop where they end.
        config = {key: value for key, value in config.items() if key != "conv_template"}
    config, stop_notes = _with_stop_ids(config, spellings)
    if not _stop_ids(config):
        raise InvalidMlcModel(f"{folder / CONFIG_NAME} names no token that ends an answer")
    if template is None:
        template, notes = _find_template(folder, config, spellings)
    else:
        notes = ("it has no prompt format for WebLLM; Transom's page renders its own template",)
    return MlcModel(
        folder=folder,
        config=config,
        tensor_cache=tensor_cache,
        shards=shards,
        tokenizer=tokenizer,
        library=wasm,
        variant=read_library(wasm),
        template=template,
        notes=(*notes, *stop_notes),
    )


def check_md5(model: MlcModel, progress: Progress) -> None:
    """Compare the shards with the md5 that their publisher noted, where one is given."""
    for shard in model.shards:
        if shard.md5 is None:
            continue
        hasher = hashlib.md5(usedforsecurity=False)
        with shard.path.open("rb") as file:
            while piece := file.read(HASH_PIECE_BYTES):
                hasher.update(piece)
                progress.advance(len(piece))
        if hasher.hexdigest() != shard.md5:
            raise InvalidMlcModel(
                f"{shard.path} has md5 {hasher.hexdigest()}, but {model.tensor_cache.name} says "
                f"{shard.md5}: fetch it again"
            )


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    for key in ("model_type", "quantization"):
        if not isinstance(config.get(key), str):
            raise InvalidMlcModel(f"{path} has no {key}")
    if _integer(config.get("sliding_window_size", -1)) not in (-1, None):
        raise InvalidMlcModel(
            f"{path} asks for a sliding window of {config['sliding_window_size']} tokens, "
            "which the page cannot do"
        )
    window = _integer(config.get("context_window_size"))
    if window is None or window < 2:
        raise InvalidMlcModel(f"{path} has no context_window_size")


def _find_cache(folder: Path) -> Path:
    for name in CACHE_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InvalidMlcModel(f"{folder} has neither {' nor '.join(CACHE_NAMES)}")


def _find_library(folder: Path) -> Path:
    found = sorted(folder.glob("*.wasm"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:8]) or "none"
        raise InvalidMlcModel(
            f"{folder} should hold one .wasm file (it has: {names}); MLC publishes libraries "
            "apart from weights, name yours with --library FILE.wasm"
        )
    return found[0]


def _read_cache(folder: Path, path: Path) -> tuple[MlcShard, ...]:
    records = read_object(path, MAX_CACHE_BYTES).get("records")
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_SHARDS:
        raise InvalidMlcModel(f"{path}: records is not a list of 1 to {MAX_SHARDS} shards")
    shards: dict[str, MlcShard] = {}
    tensors: set[str] = set()
    for number, record in enumerate(records):
        where = f"{path}: records[{number}]"
        shard = _read_shard(folder, where, record)
        if shard.path.name in shards:
            raise InvalidMlcModel(f"{where}: {shard.path.name} is there twice")
        shards[shard.path.name] = shard
        _check_tensors(where, record.get("records"), shard.size, tensors)
    return tuple(shards.values())


def _read_shard(folder: Path, where: str, record: Any) -> MlcShard:
    if not isinstance(record, dict):
        raise InvalidMlcModel(f"{where} is not an object")
    name = record.get("dataPath")
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        raise InvalidMlcModel(f"{where}: dataPath {str(name)[:80]!r} is not a plain file name")
    path = folder / name
    if not path.is_file():
        raise InvalidMlcModel(f"{where}: {folder} has no {name}")
    size = path.stat().st_size
    if _integer(record.get("nbytes")) != size:
        raise InvalidMlcModel(
            f"{where}: {name} has {size} bytes, not {str(record.get('nbytes'))[:40]}; "
            "fetch it again"
        )
    if size > MAX_SHARD_BYTES:
        raise InvalidMlcModel(f"{where}: {name} has {size} bytes; a page can hold 1 GiB at once")
    md5 = record.get("md5sum")
    if md5 is not None and not (isinstance(md5, str) and re.fullmatch(r"[0-9a-f]{32}", md5)):
        raise InvalidMlcModel(f"{where}: md5sum {str(md5)[:80]!r} is no md5")
    return MlcShard(path, size, md5)


def _check_tensors(where: str, rows: Any, size: int, seen: set[str]) -> None:
    if not isinstance(rows, list) or len(seen) + len(rows) > MAX_TENSORS:
        raise InvalidMlcModel(f"{where}: records is not a list of at most {MAX_TENSORS} tensors")
    for number, row in enumerate(rows):
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str) or name in seen:
            raise InvalidMlcModel(f"{where}.records[{number}] has no name of its own")
        seen.add(name)
        dtype, form = row.get("dtype"), row.get("format")
        width = _DTYPE_BYTES.get(dtype) if isinstance(dtype, str) else None
        if width is None or form not in ("raw", _PACKED_BF16):
            raise InvalidMlcModel(
                f"{where}: tensor {name[:80]} is {str(dtype)[:40]!r} in format {str(form)[:40]!r}, "
                "which the page does not know"
            )
        stored = 2 if form == _PACKED_BF16 else width
        nbytes, offset = _integer(row.get("nbytes")), _integer(row.get("byteOffset"))
        count = _element_count(row.get("shape"))
        if (
            count is None
            or nbytes != count * stored
            or offset is None
            or not 0 <= offset <= size - nbytes
        ):
            raise InvalidMlcModel(
                f"{where}: tensor {name[:80]} does not fit: shape {str(row.get('shape'))[:60]}, "
                f"{str(nbytes)[:40]} bytes at {str(offset)[:40]} of {size}"
            )


def _element_count(shape: Any) -> int | None:
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        return None
    count = 1
    for extent in shape:
        if type(extent) is not int or not 1 <= extent < 2**31:
            return None
        count *= extent
    return count


def _find_template(
    folder: Path, config: Mapping[str, Any], spellings: Mapping[int, str]
) -> tuple[str, tuple[str, ...]]:
    """What WebLLM would do with it comes first; the model's own template where MLC gives none."""
    conversation = config.get("conv_template")
    if isinstance(conversation, dict):
        return chat_template(conversation, spellings), ()
    template = optional_object(folder / TOKENIZER_CONFIG_NAME).get("chat_template")
    if (folder / TEMPLATE_NAME).is_file():
        data = (folder / TEMPLATE_NAME).read_bytes()
        template = data.decode(errors="replace") if len(data) <= MAX_TEMPLATE_BYTES else None
    if isinstance(template, str) and 0 < len(template.encode()) <= MAX_TEMPLATE_BYTES:
        return template, ("it has no conv_template; the tokenizer's chat template is used",)
    raise InvalidMlcModel(
        f"{folder / CONFIG_NAME} has no conv_template, and there is no other chat template: "
        "nobody can say what a prompt looks like"
    )


def _added_tokens(path: Path) -> dict[int, str]:
    rows = read_object(path, MAX_TOKENIZER_BYTES).get("added_tokens")
    found = {}
    for row in rows if isinstance(rows, list) else []:
        match row:
            case {"id": int(number), "content": str(text)}:
                found[number] = text
            case _:
                raise InvalidMlcModel(f"{path}: added_tokens has a row without id or content")
    return found


def _with_stop_ids(
    config: Mapping[str, Any], spellings: Mapping[int, str]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """`stop_str` as token ids, which is what the page stops at; what is no token is noted."""
    conversation = config.get("conv_template")
    if not isinstance(conversation, dict):
        return config, ()
    by_text = {text: number for number, text in spellings.items()}
    texts = stop_texts(conversation)
    known = _ids(conversation.get("stop_token_ids"))
    more = [by_text[text] for text in texts if text in by_text and by_text[text] not in known]
    left = [text for text in texts if text not in by_text]
    notes = tuple(f"the page does not stop at the text {text[:40]!r}" for text in left)
    if not more:
        return config, notes
    changed = {**conversation, "stop_token_ids": [*known, *more]}
    return {**config, "conv_template": changed}, notes


def _stop_ids(config: Mapping[str, Any]) -> Sequence[int]:
    conversation = config.get("conv_template")
    own = conversation.get("stop_token_ids") if isinstance(conversation, dict) else None
    return [*_ids(config.get("eos_token_id")), *_ids(own)]


def _ids(value: Any) -> list[int]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if type(item) is int]


def _integer(value: Any) -> int | None:
    return value if type(value) is int else None
