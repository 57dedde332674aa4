"""pytest tests/models/test_licence.py: which terms are open, and which texts are known."""

from pathlib import Path

import pytest

from transom_models.licence import MAX_EXPRESSION_TOKENS, NOT_STATED, Licence, licence_of
from transom_models.media_types import ANNOTATION_LICENSES

APACHE = (Path(__file__).parents[2] / "LICENSE").read_text()
GRANT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software "
    'and associated documentation files (the "Software"), to deal in the Software without '
    "restriction"
)
BSD = (
    "Redistribution and use in source and binary forms, with or without\nmodification, are "
    "permitted provided that the following conditions are met:\n\n1. Redistributions of source "
    "code must retain the above copyright\n   notice, this list of conditions"
)


def stated(identity: str, *texts: str) -> Licence:
    return licence_of({ANNOTATION_LICENSES: identity}, texts)


@pytest.mark.parametrize(
    "identity",
    [
        *("apache-2.0", "Apache-2.0", "mit", "MIT", "cc-by-4.0", "cc0-1.0", "gpl-3.0+", "bsd"),
        *("Apache-2.0 OR LicenseRef-own", "MIT AND Apache-2.0", "mit and (gemma or bsd-3-clause)"),
        "GPL-3.0-only WITH Classpath-exception-2.0",
    ],
)
def test_open_terms(identity: str) -> None:
    licence = stated(identity)
    assert licence.open is True
    assert licence.reason is None
    assert str(licence) == licence.id == identity


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("llama3.2", "restrict who may use it"),
        ("gemma", "restrict who may use it"),
        ("qwen-research", "restrict who may use it"),
        ("cc-by-nc-4.0", "commercial use"),
        ("cc-by-nd-4.0", "changed copies"),
        ("bigscience-bloom-rail-1.0", "uses that are forbidden"),
        ("other", "not known to be open"),
        ("LicenseRef-own", "not known to be open"),
        ("MIT AND gemma", "restrict who may use it"),
        ("NONE", "grants nothing"),
        # No expression: nobody can say what it means.
        ("MIT Apache-2.0", "not known to be open"),
        ("(MIT", "not known to be open"),
        ("MIT)", "not known to be open"),
        ("MIT OR", "not known to be open"),
        ("MIT; DROP", "not known to be open"),
        ("(" * 5000 + "MIT" + ")" * 5000, "not known to be open"),
        ("(" * MAX_EXPRESSION_TOKENS + "MIT", "not known to be open"),
    ],
)
def test_terms_that_are_not_open(identity: str, reason: str) -> None:
    licence = stated(identity)
    assert licence.open is False
    assert reason in str(licence.reason)
    assert str(licence).endswith(" (not open)")
    assert len(str(licence)) < 100


@pytest.mark.parametrize("identity", ["", "  ", "unknown", "NOASSERTION"])
def test_nothing_stated(identity: str) -> None:
    assert stated(identity) == stated(identity, " \n") == NOT_STATED
    assert licence_of({}, []) == NOT_STATED
    assert str(NOT_STATED) == "not stated"
    assert NOT_STATED.reason is None


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        (APACHE, "Apache-2.0"),
        (f"MIT License\n\nCopyright (c) 2026 Somebody\n\n{GRANT}", "MIT"),
        (f"Copyright 2026 Somebody\nAll rights reserved.\n\n{GRANT}", "MIT"),
        (f"Copyright (c) 2026, Somebody\n\n{BSD}", "BSD-2-Clause"),
        (f"BSD 3-Clause License\n\n{BSD}\n3. Neither the name of the holder", "BSD-3-Clause"),
        ("Mozilla Public License Version 2.0\n==================================", "MPL-2.0"),
        ("Creative Commons Attribution 4.0 International Public License", "CC-BY-4.0"),
        ("Creative Commons Legal Code\n\nCC0 1.0 Universal\n", "CC0-1.0"),
        ("                    GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007", "GPL-3.0"),
        ("mit", "mit"),
        ("Apache-2.0 OR MIT\n", "Apache-2.0 OR MIT"),
    ],
)
def test_open_texts_are_known(text: str, identity: str) -> None:
    assert licence_of({}, [text]) == Licence(identity, True, text)


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release Date", "llama3.2"),
        ("Gemma Terms of Use\n\nLast modified", "gemma"),
        ("Creative Commons Attribution-NonCommercial 4.0 International Public License", None),
        ("You may use this model if you are nice.", None),
        # Open words, and terms that take them back.
        (f"{GRANT}\n\nCommons Clause License Condition v1.0", None),
        (f"{GRANT}, for non-commercial purposes", None),
        (f"{APACHE}\n\nThis model follows our Acceptable Use Policy.", None),
        # Too long to be the licence that it begins as.
        (GRANT + "\nand our own terms are these" * 200, None),
    ],
)
def test_other_texts_are_not_open(text: str, identity: str | None) -> None:
    licence = licence_of({}, [text])
    assert licence == Licence(identity, False, text)
    assert licence.reason
    assert str(licence) == f"{identity or 'its own text'} (not open)"


def test_all_that_is_stated_must_be_open() -> None:
    assert stated("apache-2.0", APACHE).open is True
    assert stated("apache-2.0", "Do no evil.").open is False
    assert stated("llama3.2", APACHE).open is False
    both = licence_of({}, [APACHE, "mit"])
    assert both == Licence("Apache-2.0 AND mit", True, f"{APACHE}\n\nmit")
    assert licence_of({}, [APACHE, "Do no evil."]).open is False
