"""pyserver/deploy is true: what it copies, installs, runs and sets exists here."""

import re
import tomllib
from pathlib import Path

from transom_cli.main import VERBS

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "pyserver/deploy/Dockerfile").read_text()
IGNORED = (ROOT / "pyserver/deploy/Dockerfile.dockerignore").read_text()
SERVICE = (ROOT / "pyserver/deploy/transom.service").read_text()
SETTINGS = (ROOT / "docs/settings.md").read_text()


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}\n" in IGNORED


def test_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"(?:\.|transom)\[([a-z,]+)\]", DOCKERFILE + SERVICE)
    assert named
    for extras in named:
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_both_serve() -> None:
    verbs = re.findall(r"^ExecStart=\S+ (\w+)", SERVICE, re.M)
    verbs += re.findall(r'^CMD \["(\w+)"\]', DOCKERFILE, re.M)
    assert verbs == ["serve", "serve"]
    assert "serve" in VERBS


def test_variables_are_in_the_table() -> None:
    named = set(re.findall(r"\bTRANSOM_[A-Z_]+", DOCKERFILE + SERVICE))
    assert named
    for name in named:
        assert f"`{name}`" in SETTINGS, name
