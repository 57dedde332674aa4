"""A request's body read field by field; what is wrong names its field.

One reader for all dialects: an error carries `param` (`messages[2].content`), and each dialect puts
it into its own error object. Pure.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeVar

from transom_models.errors import TransomError

T = TypeVar("T")

# An error shows what was given, not a megabyte of it.
SHOWN_CHARS: Final = 60
# No vocabulary is near it; engines keep a token's id in 32 bits.
MAX_TOKEN_ID: Final = 2**31 - 1


class InvalidField(TransomError):
    """A field cannot be honoured. `param` is its path in the body, or None for the body itself."""

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(f"{param}: {message}" if param else message)
        self.param = param


class Fields:
    """A JSON object and where it is in the body. null is as good as absent, as in every dialect."""

    def __init__(self, value: object, where: str = "") -> None:
        if not isinstance(value, dict):
            raise InvalidField(where or None, f"must be an object, not {kind_of(value)}")
        self._value: dict[str, Any] = value
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self._value.get(name) is not None

    def raw(self, name: str) -> Any:
        """Whatever is there, unread; None when nothing is."""
        return self._value.get(name)

    def names(self) -> list[str]:
        """Names of all fields that are not null."""
        return [name for name, value in self._value.items() if value is not None]

    def path(self, name: str) -> str:
        """A field's path in the body."""
        return f"{self.where}.{name}" if self.where else name

    def refuse(self, name: str, message: str) -> NoReturn:
        raise InvalidField(self.path(name), message)

    def text(self, name: str, default: T, *, choices: tuple[str, ...] = ()) -> str | T:
        """A string; with `choices`, one of them."""
        value = self._value.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(name, f"must be a string, not {kind_of(value)}")
        if choices and value not in choices:
            self.refuse(name, f"{shown(value)} is not one of {', '.join(choices)}")
        return value

    def required_text(self, name: str) -> str:
        """A string that must be there, and not empty."""
        value = self.text(name, None)
        if not value:
            self.refuse(name, "is missing" if value is None else "is empty")
        return value

    def flag(self, name: str, default: T) -> bool | T:
        value = self._value.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.refuse(name, f"must be true or false, not {kind_of(value)}")
        return value

    def whole(self, name: str, default: T, *, least: int, most: int) -> int | T:
        """A whole number within bounds; 3.0 is 3, as JavaScript writes it."""
        value = self._value.get(name)
        if value is None:
            return default
        value = whole_of(value)
        if value is None:
            self.refuse(name, f"must be a whole number, not {shown(self._value[name])}")
        if not least <= value <= most:
            self.refuse(name, f"must be from {least} to {most}, not {shown(value)}")
        return value

    def number(self, name: str, default: T, *, least: float, most: float) -> float | T:
        """A number within bounds."""
        value = self._value.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(name, f"must be a number, not {kind_of(value)}")
        if not (least <= value <= most and math.isfinite(value)):
            self.refuse(name, f"must be from {least:g} to {most:g}, not {shown(value)}")
        return float(value)

    def object(self, name: str) -> "Fields | None":
        """An object to read on, or None."""
        value = self._value.get(name)
        return None if value is None else Fields(value, self.path(name))

    def mapping(self, name: str) -> dict[str, Any] | None:
        """An object as it is, as a JSON schema, or None."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, dict):
            self.refuse(name, f"must be an object, not {kind_of(value)}")
        return value

    def items(self, name: str, *, most: int) -> list[Any]:
        """A list as it is; empty when there is none."""
        value = self._value.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(name, f"must be a list, not {kind_of(value)}")
        if len(value) > most:
            self.refuse(name, f"has {len(value)} items, over {most}")
        return value

    def objects(self, name: str, *, most: int) -> "Iterator[Fields]":
        """A list of objects, each to read on."""
        for number, item in enumerate(self.items(name, most=most)):
            yield Fields(item, f"{self.path(name)}[{number}]")

    def texts(self, name: str, *, most: int) -> tuple[str, ...]:
        """A string or a list of strings."""
        value = self._value.get(name)
        if isinstance(value, str):
            return (value,)
        for number, item in enumerate(found := self.items(name, most=most)):
            if not isinstance(item, str):
                self.refuse(f"{name}[{number}]", f"must be a string, not {kind_of(item)}")
        return tuple(found)

    def tokens(self, name: str, *, most: int) -> tuple[int, ...]:
        """A list of ids of tokens; empty when there is none."""
        return self.tokens_of(name, self.items(name, most=most))

    def tokens_of(self, name: str, given: list[Any]) -> tuple[int, ...]:
        """The same of a list that is there already."""
        found = []
        for number, value in enumerate(given):
            token = whole_of(value)
            if token is None or not 0 <= token <= MAX_TOKEN_ID:
                self.refuse(f"{name}[{number}]", f"{shown(value)} is not the number of a token")
            found.append(token)
        return tuple(found)

    def refuse_if_set(self, ways_out: Mapping[str, str]) -> None:
        """Refuse fields that cannot be honoured, unless they ask for nothing (false, 0, empty)."""
        for name, way_out in ways_out.items():
            if self._value.get(name):
                self.refuse(name, way_out)

    def convert(self, name: str, read: Callable[[str], T]) -> T | None:
        """A string through a reader that raises `ValueError`."""
        text = self.text(name, None)
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as error:
            self.refuse(name, str(error))


def whole_of(value: object) -> int | None:
    """A whole number, None for anything else; 3.0 is 3, as JavaScript writes it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    words = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    words |= {int: "a number", float: "a number", type(None): "null"}
    return words.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """A value short enough for an error."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"
