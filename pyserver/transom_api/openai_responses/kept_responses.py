"""The last responses of `/v1/responses`, in memory, so that the next ones can go on with them."""

import threading
from collections import OrderedDict
from typing import Final

from transom_api.openai_responses.kept import KeptResponse

# A client that keeps nothing itself comes back within so many.
MAX_RESPONSES: Final = 1000
# Conversations with pictures are large.
MAX_BYTES: Final = 256 * 1024 * 1024


class KeptResponses:
    """The longest unused ones go first. Threads may share it."""

    def __init__(self, most: int = MAX_RESPONSES, most_bytes: int = MAX_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._found: OrderedDict[str, KeptResponse] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, response_id: str) -> KeptResponse | None:
        with self._lock:
            found = self._found.get(response_id)
            if found is not None:
                self._found.move_to_end(response_id)
            return found

    def put(self, response_id: str, response: KeptResponse) -> None:
        with self._lock:
            self._forget(response_id)
            self._found[response_id] = response
            self._bytes += response.size
            while self._found and (len(self._found) > self._most or self._bytes > self._most_bytes):
                self._forget(next(iter(self._found)))

    def delete(self, response_id: str) -> bool:
        with self._lock:
            return self._forget(response_id)

    def _forget(self, response_id: str) -> bool:
        found = self._found.pop(response_id, None)
        if found is not None:
            self._bytes -= found.size
        return found is not None
