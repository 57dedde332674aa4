"""`lora` of a request: how much each adapter of the model counts, in llama-server's words. Pure.

A list of `{"id", "scale"}`; an adapter that it does not name counts nothing, as there. Without the
field all of the model's adapters count fully.
"""

from typing import Final

from transom_api.chat import Chat
from transom_api.engine import ModelFacts
from transom_api.fields import Fields, InvalidField
from transom_models.modelfile.modelfile import MAX_ADAPTERS

# Beyond, and far below, an answer is noise.
MAX_SCALE: Final = 100.0

Scales = tuple[tuple[int, float], ...]


def read_lora(body: Fields, name: str = "lora") -> Scales | None:
    """Number and scale of each adapter that is named; None: nothing is said. Raises
    `InvalidField`."""
    if body.raw(name) is None:
        return None
    found: dict[int, float] = {}
    for row in body.objects(name, most=MAX_ADAPTERS):
        number = row.whole("id", None, least=0, most=MAX_ADAPTERS - 1)
        scale = row.number("scale", None, least=-MAX_SCALE, most=MAX_SCALE)
        if number is None:
            row.refuse("id", "is missing")
        if scale is None:
            row.refuse("scale", "is missing; 1 is the whole adapter, 0 is none of it")
        if number in found:
            row.refuse("id", f"{number} is there twice")
        found[number] = scale
    return tuple(sorted(found.items()))


def check_lora(chat: Chat, facts: ModelFacts) -> tuple[float, ...] | None:
    """The scale of each adapter of the model, as a request has it. Raises `InvalidField`."""
    for number, _ in chat.lora or ():
        if facts.adapters == 0:
            raise InvalidField(
                "lora",
                f"{chat.model} has no adapters; leave it out, or make a model with ADAPTER lines",
            )
        if number >= facts.adapters:
            raise InvalidField(
                "lora",
                f"{chat.model} has no adapter {number}, only 0 to {facts.adapters - 1}, in the "
                "order of its ADAPTER lines",
            )
    if chat.lora is None or facts.adapters == 0:
        return None
    said = dict(chat.lora)
    return tuple(said.get(number, 0.0) for number in range(facts.adapters))
