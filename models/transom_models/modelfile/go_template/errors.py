"""The one error of a template that cannot be translated."""

from typing import Final

from transom_models.errors import TransomError

_SHOWN_CHARS: Final = 60


class UntranslatableTemplate(TransomError):
    """A Go template that is broken, or that Jinja cannot say; names the line and the construct."""

    def __init__(self, line: int, construct: str, reason: str) -> None:
        shown = " ".join(construct.split())
        if len(shown) > _SHOWN_CHARS:
            shown = shown[:_SHOWN_CHARS] + "…"
        super().__init__(f"template line {line}: {shown}: {reason}")
        self.line = line
        self.construct = construct
