"""Go or Jinja: which of the two a template is written in, by marks that only one of them has.

Must not know what either means.
"""

import re
from typing import Final

from transom_models.errors import TransomError
from transom_models.modelfile.go_template import translate

# What opens a Jinja statement; Go has no `{%`.
_JINJA: Final = re.compile(
    r"\{%[-+]?\s*(?:block|break|call|continue|do|elif|else|end\w*|extends|filter|for|from"
    r"|generation|if|import|include|macro|raw|set|with)\b"
)
# What only Go can begin an action with: a field, a variable, a comment, a keyword, a call.
_GO: Final = re.compile(
    r"\{\{(?:-\s)?\s*(?:\.|\$|/\*"
    r"|(?:if|range|with|define|template|block)\b"
    r"|(?:end|break|continue|currentDate)\s*-?\}\}"
    r"|else\b\s*(?:-?\}\}|if\b|with\b)"
    r"|(?:json|print|printf|index|slice|toTypeScriptType)\s+[.$\"`(])"
)
_EXPRESSION: Final = re.compile(r"\{\{")


class AmbiguousTemplate(TransomError):
    """The text has marks of both languages, or of neither."""


def jinja_template(text: str, first_line: int = 1) -> str:
    """A chat template in Jinja: Jinja as it is, a Go template translated.

    Raises `UntranslatableTemplate` (line and construct) and `AmbiguousTemplate`; lines count from
    `first_line`."""
    jinja, go = _JINJA.search(text), _GO.search(text)
    if jinja and go:
        lines = [first_line + text.count("\n", 0, match.start()) for match in (jinja, go)]
        raise AmbiguousTemplate(
            f"the template has Jinja's {jinja.group()!r:.40} (line {lines[0]}) and Go's "
            f"{go.group()!r:.40} (line {lines[1]}); write it in one of the two"
        )
    if go:
        return translate(text, first_line)
    if jinja or _EXPRESSION.search(text):
        return text
    raise AmbiguousTemplate(
        "the template shows no message; write Jinja ({% for message in messages %}) or Go "
        "({{ .Prompt }})"
    )
