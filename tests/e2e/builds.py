"""A copy of the built page, and newer builds made from it without building.

A newer build has another script under another name, and its `sw.js` knows both new digests: what
`npm run build` changes when a line of the page changes.
"""

import base64
import hashlib
import re
import shutil
from pathlib import Path

SCRIPT = re.compile(r"assets/index-[\w-]+\.js")


def copy_build(page: Path, folder: Path) -> str:
    """Copy a build without what only debuggers read; gives the path of its script."""
    shutil.copytree(page, folder, ignore=shutil.ignore_patterns("*.map"))
    return script_of(folder)


def script_of(folder: Path) -> str:
    (script,) = set(SCRIPT.findall((folder / "index.html").read_text()))
    return str(script)


def renew(folder: Path, mark: str) -> str:
    """Put a newer build in the place of the one that is there: `window.build` is `mark`.

    Gives the path of the new script; the old one is gone, as on a host that was updated.
    """
    start, worker = folder / "index.html", folder / "sw.js"
    old, new = script_of(folder), f"assets/index-{mark}.js"
    (folder / new).write_text(f"{(folder / old).read_text()}\nwindow.build = '{mark}';\n")
    kept = worker.read_text()
    old_script, old_start = integrity(folder / old), integrity(start)
    assert old_script in kept, "sw.js is of another build than the script"
    assert old_start in kept, "sw.js is of another build than index.html"
    start.write_text(start.read_text().replace(old, new))
    kept = kept.replace(old_script, integrity(folder / new)).replace(old_start, integrity(start))
    worker.write_text(kept.replace(old, new))
    (folder / old).unlink()
    return new


def integrity(file: Path) -> str:
    """The file's digest as `sw.js` has it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(file.read_bytes()).digest()).decode()
