"""pytest tests/pyserver/test_imports.py: what must not be needed, and what must not be loaded."""

import subprocess
import sys

import pytest

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Blocked())
"""

TVM = ["tvm", "tvm_ffi", "gguf", "torch"]
SERVER = ["flask", "werkzeug", "waitress", "jinja2"]
BROWSER = ["playwright"]
COMMON = ["click", "rich"]


def run_without(blocked: list[str], program: str) -> subprocess.CompletedProcess[str]:
    source = BLOCKED.format(blocked=blocked) + program
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("blocked", "modules"),
    [
        (
            [*TVM, *SERVER, *BROWSER, *COMMON, "numpy"],
            "transom_models.digest transom_models.name transom_models.media_types "
            "transom_models.manifest transom_models.errors transom_models.modelfile "
            "transom_models.schema transom_api transom_api.openai",
        ),
        (
            [*TVM, *BROWSER, "rich", "numpy"],
            "transom_server.app transom_server.http.serving transom_server.exchange.bundle_import",
        ),
        (
            [*TVM, *SERVER, *BROWSER, *COMMON, "numpy"],
            "transom_server.store transom_server.settings.config"
            " transom_server.exchange.bundle_import",
        ),
        ([*TVM, *SERVER, *BROWSER, "numpy"], "transom_cli.main transom_cli.list"),
        ([*TVM, *BROWSER, "numpy"], "transom_cli.serve"),
        ([*TVM, "numpy"], "transom_cli.ask"),
    ],
)
def test_loads_without(blocked: list[str], modules: str) -> None:
    done = run_without(blocked, "\n".join(f"import {module}" for module in modules.split()))
    assert done.returncode == 0, done.stderr


def test_a_layout_needs_no_compiler() -> None:
    """A server takes models that were compiled elsewhere."""
    program = """
import sys
from transom_cli.main import run
sys.exit(run(["import", "."]))
"""
    done = run_without([*TVM, *BROWSER, "numpy"], program)
    assert done.returncode == 2
    assert done.stderr == (
        "error: MLC's format needs numpy; install it with: pip install 'transom[compile]'\n"
    )


def test_list_and_help_load_no_other_verb() -> None:
    program = """
from transom_cli.main import run
run(["list"]); run(["--help"])
heavy = {"tvm", "flask", "playwright", "transom_compile", "transom_build"}
print(sorted(heavy & set(sys.modules)))
"""
    done = run_without([], program)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("verb", "blocked", "extra"),
    [
        ("compile", "numpy", "compile"),
        ("serve", "flask", "server"),
        ("serve", "waitress", "server"),
        ("ask", "playwright", "browser,server"),
    ],
)
def test_a_missing_extra_is_said(verb: str, blocked: str, extra: str) -> None:
    program = f"from transom_cli.main import run; sys.exit(run([{verb!r}, '--help']))"
    done = run_without([blocked], program)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: `transom {verb}` needs {blocked}; "
        f"install it with: pip install 'transom[{extra}]'\n"
    )
