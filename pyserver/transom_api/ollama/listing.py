"""Models as Ollama lists them: `/api/tags` and `/api/ps`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from transom_api.ollama.management import shown_name
from transom_models.name import ModelName

# For a model that nobody lets go of by the clock.
FAR: Final = "9999-12-31T23:59:59Z"


@dataclass(frozen=True, slots=True)
class Remote:
    """Another server runs the model, at `place` and by the name `theirs`."""

    theirs: str
    place: str

    def to_json(self) -> dict[str, str]:
        return {"remote_model": self.theirs, "remote_host": self.place}


@dataclass(frozen=True, slots=True)
class TaggedModel:
    """`modified` in Unix seconds; `digest` in hex, empty where nobody knows; `details` as
    `detail_rows` makes them."""

    name: ModelName
    modified: float
    size: int
    digest: str
    details: Mapping[str, Any] = field(hash=False)
    remote: Remote | None = None
    capabilities: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        name = shown_name(self.name)
        return {
            "name": name,
            "model": name,
            **({} if self.remote is None else self.remote.to_json()),
            "modified_at": rfc3339(self.modified),
            "size": self.size,
            # Ollama gives it without the algorithm.
            "digest": self.digest,
            "details": self.details,
            **({"capabilities": list(self.capabilities)} if self.capabilities else {}),
        }


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """`expires` in Unix seconds; None: nobody lets go of it. `gpu_bytes` of its `size`: on
    graphics cards, 0 for a model on the processor; in a page, all that it has on the GPU."""

    name: ModelName
    size: int
    digest: str
    details: Mapping[str, Any] = field(hash=False)
    expires: float | None
    gpu_bytes: int
    context_tokens: int
    remote: Remote | None = None

    def to_json(self) -> dict[str, Any]:
        name = shown_name(self.name)
        return {
            "name": name,
            "model": name,
            **({} if self.remote is None else self.remote.to_json()),
            "size": self.size,
            "digest": self.digest,
            "details": self.details,
            "expires_at": FAR if self.expires is None else rfc3339(self.expires),
            "size_vram": self.gpu_bytes,
            "context_length": self.context_tokens,
        }


def models_body(rows: Sequence[TaggedModel] | Sequence[LoadedModel]) -> dict[str, Any]:
    """In the order given."""
    return {"models": [row.to_json() for row in rows]}


def rfc3339(seconds: float) -> str:
    """Unix seconds as text, in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
