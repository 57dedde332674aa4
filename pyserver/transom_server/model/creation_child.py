"""`/api/create` where weights are converted, quantized or compiled: our own command line in a
process of its own, so that the server stays small and never imports the compiler.

The command gets a folder of links to blobs under plain names, and a Modelfile; it can name nothing
else. Knows the command and its event lines (docs/formats/events.md), not what it does.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from transom_models.digest import Digest
from transom_models.modelfile import Modelfile, write_modelfile
from transom_models.name import ModelName
from transom_server.model.creation import READING, CannotCreate
from transom_server.store import Store
from transom_server.store.work import work_folder
from transom_server.transfer.status import SUCCESS, Cancelled, Report, Status

# The words of Ollama for what the command's phases do.
_WORDS: Final = {
    "convert": "converting model",
    "quantize": "quantizing",
    "read": "reading weights",
    "repack": "packing weights",
    "texts": "writing tokenizer and template",
    "libraries": "compiling for browsers",
    "seal": "writing manifest",
    "keep": "writing layers",
}
_COMMAND: Final = "import sys; from transom_cli.main import main; main()"
# A cancelled command cleans up by itself, and is killed when it does not.
_END_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.25
# An event is a line; a longer one is none of ours.
_MAX_LINE_CHARS: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the command is to make. `files`: plain name -> blob, empty where the base of the
    Modelfile is a model's name."""

    name: ModelName
    modelfile: Modelfile
    files: Mapping[str, Digest]
    adapters: Mapping[str, Digest]
    quantize: str | None
    compiles: bool = False
    """Also for browsers; a model that none can run becomes native alone, with a note."""


def create_in_child(
    store: Store, wanted: Conversion, report: Report, cancelled: threading.Event
) -> None:
    """Run the command, tell what it tells. Raises `CannotCreate` with its error, `Cancelled`."""
    report(Status(READING))
    with work_folder(store.scratch) as folder:
        path = _write(store, wanted, folder)
        arguments = ["create", str(wanted.name), "--file", str(path), "--json"]
        if wanted.quantize is not None:
            arguments += ["--quantize", wanted.quantize]
        error = "it ended without a word"
        with _running(arguments, store.location, cancelled) as lines:
            for event in lines:
                if event.get("event") == "error":
                    error = str(event.get("message"))
                elif event.get("event") == "report":
                    error = ""
                    for note in _notes(event):
                        report(Status(note))
                elif (status := _status(event)) is not None:
                    report(status)
    if cancelled.is_set():
        raise Cancelled
    if error:
        raise CannotCreate(error)
    report(Status(SUCCESS))


def _write(store: Store, wanted: Conversion, folder: Path) -> Path:
    """The folder's links and its Modelfile."""
    base = wanted.modelfile.base
    if wanted.files:
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        for label, digest in wanted.files.items():
            (checkpoint / label).symlink_to(store.blob_path(digest).absolute())
        single = next(iter(wanted.files)) if len(wanted.files) == 1 else ""
        base = f"./checkpoint/{single}".rstrip("/")
    for label, digest in wanted.adapters.items():
        (folder / "adapter").mkdir(exist_ok=True)
        (folder / "adapter" / label).symlink_to(store.blob_path(digest).absolute())
    adapters = [f"./adapter/{label}" for label in wanted.adapters if label.endswith(".gguf")]
    if len(adapters) < len(wanted.adapters):
        adapters = ["./adapter"]  # PEFT's, whose parts are one thing
    platforms = () if wanted.compiles else ("native",)
    said = replace(wanted.modelfile, base=base, adapters=tuple(adapters), platforms=platforms)
    path = folder / "Modelfile"
    path.write_text(write_modelfile(said))
    return path


@contextmanager
def _running(
    arguments: list[str], location: str, cancelled: threading.Event
) -> Iterator[Iterator[dict[str, Any]]]:
    """The event lines of the command, which ends with the block."""
    environment = {**os.environ, "TRANSOM_MODELS": location}
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        # A Ctrl-C for the server is not one for the command: the server ends it itself.
        start_new_session=True,
    )
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            if cancelled.is_set():
                process.terminate()
                if not over.wait(_END_SECONDS):
                    process.kill()
                return

    watcher = threading.Thread(target=watch, name="transom-create-watch")
    watcher.start()
    try:
        assert process.stdout is not None
        with process.stdout as stdout:
            yield _events(stdout)
    finally:
        # It has closed its output, so its end is near; a reader that failed must not wait for it.
        process.terminate()
        process.wait()
        over.set()
        watcher.join()


def _events(stdout: Any) -> Iterator[dict[str, Any]]:
    while line := stdout.readline(_MAX_LINE_CHARS):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _notes(event: Mapping[str, Any]) -> list[str]:
    """What a person should know of what was made."""
    notes = event.get("notes")
    return [f"note: {note}" for note in notes] if isinstance(notes, list) else []


def _status(event: Mapping[str, Any]) -> Status | None:
    phase = event.get("phase")
    if event.get("event") not in ("phase", "progress", "items") or not isinstance(phase, str):
        return None
    if phase == SUCCESS:
        return None  # of a part; the end is told by the report
    text = _WORDS.get(phase, phase)
    if event.get("event") == "items":
        # Ollama's lines count bytes only, and these are no bytes.
        return Status(f"{text}: {event.get('done')} of {event.get('total')}")
    total, done = event.get("total_bytes"), event.get("done_bytes", 0)
    if isinstance(total, int) and isinstance(done, int):
        return Status(text, None, total, done)
    return Status(text)
