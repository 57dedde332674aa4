"""Find out what a chat template does by rendering it, and say it in WebLLM's `conv_template` words.

WebLLM runs no Jinja: it glues a prompt from fixed prefixes and suffixes. Marker messages are
rendered through the model's own template, the text between the markers gives those pieces, and the
pieces are accepted only when they rebuild every probe exactly. `probe_template` does that in a
child process with a time and a memory limit: a template is outside input and may loop for ever.
Must not know tokenizers, GGUF or where the result is stored.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

# A template renders in milliseconds. Counted in processor time, so that a busy machine decides
# alike; the wall time is for systems without that limit and for a machine that swaps.
CPU_SECONDS = 10
TIMEOUT_SECONDS = 60
# An interpreter with Jinja2 maps about 100 MiB; a template needs kilobytes.
MEMORY_BYTES = 1024 * 1024 * 1024
# The longest published templates are below 50 KiB.
MAX_TEMPLATE_BYTES = 1024 * 1024
# Letters only: templates trim, upper-case nothing, and search content for tags like "</think>".
SYSTEM, USER, REPLY = "qzSystemMarkerqz", "qzUserMarkerqz", "qzReplyMarkerqz"

# Stands for bos while probing: some models' bos is also the start of every turn.
BOS = "qzBosMarkerqz"

Message = dict[str, str]


class ProbeFailed(Exception):
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
            text += turn["content"] + (self.user_suffix if user else self.assistant_suffix)
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
    if len(template.encode()) > MAX_TEMPLATE_BYTES:
        raise ProbeFailed(f"it is longer than {MAX_TEMPLATE_BYTES} bytes")
    question = json.dumps({"template": template, "bos": bos, "eos": eos})
    try:
        child = subprocess.run(
            [sys.executable, "-m", __name__],
            input=question,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"rendering took longer than {TIMEOUT_SECONDS} s") from None
    if child.returncode != 0:
        raise ProbeFailed(f"rendering needed more than {CPU_SECONDS} s or too much memory")
    answer = json.loads(child.stdout)
    if "problem" in answer:
        raise ProbeFailed(str(answer["problem"]))
    return ConversationParts(**answer["parts"])


class _Renderer:
    """The template as Hugging Face renders it: same whitespace rules, same helper functions."""

    def __init__(self, template: str, bos: str, eos: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        self._template = environment.from_string(template)
        self._bos, self._eos = bos, eos
        self.wrote_bos = False

    def __call__(self, messages: Sequence[Message], *, reply_header: bool = True) -> str:
        text = self._template.render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=reply_header,
            bos_token=BOS,
            eos_token=self._eos,
        )
        self.wrote_bos = text.startswith(BOS)
        return text.removeprefix(BOS).replace(BOS, self._bos)


def _to_json(value: Any, indent: int | None = None) -> str:
    # Hugging Face's filter: plain JSON, where Jinja2's own escapes <, > and & for HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


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


def main() -> None:
    """The child: a question on stdin, an answer on stdout."""
    question = json.load(sys.stdin)
    _limit_resources()
    answer: dict[str, Any]
    try:
        answer = {"parts": asdict(find_parts(**question))}
    except ProbeFailed as error:
        answer = {"problem": str(error)}
    except Exception as error:
        # A template may raise anything: syntax errors, missing filters, type errors of its own.
        reason = " ".join(str(error).split())[:200]
        answer = {"problem": f"{type(error).__name__}: {reason}"}
    json.dump(answer, sys.stdout)


def _limit_resources() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        # Not every system has these limits; the parent's time limit still holds.
        return


if __name__ == "__main__":
    main()
