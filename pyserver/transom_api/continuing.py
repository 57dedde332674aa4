"""A prompt that ends inside the model's last message, so that the model goes on with it.

Templates close a message, trim it, drop its thoughts. So the template is asked with a word of our
own in the text's place; the prompt is what it says before that word, and the text as it was sent.
Pure: the template is rendered by a function given in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from transom_api.conversation import Row
from transom_api.reasoning import MARKERS, closer_of
from transom_models.errors import TransomError

# Letters only, so that a template that trims or looks for tags leaves it alone.
_CONTINUED: Final = "qzContinuedqz"
_CHANNEL: Final = "<|channel|>"
_THOUGHT_CHANNEL: Final = "<|channel|>analysis<|message|>"

Render = Callable[[Sequence[Row], bool], str]
"""The prompt of these messages; true: with the beginning of an answer behind them."""


@dataclass(frozen=True, slots=True)
class Begun:
    """`prompt` ends where the model goes on. `closer`: inside of thinking that it closes.
    `speaks`: inside of the words of an answer. `channel`: of gpt-oss, the one that is open."""

    prompt: str
    closer: str | None = None
    speaks: bool = False
    channel: str | None = None


def begin(render: Render, rows: Sequence[Row]) -> Begun:
    """The prompt for a message that is still to be begun."""
    prompt = render(rows, True)
    return Begun(prompt, closer_of(prompt))


def go_on(render: Render, rows: Sequence[Row], template: str) -> Begun:
    """The prompt that ends with the last of `rows`, a message of the model without calls. One
    without words or thoughts is the same as none. Raises what `render` raises."""
    last, before = rows[-1], rows[:-1]
    written = str(last["content"])
    opener, thought, text = _told_apart(written)
    thought = str(last.get("reasoning_content") or "") or thought
    if text.strip():
        return _in_words(render, rows, thought, text, written)
    if not thought.strip():
        return begin(render, before)
    return _in_thought(render, before, thought, template, opener)


def _told_apart(written: str) -> tuple[str | None, str, str]:
    """What opens the thinking that a text begins with, the thinking, and the rest."""
    for opener, closer in MARKERS.items():
        if written.lstrip().startswith(opener):
            inside = written.lstrip().removeprefix(opener).lstrip("\n")
            thought, _, text = inside.partition(closer)
            return opener, thought, text.lstrip("\n")
    return None, "", written


def _in_words(render: Render, rows: Sequence[Row], thought: str, text: str, written: str) -> Begun:
    last, before = rows[-1], rows[:-1]
    row = {**last, "content": _CONTINUED}
    if thought:
        row |= {"reasoning_content": thought, "thinking": thought}
    try:
        told, found, _ = render([*before, row], False).rpartition(_CONTINUED)
    except TransomError:
        # It may want a question last; if not, it says below what is wrong.
        told, found = "", ""
    if not found or (thought and thought.strip() not in told):
        head = render(before, True)
        closer = closer_of(head)
        if closer is not None:
            # As it stood when the model came to these words.
            said = f"{thought.strip()}\n{closer}" if thought else closer
            told = f"{head}{said}\n\n"
        else:
            # This model's thoughts, if it has any, are words as others.
            told, text = told if found else head, written
    # gpt-oss names the channel of each message.
    opened = told.rpartition("<|start|>")[2]
    channel = opened[opened.find(_CHANNEL) :] if _CHANNEL in opened else None
    return Begun(told + text, speaks=True, channel=channel)


def _in_thought(
    render: Render, before: Sequence[Row], thought: str, template: str, opener: str | None
) -> Begun:
    head = render(before, True)
    closer = closer_of(head)
    if closer is not None:
        return Begun(head + thought, closer)
    if _CHANNEL in template:
        return Begun(head + _THOUGHT_CHANNEL + thought, channel=_THOUGHT_CHANNEL)
    if any(head.rstrip().endswith(closes) for closes in MARKERS.values()):
        return Begun(head)  # it shall not think, and had done nothing else
    opener = opener or next((mark for mark in MARKERS if mark in template), None)
    if opener is None:
        return Begun(head)  # nobody knows how this model would think
    return Begun(f"{head}{opener}\n{thought}", MARKERS[opener])
