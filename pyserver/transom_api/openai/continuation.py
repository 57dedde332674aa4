"""Whether an answer goes on with the last message of its request: of chats and responses. Pure."""

from transom_api.chat import Message, goes_on_with
from transom_api.fields import Fields


def read_continuation(fields: Fields, messages: tuple[Message, ...]) -> tuple[bool, bool]:
    """Whether the answer goes on with the last message, and whether the request says so itself.
    Where it says nothing, the model goes on with words of its own, as in llama-server."""
    begins = fields.flag("add_generation_prompt", None)
    goes_on = fields.flag("continue_final_message", None)
    can = goes_on_with(messages)
    if goes_on and begins:
        fields.refuse("continue_final_message", "add_generation_prompt begins a new message")
    if goes_on and not can:
        fields.refuse("continue_final_message", "the last message is not words of the assistant")
    if begins is False and (goes_on is False or not can):
        fields.refuse(
            "add_generation_prompt", "false needs continue_final_message, or nobody would speak"
        )
    said = goes_on is True or begins is False
    return can and (said or (goes_on is None and begins is None)), said
