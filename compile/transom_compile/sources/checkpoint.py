"""What every source format gives the walk: metadata, tensor infos, and raw blocks read on demand.

Knows no file format and no architecture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from transom_models.errors import TransomError

Blocks = npt.NDArray[np.uint8]
# Numeric arrays are NumPy views of the file; arrays of strings decode one item at a time.
MetadataValue = bool | int | float | str | npt.NDArray[np.generic] | Sequence[str]


class CheckpointError(TransomError):
    """The checkpoint file is not what it says it is. Names the file, the thing and the byte."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the file describes it.

    `shape` is in NumPy order (rows first, the last axis is contiguous), `offset` counts from the
    start of the file, `nbytes` is the exact size of its blocks without padding.
    """

    name: str
    shape: tuple[int, ...]
    block_type: str
    offset: int
    nbytes: int


class Checkpoint(Protocol):
    """Published weights as found, opened but not read."""

    @property
    def path(self) -> Path: ...

    @property
    def metadata(self) -> Mapping[str, MetadataValue]: ...

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """In the order of the file."""
        ...

    def read_blocks(self, name: str) -> Blocks:
        """uint8 [rows, bytes per row] of one tensor (1 row for a vector); a read-only view."""
        ...

    def release(self, name: str) -> None:
        """Say that this tensor's bytes are not needed again, so that its pages may leave memory."""
        ...
