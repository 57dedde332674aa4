"""The licence texts that lie in a folder of weights, as publishers put them there.

Knows file names; which licence a text is, and whether it is open, is `transom_models.licence`'s.
"""

from pathlib import Path
from typing import Final

from transom_compile.hub.folder import read_bytes
from transom_compile.sources.checkpoint import CheckpointError

# Licence texts are tens of kilobytes; the longest, with all notices, some hundred.
MAX_LICENCE_BYTES: Final = 1024 * 1024
# A licence, its acceptable-use policy and a notice; more is another collection.
MAX_LICENCES: Final = 8
_STEMS: Final = ("license", "licence", "copying", "use_policy")
_ENDINGS: Final = ("", ".txt", ".md")


def read_licences(folder: Path) -> dict[str, str]:
    """File name -> text, in the order of the names. What is empty is left out.

    Raises `CheckpointError` for a text that is too long: a model must not lose its terms in
    silence. One in another encoding than UTF-8 keeps its ASCII.
    """
    paths = sorted(path for path in folder.iterdir() if _is_licence(path))
    if len(paths) > MAX_LICENCES:
        raise CheckpointError(f"{folder} has {len(paths)} licence files, over {MAX_LICENCES}")
    texts = {
        path.name: read_bytes(path, MAX_LICENCE_BYTES).decode(errors="replace") for path in paths
    }
    return {name: text for name, text in texts.items() if text.strip()}


def _is_licence(path: Path) -> bool:
    name = path.name.lower()
    is_named = any(name == stem + ending for stem in _STEMS for ending in _ENDINGS)
    return is_named and path.is_file()
