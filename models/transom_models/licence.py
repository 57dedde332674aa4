"""The licence of a model: its id, whether its terms are open, and its text.

Terms are open when anybody may use, change and pass on the model for any purpose (the Open Source
Definition; for texts and data the Open Definition). A licence that asks for more, or that no table
here knows, is not open: whoever pulls such a model says yes to its terms first. A model that states
nothing is neither; that is shown and asks for nothing.

Pure: no I/O. Knows neither stores nor GGUF.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from transom_models.media_types import ANNOTATION_LICENSES

# Real expressions join two or three licences; each token costs a step, each parenthesis a call.
MAX_EXPRESSION_CHARS: Final = 1000
MAX_EXPRESSION_TOKENS: Final = 64
# A licence's name in a list is a word or two, not a page.
_SHOWN_CHARS: Final = 80

_COMMUNITY: Final = "the publisher's own terms restrict who may use it and what for"
_RAIL: Final = "its terms list uses that are forbidden"
_NONCOMMERCIAL: Final = "commercial use is not allowed"
_NO_CHANGES: Final = "changed copies may not be passed on"
_UNKNOWN: Final = "its terms are not known to be open"
_NO_PERMISSION: Final = "it grants nothing"

# Ids in lower case: SPDX's, and the tags of Hugging Face's model cards where they differ.
_OPEN: Final = frozenset(
    """
    0bsd afl-3.0 agpl-3.0 agpl-3.0-only agpl-3.0-or-later apache-2.0 artistic-2.0 blueoak-1.0.0 bsd
    bsd-2-clause bsd-3-clause bsd-3-clause-clear bsd-4-clause bsl-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0
    cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 cdla-permissive-1.0 cdla-permissive-2.0
    cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gpl gpl-2.0 gpl-2.0-only
    gpl-2.0-or-later gpl-3.0 gpl-3.0-only gpl-3.0-or-later isc lgpl lgpl-2.1 lgpl-2.1-only
    lgpl-2.1-or-later lgpl-3.0 lgpl-3.0-only lgpl-3.0-or-later lppl-1.3c mit mit-0 mpl-2.0 ms-pl
    ncsa odbl odbl-1.0 odc-by odc-by-1.0 ofl-1.1 openmdw-1.0 osl-3.0 pddl pddl-1.0 postgresql
    unlicense upl-1.0 wtfpl zlib
    """.split()
)
# Why a licence is not open: by the start of its id, the first row that fits.
_RESTRICTED: Final = (
    (re.compile(r"(code)?llama|gemma|grok|deepseek|qwen|mistral|tongyi"), _COMMUNITY),
    (re.compile(r"cc-by-nc|.*(non-?commercial|research|mnpl)|apple-am?lr"), _NONCOMMERCIAL),
    (re.compile(r"cc-by-nd"), _NO_CHANGES),
    (re.compile(r".*rail|deepfloyd"), _RAIL),
    (re.compile(r"none"), _NO_PERMISSION),
)
# SPDX's word and Hugging Face's tag for "not looked into": nothing is stated.
_NOTHING_STATED: Final = frozenset({"", "noassertion", "unknown"})
# A text that no row knows, in SPDX's way of naming what has no name.
_OTHER: Final = "LicenseRef-other"

# Words that take back what the text around them grants.
_ADDED_TERMS: Final = re.compile(
    r"commons clause|non ?commercial (use|purposes)|acceptable use policy|use restrictions"
    r"|research (use|purposes) only"
)
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:_-]*")
_TOKEN: Final = re.compile(r"\s*([()]|[A-Za-z0-9][A-Za-z0-9.+:_-]*)")
_SPACES: Final = re.compile(r"[\s*#=_-]+")
_COPYRIGHT: Final = re.compile(r"(copyright|\(c\)|©|all rights reserved)[^\n]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KnownText:
    """How a licence's text begins, in lower case with single spaces. A text much longer than the
    licence (`most_chars`) holds something else too, and is not taken for it."""

    id: str
    start: re.Pattern[str]
    most_chars: int
    holds: str = ""


def _text(known_id: str, start: str, most_chars: int, holds: str = "") -> KnownText:
    return KnownText(known_id, re.compile(start), most_chars, holds)


_BSD_START: Final = (
    r"(the )?((new |modified |simplified )?bsd( \d clause)?( license)?,? )?"
    r"redistribution and use in source and binary forms, with or without modification"
)
# The caps leave room for a copyright notice and for other line breaks, not for terms of one's own.
_TEXTS: Final = (
    _text("Apache-2.0", r"apache license,? version 2\.0,? january 2004", 12_500),
    _text("Apache-2.0", r"licensed under the apache license,? version 2\.0", 1_000),
    _text(
        "MIT",
        r"((the )?mit license( \(mit\))? )?permission is hereby granted, free of charge, to any "
        r"person obtaining a copy",
        1_800,
    ),
    _text("BSD-4-Clause", _BSD_START, 2_500, "all advertising materials"),
    _text("BSD-3-Clause", _BSD_START, 2_300, "neither the name"),
    _text("BSD-2-Clause", _BSD_START, 1_900),
    _text(
        "ISC",
        r"((the )?isc license )?permission to use, copy, modify, and(/or)? distribute this "
        r"software for any purpose with or without fee is hereby granted",
        1_200,
    ),
    _text("MPL-2.0", r"mozilla public license,? version 2\.0", 18_000),
    _text("CC-BY-4.0", r"(creative commons )?attribution 4\.0 international", 20_000),
    _text("CC-BY-SA-4.0", r"(creative commons )?attribution sharealike 4\.0 international", 22_000),
    _text("CC0-1.0", r"(creative commons( legal code)? )?cc0 1\.0 universal", 8_000),
    _text("AGPL-3.0", r"gnu affero general public license version 3, 19 november 2007", 36_000),
    _text("LGPL-3.0", r"gnu lesser general public license version 3, 29 june 2007", 9_000),
    _text("GPL-3.0", r"gnu general public license version 3, 29 june 2007", 37_000),
    _text("GPL-2.0", r"gnu general public license version 2, june 1991", 19_500),
    _text("BSL-1.0", r"boost software license version 1\.0 august 17th, 2003", 1_600),
    _text("Unlicense", r"this is free and unencumbered software released into the public", 1_500),
    _text("llama2", r"llama 2 community license agreement", 1_000_000),
    _text("llama3", r"meta llama 3 community license agreement", 1_000_000),
    _text("llama3.1", r"llama 3\.1 community license agreement", 1_000_000),
    _text("llama3.2", r"llama 3\.2 community license agreement", 1_000_000),
    _text("llama3.3", r"llama 3\.3 community license agreement", 1_000_000),
    _text("llama4", r"llama 4 community license agreement", 1_000_000),
    _text("gemma", r"gemma terms of use", 1_000_000),
)
# Enough of a text to know it by, and to see what it adds; real licences are far below.
_READ_CHARS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model says of its terms.

    `id`: as stated, or as its text is known by; None when neither says. `open`: None when nothing
    is stated. `text`: the licence texts that travel with the model, whole.
    """

    id: str | None
    open: bool | None
    text: str | None

    def __str__(self) -> str:
        """A few words on one line: `apache-2.0`, `llama3.2 (not open)`, `not stated`."""
        if self.open is None:
            return "not stated"
        shown = (self.id or "its own text")[:_SHOWN_CHARS]
        return shown if self.open else f"{shown} (not open)"

    @property
    def reason(self) -> str | None:
        """Why the terms are not open; None when they are, or when nothing is stated."""
        return None if self.open is not False else why_not_open(self.id or "") or _UNKNOWN


