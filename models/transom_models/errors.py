"""The one base of every error that is meant for a person to read."""


class TransomError(Exception):
    """An error whose text is one clear line: it names the thing and the way out."""


def public_text(error: Exception) -> str:
    """What anybody may be told of an error: of one that was not made for people, nothing."""
    if isinstance(error, TransomError):
        return str(error)
    return "the server failed; its log says why"
