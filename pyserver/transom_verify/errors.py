"""The one error of this package."""

from transom_models.errors import TransomError


class VerifyError(TransomError):
    """A comparison could not be made; the text names what is missing and the way out."""
