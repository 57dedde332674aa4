"""Everything but graph and compiler imports without TVM: fast errors, and room for Pyodide."""

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["tvm"] = sys.modules["tvm_ffi"] = None
import transom_compile.cli, transom_compile.repack, transom_compile.sources.gguf
import transom_compile.plan, transom_compile.mlc.frontend, transom_compile.library_builds
import transom_compile.hub.convert, transom_compile.quantize, transom_compile.adapter
import transom_models.architecture, transom_models.manifest
"""


def test_the_walk_imports_without_tvm() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
