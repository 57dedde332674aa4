"""Typed access to one architecture's metadata; must not know any architecture's keys."""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any

from transom_models.architecture import Metadata, UnsupportedModel, Vectors


class MetadataReader:
    """Typed access to one architecture's `<prefix>.*` keys that notices what nobody read.

    A key that changes the numbers and is not understood must stop the walk (`finish`), never pass.
    """

    def __init__(self, metadata: Metadata, prefix: str) -> None:
        self._metadata = metadata
        self.prefix = prefix
        self._read: set[str] = set()

    def integer(self, key: str, cap: int, default: int | None = None, least: int = 1) -> int:
        """An integer from `least` to `cap`."""
        value = self._get(key, default)
        return _integer(f"{self.prefix}.{key}", value, least, cap)

    def same(self, key: str, cap: int, count: int, default: int) -> int:
        """An integer from 1 to `cap`, said once or for each of `count` layers alike."""
        value = self._get(key, default)
        if isinstance(value, Iterable) and not isinstance(value, str):
            each = list(value)
            if len(each) != count or any(item != each[0] for item in each):
                raise UnsupportedModel(
                    f"{self.prefix}.{key} is {show(value)}: only {count} layers that are alike "
                    "can be run by this version"
                )
            value = each[0]
        return _integer(f"{self.prefix}.{key}", value, 1, cap)

    def real(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number in [low, high]; NaN is in no range."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnsupportedModel(f"{self.prefix}.{key} is {show(value)}, not one number")
        if not low <= value <= high:
            raise UnsupportedModel(
                f"{self.prefix}.{key} is {show(value)}, not from {low} to {high}"
            )
        return float(value)

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self._get(key, default)
        if not isinstance(value, str) or value not in choices:
            raise UnsupportedModel(
                f"{self.prefix}.{key} is {show(value)}: only {', '.join(choices)} "
                "can be run by this version"
            )
        return value

    def flags(self, key: str, count: int) -> tuple[bool, ...]:
        """One boolean for each of `count` layers."""
        value = self._get(key, None)
        try:
            found = tuple(value)
        except TypeError:
            found = ()
        if len(found) != count or not all(item in (0, 1) for item in found):
            raise UnsupportedModel(
                f"{self.prefix}.{key} is {show(value)}, not {count} booleans, one a layer"
            )
        return tuple(bool(item) for item in found)

    def neutral(self, key: str, allowed: Callable[[Any], bool], meaning: str) -> None:
        """Accept a key only at a value that changes nothing."""
        name = f"{self.prefix}.{key}"
        self._read.add(name)
        value = self._metadata.get(name)
        simple = isinstance(value, bool | int | float | str)
        if name in self._metadata and not (simple and allowed(value)):
            raise UnsupportedModel(f"{name} is {show(value)}: {meaning} is not supported yet")

    def has(self, key: str) -> bool:
        return f"{self.prefix}.{key}" in self._metadata

    def is_number(self, key: str) -> bool:
        """Whether the key is there and holds one number, where arrays are possible too."""
        value = self._metadata.get(f"{self.prefix}.{key}")
        return isinstance(value, int | float) and not isinstance(value, bool)

    def finish(self) -> None:
        """Raises when the checkpoint holds a key of this architecture that was not asked for."""
        left = [
            key
            for key in self._metadata
            if key.startswith(f"{self.prefix}.") and key not in self._read
        ]
        if left:
            raise UnsupportedModel(
                f"metadata this version does not understand: {_listed(left)}; "
                "ignoring it could change the answers"
            )

    def _get(self, key: str, default: object) -> Any:
        name = f"{self.prefix}.{key}"
        self._read.add(name)
        if name in self._metadata:
            return self._metadata[name]
        if default is None:
            raise UnsupportedModel(f"the checkpoint has no {name}")
        return default


def _integer(name: str, value: object, least: int, cap: int) -> int:
    # Arrays come as NumPy's integers.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UnsupportedModel(f"{name} is {show(value)}, not one integer")
    number = int(value)
    if not least <= number <= cap:
        raise UnsupportedModel(f"{name} is {show(number)}, not from {least} to {cap}")
    return number


def show(value: object) -> str:
    """A value from outside, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def positive_vector(vectors: Vectors, name: str, count: int) -> tuple[float, ...]:
    """A small checkpoint tensor of `count` finite numbers over zero; empty where there is none."""
    if name not in vectors:
        return ()
    values = tuple(float(value) for value in vectors[name])
    if len(values) != count:
        raise UnsupportedModel(f"tensor {name} has {len(values)} numbers, not {count}")
    if not all(math.isfinite(value) and value > 0.0 for value in values):
        raise UnsupportedModel(f"tensor {name} holds a number that is not finite and over 0")
    return values
