"""Puts the examples beside Transom's page, with Python and its packages on the same host.

    python web/examples/place.py SITE --pyodide node_modules/pyodide --wheels wheels
        [--pyscript node_modules/@pyscript/core] [--jupyterlite kernel-wheels]

`SITE` is a `transom export` (or a built page). It gets `examples/` with the two pages, and with
`--jupyterlite` also `lab/`, made by the `jupyter lite` of the Python that runs this, with the
notebook in it. Nothing in them asks another host. `docs/python.md` has the commands before this.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
INTERPRETER = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
LOCK = "pyodide-lock.json"
NOTEBOOK = "notebook.ipynb"
JUPYTERLITE = {
    "jupyter-lite-schema-version": 0,
    "jupyter-config-data": {
        # It would stand between the kernel and Transom's, and unregisters all others of the origin.
        "disabledExtensions": ["@jupyterlite/application-extension:service-worker-manager"],
        "litePluginSettings": {
            "@jupyterlite/pyodide-kernel-extension:kernel": {"disablePyPIFallback": True}
        },
    },
}


def place_pyodide(npm: Path, micropip: Path, folder: Path) -> None:
    """Pyodide as npm has it, with micropip; its lock names what is here, and no other host."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in INTERPRETER:
        shutil.copyfile(npm / name, folder / name)
    shutil.copyfile(micropip, folder / micropip.name)
    lock = json.loads((npm / LOCK).read_text())
    # PyPI's wheel holds the same files as Pyodide's own, zipped by somebody else.
    lock["packages"] = {
        "micropip": {
            **lock["packages"]["micropip"],
            "version": micropip.name.split("-")[1],
            "file_name": micropip.name,
            "sha256": hashlib.sha256(micropip.read_bytes()).hexdigest(),
        }
    }
    (folder / LOCK).write_text(json.dumps(lock))


def place_pages(folder: Path, npm: Path, wheels: list[Path], pyscript: Path | None) -> None:
    """`python.html`, and `pyscript.html` where PyScript is given."""
    folder.mkdir(exist_ok=True)
    for pattern in ("*.html", "*.css", "*.js", NOTEBOOK):
        for file in HERE.glob(pattern):
            shutil.copy(file, folder)
    place_pyodide(npm, find(wheels, "micropip"), folder / "pyodide")
    shelf = folder / "wheels"
    shelf.mkdir(exist_ok=True)
    for wheel in wheels:
        shutil.copy(wheel, shelf)
    names = [wheel.name for wheel in wheels]
    (shelf / "index.json").write_text(json.dumps(names))
    if pyscript is not None:
        shutil.copytree(pyscript / "dist", folder / "pyscript", dirs_exist_ok=True)
        packages = [f"./wheels/{name}" for name in names]
        settings = {"interpreter": "./pyodide/pyodide.mjs", "packages": packages}
        (folder / "pyscript.json").write_text(json.dumps(settings))


def place_jupyterlite(folder: Path, npm: Path, wheels: list[Path]) -> None:
    """A JupyterLite whose kernel finds all of the wheels by `%pip install`."""
    with tempfile.TemporaryDirectory() as temporary:
        lite = Path(temporary)
        (lite / "jupyter-lite.json").write_text(json.dumps(JUPYTERLITE))
        place_pyodide(npm, find(wheels, "micropip"), lite / "static" / "pyodide")
        (lite / "pypi").mkdir()
        for wheel in wheels:
            shutil.copy(wheel, lite / "pypi")
        command = [sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", str(lite)]
        options = ["--output-dir", str(folder.resolve()), "--contents", str(HERE / NOTEBOOK)]
        kept = [
            "--apps",
            "lab",
            "--no-sourcemaps",
            "--no-unused-shared-packages",
            "--no-libarchive",
        ]
        subprocess.run([*command, *options, *kept], cwd=lite, check=True)


def find(wheels: list[Path], name: str) -> Path:
    for wheel in wheels:
        if wheel.name.startswith(f"{name}-"):
            return wheel
    sys.exit(f"no wheel of {name} among {len(wheels)}; docs/python.md says how they are downloaded")


def main() -> None:
    parser = argparse.ArgumentParser(description="Put the examples beside Transom's page.")
    parser.add_argument("site", type=Path)
    parser.add_argument("--pyodide", type=Path, required=True, help="the folder of the npm package")
    parser.add_argument("--wheels", type=Path, required=True, help="those of openai-wheels.txt")
    parser.add_argument("--pyscript", type=Path, help="the folder of npm's @pyscript/core")
    parser.add_argument(
        "--jupyterlite", type=Path, metavar="WHEELS", help="make lab/ with these, too: its kernel's"
    )
    given = parser.parse_args()
    wheels = sorted([*given.wheels.glob("*.whl"), *(given.site / "python").glob("transom-*.whl")])
    find(wheels, "transom")
    place_pages(given.site / "examples", given.pyodide, wheels, given.pyscript)
    if given.jupyterlite is not None:
        kernel = sorted(given.jupyterlite.glob("*.whl"))
        place_jupyterlite(given.site / "lab", given.pyodide, [*wheels, *kernel])


if __name__ == "__main__":
    main()
