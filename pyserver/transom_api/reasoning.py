"""What a model thinks, told from what it answers.

A model thinks first or not at all, so only the beginning of an answer is looked at; many templates
open the thinking themselves, as the prompt's last words.
"""

from typing import Final

from transom_api.deltas import Delta, Reasoning
from transom_api.session import AnswerReader
from transom_api.tools.reader import MAX_SPACE

# What opens thinking, and what closes it: Qwen and DeepSeek, Mistral, Cohere, Seed, Granite.
MARKERS: Final = {
    "<think>": "</think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<seed:think>": "</seed:think>",
    "<thinking>": "</thinking>",
}


def closer_of(prompt: str) -> str | None:
    """What closes the thinking that a prompt's last words open, or None."""
    text = prompt.rstrip()
    return next((closer for opener, closer in MARKERS.items() if text.endswith(opener)), None)


class ThinkingReader:
    """Reasoning up to its closer; the rest goes to the reader of the answer. `closer`: the prompt
    has opened the thinking already."""

    def __init__(self, choice: int, answer: AnswerReader, closer: str | None = None) -> None:
        self._choice = choice
        self._answer = answer
        self._closer = closer
        self._held = ""
        self._is_answer = False
        self._has_thought = False
        self._has_words = False

    def feed(self, text: str) -> list[Delta]:
        """See `transom_api.session.AnswerReader`."""
        thought: list[str] = []
        deltas: list[Delta] = []
        for number, char in enumerate(text):
            if self._is_answer:
                deltas += self._answer.feed(text[number:])
                break
            if self._closer is not None:
                thought.append(self._think(char, self._closer))
            else:
                deltas += self._begin(char)
        if said := "".join(thought):
            return [Reasoning(self._choice, said), *deltas]
        return deltas

    def finish(self) -> list[Delta]:
        """See `transom_api.session.AnswerReader`."""
        held, self._held = self._held, ""
        deltas: list[Delta] = []
        if self._closer is not None and held.strip():
            deltas.append(Reasoning(self._choice, held))
        elif self._closer is None and held and not self._has_thought:
            deltas += self._answer.feed(held)
        return [*deltas, *self._answer.finish()]

    def _begin(self, char: str) -> list[Delta]:
        """Before the first word of either."""
        self._held += char
        word = self._held.lstrip()
        if len(self._held) <= MAX_SPACE:
            if self._has_thought and not word:
                return []
            if not self._has_thought and word in MARKERS:
                self._closer, self._held = MARKERS[word], ""
                return []
            if not self._has_thought and any(opener.startswith(word) for opener in MARKERS):
                return []
        self._is_answer = True
        # White space between the two is layout.
        said, self._held = (word if self._has_thought else self._held), ""
        return list(self._answer.feed(said)) if said else []

    def _think(self, char: str, closer: str) -> str:
        """Words of the thinking that are sure to be some; white space at its ends is layout."""
        self._held += char
        word = self._held.lstrip()
        said = ""
        if word == closer:
            self._closer, self._held, self._has_thought = None, "", True
        elif not closer.startswith(word) or len(self._held) > MAX_SPACE:
            # The longest end of it that may be white space and the beginning of a closer.
            keep = next(
                at
                for at in range(1, len(self._held) + 1)
                if closer.startswith(self._held[at:].lstrip())
            )
            said, self._held = self._held[:keep], self._held[keep:]
        if not self._has_words:
            said = said.lstrip()
            self._has_words = bool(said)
        return said
