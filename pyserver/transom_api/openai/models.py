"""Models as OpenAI lists them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model as OpenAI lists it. `created` is Unix time in whole seconds."""

    id: str
    created: int
    owned_by: str

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": self.owned_by,
        }


def model_list(models: Iterable[ModelEntry]) -> dict[str, Any]:
    """The answer to `GET /v1/models`, in the order given."""
    return {"object": "list", "data": [model.to_json() for model in models]}
