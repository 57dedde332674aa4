"""The one base of every error that is meant for a person to read."""


class TransomError(Exception):
    """An error whose text is one clear line: it names the thing and the way out."""
