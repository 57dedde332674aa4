"""What import-linter cannot see: imports that only happen at run time, and when.

Each case runs in an interpreter of its own, where nothing is imported yet.
"""

import subprocess
import sys

import pytest

BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tvm", "tvm_ffi"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "transom_models.manifest",
        "transom_models.architectures.llama",
        "transom_compile.libraries",
        "transom_models.name",
        "transom_models.block_type",
        "transom_compile.sources.gguf",
        "transom_compile.repack",
        "transom_compile.shards",
        "transom_compile.pipeline",
        "transom_server.store",
        "transom_pyodide.host",
    ],
)
def test_needs_no_tvm(module: str) -> None:
    """Reading, repacking and serving work where TVM does not exist (a phone's Pyodide, a
    server)."""
    run(f"{BLOCK}\nimport {module}")


def test_blocking_works() -> None:
    """Else the cases above would prove nothing."""
    with pytest.raises(AssertionError, match="tvm is blocked"):
        run(f"{BLOCK}\nimport tvm")


def test_the_command_line_starts_light() -> None:
    """`transom --help` must not wait for a compiler, a web framework or a browser driver."""
    heavy = ("tvm", "numpy", "gguf", "flask", "playwright", "torch", "ziglang")
    code = "import sys, transom_cli.main\n" + f"print(*set({heavy!r}) & set(sys.modules))"
    assert run(code) == ""
