"""Opens mutated headers one after the other and tells of any that is not taken as it should be.

`python -m tests.hostile.fuzz FORMAT FIRST COUNT FOLDER` is one batch, in a process of its own, so
that a crash takes nothing along; the file it died of stays in FOLDER. After the imports and one
file the address space may grow by 200 MB and no more (RLIMIT_AS: what goes beyond is a MemoryError,
and a finding); the growth of the highest resident memory is told as well. A case may take two
seconds of processor time (SIGPROF). With COUNT 1 it shows what one seed gives.
"""

import resource
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path

from tests.hostile.mutate import gguf_case, index_case, safetensors_case
from transom_compile.hub.folder import INDEX, open_weights
from transom_compile.hub.safetensors import open_safetensors
from transom_compile.sources.gguf import StringArray, open_checkpoint
from transom_models.errors import TransomError

MEMORY_BYTES = 200 * 1024 * 1024
SECONDS = 2.0
# An error is a line that a person reads.
MOST_CHARACTERS = 1000

Case = Callable[[int], bytes]
Open = Callable[[Path], None]


class TooSlow(BaseException):
    """Not an Exception, so that no handler in between takes it for something else."""


def open_gguf(path: Path) -> None:
    """All that the walk would look at: every metadata value, every tensor's bytes."""
    checkpoint = open_checkpoint(path)
    for value in checkpoint.metadata.values():
        if isinstance(value, StringArray):
            for _ in value:
                pass
    for name in checkpoint.tensors:
        checkpoint.read_blocks(name)
        checkpoint.release(name)


def open_one(path: Path) -> None:
    file = open_safetensors(path)
    for name in file.tensors:
        file.read(name)
        file.release(name)


def open_folder(path: Path) -> None:
    """The index and the one shard that a truthful index names."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    shard = path.with_name("one.safetensors")
    shard.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    weights = open_weights(path.parent)
    for name in weights:
        weights.read(name)


FORMATS: dict[str, tuple[Case, Open, str]] = {
    "gguf": (gguf_case, open_gguf, "case.gguf"),
    "safetensors": (safetensors_case, open_one, "case.safetensors"),
    "index": (index_case, open_folder, INDEX),
}


def run_batch(form: str, first: int, count: int, folder: Path) -> None:
    """Prints each finding, then `done REFUSED OPENED GROWTH` (bytes)."""
    make, open_it, name = FORMATS[form]
    path = folder / name
    signal.signal(signal.SIGPROF, _too_slow)
    _once(make(first), path, open_it)
    before = _peak_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES, hard))
    refused = 0
    for seed in range(first, first + count):
        finding, was_refused = _once(make(seed), path, open_it)
        refused += was_refused
        if finding:
            print(f"finding {form} {seed}: {finding}", flush=True)
        elif count == 1:
            print(f"{form} {seed}: {'refused' if was_refused else 'opened'}")
    print(f"done {refused} {count - refused} {_peak_bytes() - before}", flush=True)


def _once(data: bytes, path: Path, open_it: Open) -> tuple[str, bool]:
    """(what is wrong with how this file was taken, or nothing; whether it was refused)."""
    path.write_bytes(data)
    try:
        # Two blocks, so that a signal which comes as the timer ends is still a finding.
        try:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            open_it(path)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except TransomError as error:
        return _fault_of(str(error), path), True
    except TooSlow:
        return f"took more than {SECONDS} s", False
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}", False
    return "", False


def _fault_of(message: str, path: Path) -> str:
    if str(path.parent) not in message:
        return f"the error does not name the file: {message[:200]!r}"
    if "\n" in message or len(message) > MOST_CHARACTERS:
        return f"the error is not one line: {message[:200]!r}"
    return ""


def _too_slow(number: int, frame: types.FrameType | None) -> None:
    raise TooSlow


def _peak_bytes() -> int:
    # Not ru_maxrss, which a child takes over from its parent: pytest's is larger than the limit.
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    run_batch(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
