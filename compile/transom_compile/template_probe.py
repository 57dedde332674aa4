"""Find out what a chat template does by rendering it, and say it in WebLLM's `conv_template` words.

WebLLM runs no Jinja: it glues a prompt from fixed prefixes and suffixes. Marker messages are
rendered through the model's own template, the text between the markers gives those pieces, and the
pieces are accepted only when they rebuild every probe exactly. `probe_template` does that in a
child process under limits (template_sandbox.py). Must not know tokenizers, GGUF or where the result
is stored.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transom_compile.template_sandbox import (
    Message,
    RenderFailed,
    answer,
    compile_template,
    render,
    run_limited,
)

# Letters only: templates trim, upper-case nothing, and search content for tags like "</think>".
SYSTEM, USER, REPLY = "qzSystemMarkerqz", "qzUserMarkerqz", "qzReplyMarkerqz"

# Stands for bos while probing: some models' bos is also the start of every turn.
BOS = "qzBosMarkerqz"


class ProbeFailed(RenderFailed):
    """The template cannot be said in fixed prefixes and suffixes; the text is the reason."""


@dataclass(frozen=True, slots=True)
class ConversationParts:
    """What a prompt is glued from, for WebLLM 0.2.86.

    Prompt = system_template with the message, then for each turn its role text, the content and its
    suffix, then the assistant's role text and `reply_suffix`. `system_message` is what the template
    itself says when the caller gives none.
    """

    system_template: str
    system_message: str
    render_empty_system: bool
    user_role: str
    assistant_role: str
    user_suffix: str
    assistant_suffix: str
    reply_suffix: str
    role_after_system: bool
    starts_with_bos: bool

    def prompt(self, messages: Sequence[Message]) -> str:
        """What WebLLM would send for `messages` plus the reply header (its conversation.ts)."""
        system, turns = self.system_message, list(messages)
        if turns[0]["role"] == "system":
            system = turns.pop(0)["content"]
        head = ""
        if system or self.render_empty_system:
            head = self.system_template.replace("{system_message}", system)
        text = head
        for number, turn in enumerate(turns):
            user = turn["role"] == "user"
            if number or not head or self.role_after_system:
                text += self.user_role if user else self.assistant_role
            text += str(turn["content"]) + (self.user_suffix if user else self.assistant_suffix)
        return text + self.assistant_role + self.reply_suffix


def find_parts(template: str, bos: str, eos: str) -> ConversationParts:
    """Probe `template` in this process. Raises `ProbeFailed`, or whatever the template provokes.

    A leading `bos_token` of the template is left out (`starts_with_bos`): WebLLM sends it as an id.
    """
    render = _Renderer(template, bos, eos)
    system, user, reply = (
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": USER},
        {"role": "assistant", "content": REPLY},
    )
    full = render([system, user, reply, user])
    head, before_user, before_reply, between, tail = _split(full, SYSTEM, USER, REPLY, USER)
    user_suffix = render([system, user], reply_header=False).rpartition(USER)[2]
    reply_header = _without_prefix(tail, user_suffix, "the reply header")
    past_reply_header = _without_prefix(before_reply, user_suffix, "the assistant's prefix")
    reply_extra = _without_prefix(reply_header, past_reply_header, "the assistant's prefix")
    assistant_suffix = render([system, user, reply], reply_header=False).rpartition(REPLY)[2]
    user_role = _without_prefix(between, assistant_suffix, "the user's prefix")
    role_after_system = before_user.endswith(user_role)
    after_system = before_user.removesuffix(user_role) if role_after_system else before_user
    default, render_empty = _default_system(
        render([user]), head, after_system, user_role if role_after_system else ""
    )
    parts = ConversationParts(
        system_template=f"{head}{{system_message}}{after_system}",
        system_message=default,
        render_empty_system=render_empty,
        user_role=user_role,
        assistant_role=past_reply_header,
        user_suffix=user_suffix,
        assistant_suffix=assistant_suffix,
        reply_suffix=reply_extra,
        role_after_system=role_after_system,
        starts_with_bos=render.wrote_bos,
    )
    for messages in (
        [user],
        [system, user],
        [user, reply, user],
        [system, user, reply, user],
        [system, user, reply, user, reply, user],
        [{"role": "user", "content": "Two words,\nand a line."}],
    ):
        if parts.prompt(messages) != render(messages):
            raise ProbeFailed("its prompts are not made of fixed prefixes and suffixes")
    return parts


def probe_template(template: str, bos: str, eos: str) -> ConversationParts:
    """`find_parts` in a child process under limits. Raises `ProbeFailed` with a short reason."""
    question = {"template": template, "bos": bos, "eos": eos}
    try:
        return ConversationParts(**run_limited(__name__, question)["parts"])
    except RenderFailed as error:
        raise ProbeFailed(str(error)) from None


class _Renderer:
    """The template, with bos under a name of its own."""

    def __init__(self, template: str, bos: str, eos: str) -> None:
        self._template = compile_template(template)
        self._bos, self._eos = bos, eos
        self.wrote_bos = False

    def __call__(self, messages: Sequence[Message], *, reply_header: bool = True) -> str:
        text = render(self._template, messages, bos=BOS, eos=self._eos, reply_header=reply_header)
        self.wrote_bos = text.startswith(BOS)
        return text.removeprefix(BOS).replace(BOS, self._bos)


def _split(text: str, *markers: str) -> list[str]:
    """The text around the markers; each has to be there once, in order."""
    pieces = []
    for marker in markers:
        before, found, text = text.partition(marker)
        if not found:
            raise ProbeFailed("it changes, drops or moves the content of messages")
        pieces.append(before)
    pieces.append(text)
    if any(marker in piece for piece in pieces for marker in markers):
        raise ProbeFailed("it repeats the content of messages")
    return pieces


def _without_prefix(text: str, prefix: str, what: str) -> str:
    if not text.startswith(prefix):
        raise ProbeFailed(f"{what} depends on its place in the conversation")
    return text.removeprefix(prefix)


def _default_system(prompt: str, head: str, after: str, user_role: str) -> tuple[str, bool]:
    """(the template's own system message, whether an empty one is written out)."""
    opening = prompt.partition(USER)[0].removesuffix(user_role)
    if len(opening) >= len(head) + len(after) and opening.startswith(head):
        if opening.endswith(after) and (head or after):
            return opening[len(head) : len(opening) - len(after)], True
    return "", False


def _answer(template: str, bos: str, eos: str) -> dict[str, Any]:
    return {"parts": asdict(find_parts(template, bos, eos))}


if __name__ == "__main__":
    answer(_answer, ProbeFailed)
