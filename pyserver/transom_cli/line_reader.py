"""Lines typed at a keyboard, with editing, and a history that only its owner can read."""

import os
from pathlib import Path
from typing import Final

import platformdirs
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

OWNER_ONLY: Final = 0o600


class KeyboardReader:
    """See `LineReader`. What is typed is remembered in `history_path`, unless told not to."""

    def __init__(self) -> None:
        self._session = _session(True)

    def read(self, prompt: str) -> str:
        return self._session.prompt(prompt)

    def keep_history(self, keep: bool) -> None:
        self._session = _session(keep)


def history_path() -> Path:
    """The user's file; what was said to models may be private."""
    return platformdirs.user_state_path("transom") / "history"


def _session(keep: bool) -> "PromptSession[str]":
    history: History = InMemoryHistory()
    if keep:
        path = history_path()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, OWNER_ONLY))
            path.chmod(OWNER_ONLY)
            history = FileHistory(str(path))
        except OSError:
            # A home that cannot be written to is no reason not to talk.
            history = InMemoryHistory()
    return PromptSession(history=history)
