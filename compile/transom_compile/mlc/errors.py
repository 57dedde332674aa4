"""What can be wrong with a model of MLC's, or with MLC's compiler."""

from transom_models.errors import TransomError


class InvalidMlcModel(TransomError):
    """The folder is no finished MLC model that our page can run. Names the file and the field."""


class MlcFailed(TransomError):
    """MLC's own compiler is missing, of a version that is not known to work, or said no."""
