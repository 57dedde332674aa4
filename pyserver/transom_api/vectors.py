"""Vectors of length 1, and shorter ones made of them. Pure."""

import math
from collections.abc import Sequence

from transom_api.fields import InvalidField


def shortened(vector: Sequence[float], dimensions: int | None) -> list[float]:
    """The first so many numbers, again of length 1: models that are made for it have the most in
    them. Raises `InvalidField` where there are fewer."""
    if dimensions is None or dimensions == len(vector):
        return list(vector)
    if dimensions > len(vector):
        raise InvalidField("dimensions", f"the model's vectors have only {len(vector)}")
    cut = vector[:dimensions]
    length = math.hypot(*cut)
    return [value / length for value in cut] if length else list(cut)
