"""Prompts that no template shapes. Pure."""

from dataclasses import replace

from transom_api.chat import Audio, Chat, Image
from transom_api.engine import ModelFacts
from transom_api.prompting import ModelDefaults


def as_text(chat: Chat, defaults: ModelDefaults, facts: ModelFacts) -> Chat:
    """A prompt for a model without a template is text to go on with; in such a text, marks of its
    pictures come first."""
    bare = defaults.template is None and chat.template is None and not defaults.system
    if chat.is_prompt and bare and len(chat.messages) == 1 and not defaults.messages:
        chat = replace(chat, raw_prompt=chat.messages[0].text)
    marker = facts.image_marker or facts.sound_marker
    if chat.raw_prompt is None or not marker:
        return chat
    files = sum(isinstance(part, Image | Audio) for each in chat.messages for part in each.parts)
    return replace(chat, raw_prompt=marker * files + chat.raw_prompt)
