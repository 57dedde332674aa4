"""The models, as Anthropic lists them: a page at a time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from transom_api.fields import InvalidField, shown

# Anthropic's.
DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class ModelRow:
    """`created` is Unix time in seconds."""

    id: str
    created: float

    def to_json(self) -> dict[str, Any]:
        moment = datetime.fromtimestamp(int(self.created), UTC)
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.id,
            "created_at": moment.isoformat().replace("+00:00", "Z"),
            # Whatever is in the store can be asked.
            "lifecycle": "active",
        }


def model_page(
    models: Sequence[ModelRow],
    limit: str | None = None,
    after: str | None = None,
    before: str | None = None,
) -> dict[str, Any]:
    """The models behind `after`, or those right before `before`, in the order given. Raises
    `InvalidField`."""
    count = _limit(limit)
    names = [model.id for model in models]
    if after is not None:
        first = _place(names, after, "after_id") + 1
        found, rest = models[first : first + count], len(models) > first + count
    elif before is not None:
        end = _place(names, before, "before_id")
        found, rest = models[max(end - count, 0) : end], end > count
    else:
        found, rest = models[:count], len(models) > count
    return {
        "data": [model.to_json() for model in found],
        "has_more": rest,
        "first_id": found[0].id if found else None,
        "last_id": found[-1].id if found else None,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    digits = text.isascii() and text.isdigit() and len(text) <= 4
    if not digits or not 1 <= int(text) <= MAX_PAGE:
        raise InvalidField("limit", f"must be from 1 to {MAX_PAGE}, not {shown(text)}")
    return int(text)


def _place(names: Sequence[str], name: str, field: str) -> int:
    if name not in names:
        raise InvalidField(field, f"there is no model {shown(name)}")
    return names.index(name)
