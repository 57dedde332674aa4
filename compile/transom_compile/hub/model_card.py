"""Names and licence of a folder, for GGUF's `general.*`: from README.md's front matter.

The front matter is YAML written by anyone: it is read with a limit, and only plain strings of it
are taken. Knows no tensors.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from transom_compile.hub.folder import read_text
from transom_compile.progress import Progress
from transom_compile.sources.checkpoint import CheckpointError

# Cards list languages and evaluation results; the longest have some hundred KB.
MAX_CARD_BYTES = 4 * 1024 * 1024
MAX_FRONT_MATTER_CHARACTERS = 512 * 1024
# What is shown to people is a line, not a page.
MAX_TEXT_CHARACTERS = 500
MAX_LIST = 200
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


def read_card(folder: Path, progress: Progress) -> dict[str, str | int | list[str]]:
    """`general.*` values: name, licence, base model, tags, languages."""
    card = _front_matter(folder / "README.md", progress)
    # A folder opened as "." has a name all the same.
    values: dict[str, str | int | list[str]] = {"general.name": folder.resolve().name}
    for key, field in (
        ("general.name", "model_name"),
        ("general.license", "license"),
        ("general.license.name", "license_name"),
        ("general.license.link", "license_link"),
    ):
        text = _text(card.get(field))
        if text:
            values[key] = text
    bases = _texts(card.get("base_model"))
    if bases:
        values["general.base_model.count"] = len(bases)
    for index, base in enumerate(bases):
        organization, _, name = base.rpartition("/")
        values[f"general.base_model.{index}.name"] = name
        if organization:
            values[f"general.base_model.{index}.organization"] = organization
    for key, field in (("general.tags", "tags"), ("general.languages", "language")):
        texts = _texts(card.get(field))
        if texts:
            values[key] = texts
    return values


def _front_matter(path: Path, progress: Progress) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        text = read_text(path, MAX_CARD_BYTES)
    except CheckpointError as error:
        progress.note(f"no licence read: {error}")
        return {}
    found = _FRONT_MATTER.match(text.replace("\r\n", "\n"))
    if found is None or len(found[1]) > MAX_FRONT_MATTER_CHARACTERS:
        return {}
    # Cards indent with tabs at times, which YAML forbids.
    source = found[1].replace("\t", "  ")
    try:
        # The base loader makes nothing but strings, lists and dicts: "no" stays Norwegian.
        card = yaml.load(source, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        progress.note(f"{path} has front matter that is not YAML: no licence read")
        return {}
    return card if isinstance(card, dict) else {}


def _text(value: object) -> str | None:
    text = value.strip() if isinstance(value, str) else ""
    return text if text and text.isprintable() and len(text) <= MAX_TEXT_CHARACTERS else None


def _texts(value: object) -> list[str]:
    items = value[:MAX_LIST] if isinstance(value, list) else [value]
    return [text for text in map(_text, items) if text]
