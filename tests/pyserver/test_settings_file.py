"""pytest tests/pyserver/test_settings_file.py: one file, and what comes before it."""

import dataclasses
from pathlib import Path

import pytest

from transom_server.settings.config import Config, InvalidSetting
from transom_server.settings.table import SETTINGS
from transom_server.settings.toml_file import (
    MAX_FILE_BYTES,
    read_config,
    reload_config,
    settings_path,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "transom.toml"


def environ(file: Path, **more: str) -> dict[str, str]:
    return {"TRANSOM_CONFIG": str(file.parent), **more}


def test_options_then_environment_then_file_then_default(file: Path) -> None:
    file.write_text('port = 1\nhost = "::1"\nqueue = 3\nkv_type = "q8_0"\n')
    given = environ(file, TRANSOM_PORT="2", TRANSOM_HOST="127.0.0.2", TRANSOM_QUEUE="")
    config = read_config(given, port="4", host=None)
    assert (config.port, config.host, config.queue, config.kv_type) == (
        4,
        "127.0.0.2",
        3,
        "q8_0",
    )
    assert config.grace == Config.read({}).grace


def test_values_as_toml_has_them(file: Path) -> None:
    file.write_text(
        'accept_license = true\nwritable = false\ngrace = 7\nhosts = ["a.example", "b.example"]\n'
        'origins = ["https://a.example", "http://localhost:*"]\npinned = []\n'
    )
    config = read_config(environ(file))
    assert config.accept_license
    assert not config.writable
    assert config.grace == 7
    assert config.hosts == ("a.example", "b.example")
    assert config.origins is not None
    assert len(config.origins) == 2
    assert config.pinned == ()


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert read_config({"TRANSOM_CONFIG": str(tmp_path / "none")}) == Config.read({})


@pytest.mark.parametrize("how", ["variable", "option"])
def test_a_file_that_is_named_must_be_there(tmp_path: Path, how: str) -> None:
    missing = str(tmp_path / "missing.toml")
    environ = {"TRANSOM_SETTINGS": missing} if how == "variable" else {}
    option = missing if how == "option" else None
    with pytest.raises(InvalidSetting, match=r"cannot read the settings file .*missing\.toml"):
        read_config(environ, settings=option)
    assert settings_path({"TRANSOM_SETTINGS": "x"}, missing) == (Path(missing), True)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("prot = 1", "no setting is called 'prot'; the nearest is port"),
        ("[server]\nport = 1", "no setting is called 'server'; the nearest is"),
        ("port = 70000", "TRANSOM_PORT: '70000' is not a port"),
        ("port = 1.5", "port is a text, a number, true, false, or a list of texts"),
        ("origins = [1]", "origins is a text"),
        ('hosts = ["a,b"]', "hosts: 'a,b' has a comma"),
        ("port = ", "not TOML"),
        ("port = 1\nport = 2", "not TOML"),
        ("port = " + "[" * 50_000, "not TOML"),
        ("\udcff", "not TOML"),
        ("#" * MAX_FILE_BYTES + "\n", "no settings file"),
    ],
)
def test_each_mistake_is_named(file: Path, text: str, error: str) -> None:
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidSetting) as caught:
        read_config(environ(file))
    assert error in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_reload_takes_what_is_safe_and_names_the_rest(file: Path) -> None:
    file.write_text('hosts = ["a.example"]\ngrace = 1\nport = 1\n')
    old = read_config(environ(file), queue="5")
    file.write_text('hosts = ["b.example"]\ngrace = 1\nport = 2\nqueue = 9\nkeys = "required"\n')
    new, changed, waiting = reload_config(environ(file), old, queue="5")
    assert (changed, waiting) == (["hosts", "keys"], ["port"])
    assert (new.hosts, new.keys, new.port) == (("b.example",), "required", 1)
    file.write_text("writable = false\n")
    new, changed, _ = reload_config(environ(file), new)
    assert not new.writable
    assert not new.writable_with_key
    assert "writable" in changed


def test_every_setting_is_a_field(file: Path) -> None:
    fields = {field.name for field in dataclasses.fields(Config)}
    assert {setting.name for setting in SETTINGS} <= fields
