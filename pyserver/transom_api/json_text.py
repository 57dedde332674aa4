"""Answers as JSON: the one spelling of every body that is no stream, in the server and in the
page. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

JSON: Final = "application/json"


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """No spaces; words as they are, in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair, as an address or a file's header may have it: spelled out.
        return json.dumps(value, separators=(",", ":")).encode()
