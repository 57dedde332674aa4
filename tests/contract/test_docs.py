"""The documents tell the truth: every command, file and name in them exists, versions agree."""

import re
import tomllib
from pathlib import Path

import pytest

from transom_cli.main import run

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "docs/app.md",
    "docs/walk.md",
    "docs/contributing.md",
    "docs/changelog.md",
    "docs/cli.md",
    "docs/store.md",
    "docs/registry.md",
    "docs/transfers.md",
    "docs/create.md",
    "docs/modelfile.md",
    "docs/object-storage.md",
    "docs/static-sites.md",
    "docs/offline.md",
    "docs/app.md",
    "docs/python.md",
    "docs/embedding.md",
    "docs/anthropic.md",
    "docs/api-core.md",
    "docs/clients.md",
    "docs/openai.md",
    "docs/openapi.md",
    "docs/responses.md",
    "docs/run.md",
    "docs/keys.md",
    "docs/security.md",
    "docs/operation.md",
    "docs/bench.md",
    "docs/cluster.md",
]
WALK = (ROOT / "docs" / "walk.md").read_text()

WALK_ROW = re.compile(r"^\| \d+ [\w ]+\| `([^`]+)` \| (`[^|]+`) \|", re.M)
CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`", re.S)
FILE = re.compile(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|tsx?|md|mjs|json|toml|cc|h)\b")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# What only a build makes, or a reader's own.
MADE_LATER = {
    "web/dist-node/generate.mjs",
    "web/dist-node/bench.mjs",
    "path/to/model.gguf",
}
# Where builds put what they make: there beside a machine's own builds, and never in a clean clone.
MADE_FOLDERS = ("web/dist-node/", "web/dist/", "node_modules/")


def code_in(document: str) -> list[str]:
    text = (ROOT / document).read_text()
    return [block or inline for block, inline in CODE.findall(text)]


def is_ours(name: str) -> bool:
    return (ROOT / name).is_file() and not name.startswith(MADE_FOLDERS)


def defines(path: Path, name: str) -> bool:
    words = r"(?:def|class|function|const|interface|type)"
    return re.search(rf"\b{words} {name}\b", path.read_text()) is not None


def test_the_walk_is_not_empty() -> None:
    assert len(WALK_ROW.findall(WALK)) >= 17


@pytest.mark.parametrize(("where", "names"), WALK_ROW.findall(WALK))
def test_each_step_of_the_walk_exists(where: str, names: str) -> None:
    path = ROOT / where
    assert path.is_file()
    assert [name for name in re.findall(r"`(\w+)`", names) if not defines(path, name)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_documents_exist(document: str) -> None:
    named = {name for code in code_in(document) for name in FILE.findall(code)}
    named = {name for name in named if "NAME" not in name} - MADE_LATER
    assert [name for name in sorted(named) if not is_ours(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    links = LINK.findall((ROOT / document).read_text())
    assert [link for link in links if not (folder / link).exists()] == []


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    used = {
        target
        for document in DOCUMENTS
        for code in code_in(document)
        for target in re.findall(r"\bmake ([a-z]+)", code)
    }
    assert used
    assert used <= targets


def test_stages_of_ci_in_documents_exist() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for stage in ("lint", "py", "web", "e2e", "api", "app"):
        assert f"{stage}() {{" in script
        assert f"`{stage}`" in (ROOT / "docs" / "contributing.md").read_text()


def test_verbs_in_documents_exist() -> None:
    used = {
        verb
        for document in DOCUMENTS
        for code in code_in(document)
        for verb in re.findall(r"\btransom ([a-z-]+)", code)
    }
    assert used
    assert [verb for verb in sorted(used) if run([verb, "--help"]) != 0] == []


def test_the_changelog_speaks_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "docs" / "changelog.md").read_text(), re.M)
    assert newest is not None
    assert newest.group(1) == version
    assert f'"version": "{version}"' in (ROOT / "package.json").read_text()
