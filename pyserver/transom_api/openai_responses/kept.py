"""What is kept of a response, so that `previous_response_id` can go on with it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from transom_api.chat import Audio, Image, Message, Text


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A response as it was answered, and the conversation up to its end, without instructions:
    those count for one response only."""

    body: Mapping[str, Any] = field(hash=False)
    messages: tuple[Message, ...]

    @property
    def size(self) -> int:
        """About how many bytes it is. What it has in common with others counts each time."""
        total = 0
        for message in self.messages:
            total += len(message.reasoning or "")
            total += sum(len(call.arguments) for call in message.tool_calls)
            for part in message.parts:
                if isinstance(part, Text):
                    total += len(part.text)
                elif isinstance(part, Image | Audio):
                    total += len(part.data)
        return total


class ResponseStore(Protocol):
    """Responses by their ids. Nobody counts on one being there."""

    def get(self, response_id: str) -> KeptResponse | None:
        """None when it was never kept, or is no more."""
        ...

    def put(self, response_id: str, response: KeptResponse) -> None: ...

    def delete(self, response_id: str) -> bool:
        """Whether there was one."""
        ...
