"""Steps 1 to 3 of the walk: open a checkpoint, know its architecture, match its names.

Reads the header only, so it costs a blink for any size. Knows no bundle and no compiler.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile import chat_config as chatting
from transom_compile.binding import divide_large
from transom_compile.names import Plan, match_names, read_config_vectors
from transom_compile.sources.checkpoint import Checkpoint, CheckpointError
from transom_compile.sources.gguf import open_checkpoint
from transom_compile.tokenizers import Tokenizer, convert_tokenizer
from transom_models.architecture import ARCHITECTURE_KEY, load_architecture
from transom_models.errors import TransomError
from transom_models.ggml_types import FILE_TYPES
from transom_models.licence import stated_licence
from transom_models.native_config import NativeFacts

# A context or chunk below this holds no chat; the paged KV cache counts in pages of 16.
MIN_WINDOW = 64


class CompileError(TransomError):
    """An option or the output folder does not fit."""


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint that has been recognised; no weight has been read."""

    checkpoint: Checkpoint
    architecture: str
    config: Any
    plan: Plan
    tokenizer: Tokenizer
    context_window: int
    prefill_chunk: int

    @property
    def task(self) -> str:
        """ "chat" or "embedding"."""
        return load_architecture(self.architecture).TASK

    @property
    def licence(self) -> str | None:
        """As the checkpoint states it, e.g. "apache-2.0"."""
        return stated_licence(self.checkpoint.metadata)

    @property
    def facts(self) -> NativeFacts:
        """What the config of its native platform says."""
        metadata, name = self.checkpoint.metadata, self.architecture

        def length(key: str) -> int | None:
            value = metadata.get(f"{name}.{key}")
            return int(value) if isinstance(value, int) else None

        file_type = metadata.get("general.file_type")
        return NativeFacts(
            architecture=name,
            parameter_count=sum(math.prod(i.shape) for i in self.checkpoint.tensors.values()),
            file_type=FILE_TYPES.get(file_type if isinstance(file_type, int) else -1)
            or self.main_block_type,
            context_length=length("context_length"),
            embedding_length=length("embedding_length"),
        )

    @property
    def histogram(self) -> list[tuple[str, int]]:
        """Block types of the checkpoint's tensors, most frequent first."""
        counts = Counter(info.block_type for info in self.checkpoint.tensors.values())
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def main_block_type(self) -> str:
        """The block type that most bytes are in."""
        sizes: Counter[str] = Counter()
        for info in self.checkpoint.tensors.values():
            sizes[info.block_type] += info.nbytes
        return min(sizes, key=lambda name: (-sizes[name], name))


def recognise(path: Path, context: int | None, prefill_chunk: int) -> Model:
    """Open and check a GGUF file. `context` None: the model's own, up to 4 096 tokens.

    Raises a `TransomError` naming what is wrong.
    """
    checkpoint = open_checkpoint(path)
    name = checkpoint.metadata.get(ARCHITECTURE_KEY)
    if not isinstance(name, str):
        raise CheckpointError(f"{path} does not name its architecture ({ARCHITECTURE_KEY})")
    architecture = load_architecture(name)
    vectors = read_config_vectors(checkpoint, architecture.CONFIG_TENSORS)
    config = architecture.read_config(checkpoint.metadata, vectors)
    block_types = {info.name: info.block_type for info in checkpoint.tensors.values()}
    specs = divide_large(architecture.parameters(config, block_types))
    plan = match_names(specs, checkpoint.tensors, name, architecture.CONFIG_TENSORS)
    tokenizer = convert_tokenizer(checkpoint.metadata)
    window = choose_window(context, config.context_length)
    chunk = choose_chunk(architecture.TASK, prefill_chunk, window)
    return Model(checkpoint, name, config, plan, tokenizer, window, chunk)


def choose_window(asked: int | None, trained: int) -> int:
    """The context window in tokens. Raises `CompileError` for one that the model cannot have."""
    if asked is None:
        return min(trained, chatting.DEFAULT_CONTEXT_WINDOW)
    if not MIN_WINDOW <= asked <= trained:
        raise CompileError(
            f"a context of {asked} tokens is not from {MIN_WINDOW} to the model's {trained}"
        )
    return asked


def choose_chunk(task: str, asked: int, window: int) -> int:
    """Most tokens that run at once; an encoder has to see its text whole. Raises `CompileError`."""
    chunk = window if task == "embedding" else min(asked, window)
    if chunk < MIN_WINDOW:
        raise CompileError(f"a prefill chunk of {chunk} tokens is below {MIN_WINDOW}")
    return chunk