NOT_STATED: Final = Licence(None, None, None)


def licence_of(annotations: Mapping[str, str], texts: Iterable[str]) -> Licence:
    """The licence of a manifest with these annotations and licence texts.

    All that is stated must be open for the whole to be: a text may add to what the id promises.
    """
    stated = " ".join(annotations.get(ANNOTATION_LICENSES, "").split())
    kept = tuple(text for text in texts if text.strip())
    found = [_recognise(text) for text in kept]
    verdicts = [_expression_open(identity) for identity in found]
    if stated.lower() not in _NOTHING_STATED:
        verdicts.append(_expression_open(stated))
        identity = stated
    else:
        identity = " AND ".join(dict.fromkeys(name for name in found if name not in ("", _OTHER)))
    known = [verdict for verdict in verdicts if verdict is not None]
    return Licence(identity or None, all(known) if known else None, "\n\n".join(kept) or None)


def stated_licence(metadata: Mapping[str, object]) -> str | None:
    """The id that a checkpoint's metadata (`general.license…`) states, for the annotation.

    A card that says "other" has the licence's own name beside it.
    """
    stated, name = (metadata.get(f"general.license{part}") for part in ("", ".name"))
    if isinstance(name, str) and name and stated in (None, "", "other"):
        return name
    return stated if isinstance(stated, str) and stated else None


