"""The pins, the sources and the handover, without building anything."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from transom_build import cli, python_packages, runtime, sources, toolchain
from transom_build.errors import ToolchainError
from transom_compile import library_cache, link

ROOT = Path(__file__).resolve().parents[2]


def test_the_pins_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["build"]
    pinned = {**toolchain.PINNED, **python_packages.PINNED}
    assert sorted(extra) == sorted(f"{name}=={pin}" for name, pin in pinned.items())


def test_another_version_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "version", lambda name: "0.1")
    result = CliRunner().invoke(cli.build, ["runtime"])
    assert result.exit_code == 2
    assert result.stderr == (
        "error: apache-tvm 0.1 is installed, but the runtime is built with 0.27.0.post1; "
        "install the tools with: pip install 'transom[build]'\n"
    )


def test_finding_the_tools_does_not_import_tvm() -> None:
    code = (
        "import sys; from transom_build.toolchain import find_toolchain; find_toolchain(); "
        "assert not {'tvm', 'tvm_ffi', 'ziglang'} & set(sys.modules), 'imported'"
    )
    path = str(ROOT / "build")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


def test_our_headers_fill_gaps_and_replace_nothing() -> None:
    """A header that a newer wheel ships must not be shadowed by ours in silence."""
    found = toolchain.find_toolchain()
    own = {
        path.relative_to(sources.OWN_SOURCES).as_posix()
        for path in sources.OWN_SOURCES.rglob("*")
        if path.is_file()
    }
    for name in own:
        assert not (found.tvm / name).exists(), name
        assert not (found.tvm_ffi / name.removeprefix("3rdparty/tvm-ffi/")).exists(), name
    assert own <= set(sources.list_sources(found))


def test_every_input_changes_the_digest(tmp_path: Path) -> None:
    found = toolchain.find_toolchain()
    source = tmp_path / "a.cc"
    source.write_text("int a;\n")
    plain = sources.digest_inputs({"a.cc": source}, found, ["-x"])
    assert plain == sources.digest_inputs({"a.cc": source}, found, ["-x"])
    others = {
        sources.digest_inputs({"b.cc": source}, found, ["-x"]),
        sources.digest_inputs({"a.cc": source}, found, ["-y"]),
    }
    source.write_text("int b;\n")
    others.add(sources.digest_inputs({"a.cc": source}, found, ["-x"]))
    assert len(others | {plain}) == 4


def test_a_source_that_does_not_compile_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.cc").write_text("int x = ;\n")
    with pytest.raises(ToolchainError, match=r"^zig failed while compiling bad.* error: expected"):
        toolchain.run_zig(["c++", "-c", "bad.cc"], cwd=tmp_path, doing="compiling bad.cc")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TRANSOM_CACHE": "/elsewhere"}, "/elsewhere"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/transom"),
        ({}, "/home/someone/.cache/transom"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep caches elsewhere")
def test_both_rooms_keep_their_caches_in_one_folder(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRANSOM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/someone")
    assert runtime.cache_folder().as_posix() == expected
    assert library_cache.cache_folder() == runtime.cache_folder() / "libraries"


def test_both_sides_of_the_handover_mean_the_same_layout() -> None:
    """The compile room reads what this room writes, and neither imports the other."""
    assert link.LAYOUT_VERSION == sources.LAYOUT_VERSION
    assert link.RUNTIME_FILE == runtime.RUNTIME_FILE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "holds no wasm runtime; build it with: transom build runtime"),
        ("{", "cannot read"),
        ("[]", "lacks"),
        (json.dumps({"layout": 99, "link": [], "versions": {"ziglang": "0"}}), "layout 99"),
        (
            json.dumps(
                {"layout": link.LAYOUT_VERSION, "link": [], "versions": {"ziglang": "0.0.1"}}
            ),
            "linking needs ziglang 0.0.1",
        ),
    ],
)
def test_a_folder_that_is_no_runtime_says_what_to_do(
    text: str | None, reason: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "runtime.json").write_text(text)
    with pytest.raises(link.LinkError) as caught:
        link.link_library([], tmp_path / "m.wasm", tmp_path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