def why_not_open(identity: str) -> str | None:
    """The reason why a licence id or expression is not open, or None when it is."""
    if _expression_open(identity) is not False:
        return None
    for token in _WORD.findall(identity[:MAX_EXPRESSION_CHARS].lower()):
        for pattern, reason in _RESTRICTED:
            if pattern.match(token):
                return reason
    return _UNKNOWN


def _recognise(text: str) -> str:
    """The id of a licence text; `_OTHER` when no row knows it, "" when it says that none is known.

    Modelfiles often say `LICENSE MIT`: a text of one line is an id or an expression.
    """
    stripped = text.strip()
    if "\n" not in stripped and _is_expression(stripped):
        return "" if stripped.lower() in _NOTHING_STATED else stripped
    read = stripped[:_READ_CHARS]
    words = _SPACES.sub(" ", _COPYRIGHT.sub(" ", read)).strip().lower()
    for row in _TEXTS:
        if row.start.match(words) and row.holds in words and len(read) <= row.most_chars:
            is_open = row.id.lower() in _OPEN
            return row.id if not (is_open and _ADDED_TERMS.search(words)) else _OTHER
    return _OTHER


def _is_expression(text: str) -> bool:
    if len(text) > MAX_EXPRESSION_CHARS:
        return False
    tokens = _tokens(text)
    if "".join(tokens).lower() != "".join(text.split()).lower():
        return False
    # Two names side by side are a sentence, not an expression.
    plain = [token for token in tokens if token not in ("(", ")")]
    return len(plain) % 2 == 1 and all(joint in ("AND", "OR", "WITH") for joint in plain[1::2])


def _tokens(text: str) -> list[str]:
    """Words and parentheses; the operators in upper case, as SPDX also allows lower."""
    found = _TOKEN.findall(text)
    return [word.upper() if word.upper() in ("AND", "OR", "WITH") else word for word in found]


def _expression_open(text: str) -> bool | None:
    """Whether an id or an SPDX expression is open; None when it states nothing."""
    if text.strip().lower() in _NOTHING_STATED:
        return None
    tokens = _tokens(text) if len(text) <= MAX_EXPRESSION_CHARS else []
    if not tokens or len(tokens) > MAX_EXPRESSION_TOKENS or not _is_expression(text.strip()):
        return False
    verdict, rest = _either(tokens)
    return verdict and not rest


# expression = all ("OR" all)* ; all = one ("AND" one)* ; one = id ["WITH" id] | "(" expression ")"


def _either(tokens: list[str]) -> tuple[bool, list[str]]:
    verdict, rest = _all(tokens)
    while rest and rest[0] == "OR":
        other, rest = _all(rest[1:])
        verdict = verdict or other
    return verdict, rest


def _all(tokens: list[str]) -> tuple[bool, list[str]]:
    verdict, rest = _one(tokens)
    while rest and rest[0] == "AND":
        other, rest = _one(rest[1:])
        verdict = verdict and other
    return verdict, rest


def _one(tokens: list[str]) -> tuple[bool, list[str]]:
    if not tokens:
        return False, ["?"]
    if tokens[0] == "(":
        verdict, rest = _either(tokens[1:])
        return (verdict, rest[1:]) if rest and rest[0] == ")" else (False, ["?"])
    rest = tokens[1:]
    if rest and rest[0] == "WITH":
        # An exception only adds permissions.
        rest = rest[2:]
    return tokens[0].lower().removesuffix("+") in _OPEN, rest
