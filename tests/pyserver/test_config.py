"""pytest tests/pyserver/test_config.py: settings are read once, checked, and documented."""

from pathlib import Path

import pytest

from transom_server.access.origins import host_allowed, origin_allowed
from transom_server.settings.config import Config, InvalidSetting
from transom_server.settings.table import SETTINGS, settings_table

ROOT = Path(__file__).resolve().parents[2]


def test_docs_have_the_table() -> None:
    docs = (ROOT / "docs" / "settings.md").read_text()
    way_out = "run: python -m transom_server.settings.table, into docs/settings.md"
    assert settings_table() in docs, way_out
    assert len({setting.env for setting in SETTINGS}) == len(SETTINGS)
    # One name for all places, so that whoever knows one knows the others.
    assert all(setting.env == f"TRANSOM_{setting.name.upper()}" for setting in SETTINGS)


def test_docs_name_what_a_running_server_takes_over() -> None:
    text = " ".join((ROOT / "docs" / "operation.md").read_text().split())
    names = ", ".join(f"`{setting.name}`" for setting in SETTINGS if setting.live)
    assert f"no stream is dropped: {names}." in text


def test_overrides_come_before_the_environment_and_that_before_defaults() -> None:
    environ = {"TRANSOM_PORT": "1", "TRANSOM_HOST": "::1", "TRANSOM_MODELS": ""}
    config = Config.read(environ, port="2", host=None)
    assert (config.port, config.host) == (2, "::1")
    assert config.models == str(Path.home() / ".transom" / "models")
    assert config.web_dir is None


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ("TRANSOM_PORT", "x"),
        ("TRANSOM_PORT", "-1"),
        ("TRANSOM_PORT", "65536"),
        ("TRANSOM_PORT", "1" * 5000),
        ("TRANSOM_PORT", "\u0661"),
        ("TRANSOM_ORIGINS", "localhost"),
        ("TRANSOM_ORIGINS", "http://a, *"),
        ("TRANSOM_ORIGINS", "http://a/path"),
        ("TRANSOM_ORIGINS", "file://x"),
        ("TRANSOM_HOSTS", "a:80"),
        ("TRANSOM_HOSTS", "http://a"),
        ("TRANSOM_REGISTRY", "https://a"),
        ("TRANSOM_REGISTRY", "a/b"),
        ("TRANSOM_REGISTRY", "../a"),
        ("TRANSOM_WRITABLE", "maybe"),
        ("TRANSOM_PARALLEL", "0"),
        ("TRANSOM_PARALLEL", "65"),
        ("TRANSOM_PARALLEL", "many"),
        ("TRANSOM_KV_TYPE", "q4_k"),
        ("TRANSOM_ACCEPT_LICENSE", "true"),
        ("TRANSOM_LOG", "xml"),
        ("TRANSOM_LOG_LEVEL", "loud"),
        ("TRANSOM_GRACE", "-1"),
        ("TRANSOM_GRACE", "1e3"),
    ],
)
def test_names_the_variable_that_is_wrong(env: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=env) as caught:
        Config.read({env: text})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("host", "text", "writable"),
    [
        ("127.0.0.1", "", True),
        ("127.8.0.1", "", True),
        ("::1", "", True),
        ("localhost", "", True),
        ("0.0.0.0", "", False),
        ("::", "", False),
        ("192.168.1.2", "", False),
        ("localhost.example.com", "", False),
        ("0.0.0.0", "yes", True),
        ("127.0.0.1", "no", False),
    ],
)
def test_only_this_machine_may_change_the_store_unasked(
    host: str, text: str, writable: bool
) -> None:
    config = Config.read({"TRANSOM_HOST": host, "TRANSOM_WRITABLE": text})
    assert config.writable is writable


def test_a_store_is_a_folder_or_a_url() -> None:
    assert Config.read({"TRANSOM_MODELS": "models"}).models == str(Path("models").absolute())
    assert Config.read({"TRANSOM_MODELS": "s3://bucket/a"}).models == "s3://bucket/a"


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:11435",
        "[::1]",
        "[::1]:80",
        "box.local",
        "box.local:1",
    ],
)
def test_hosts_that_are_ours(header: str) -> None:
    assert host_allowed(header, Config.read({"TRANSOM_HOSTS": "box.local"}))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:11435",
        "127.0.0.1.evil.example",
        "localhost.",
        "[::1].evil.example",
        "[::1",
        "192.168.0.2",
        "localhost@evil.example",
        "localhost:80@evil.example",
        "evil.example:localhost",
        "box.local",
    ],
)
def test_hosts_that_are_not(header: str | None) -> None:
    assert not host_allowed(header, Config.read({}))


def test_listening_on_all_addresses_is_to_go_by_any_address_but_not_by_any_name() -> None:
    config = Config.read({"TRANSOM_HOST": "0.0.0.0"})
    assert host_allowed("192.168.0.2:11435", config)
    assert host_allowed("[fe80::1]:11435", config)
    assert not host_allowed("evil.example", config)
    assert host_allowed("192.168.0.2", Config.read({"TRANSOM_HOST": "192.168.0.2"}))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost", True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:8", True),
        ("http://[::1]:8", True),
        ("https://localhost:8", True),
        ("null", False),
        ("", False),
        ("*", False),
        ("http://localhost:*", False),
        ("http://localhost.evil.example", False),
        ("http://evil.example", False),
        ("file://", False),
        ("http://localhost:3000/", False),
        ("http://user@localhost", False),
    ],
)
def test_origins(origin: str, allowed: bool) -> None:
    assert origin_allowed(origin, Config.read({})) is allowed


def test_origins_can_be_set() -> None:
    config = Config.read({"TRANSOM_ORIGINS": "https://App.example, http://a:8080"})
    assert origin_allowed("https://app.example", config)
    assert origin_allowed("https://app.example:443", config)
    assert not origin_allowed("http://app.example", config)
    assert not origin_allowed("http://a", config)
    assert origin_allowed("http://a:8080", config)
    assert not origin_allowed("http://localhost", config)
    assert origin_allowed("null", Config.read({"TRANSOM_ORIGINS": "*"}))


def test_how_models_are_loaded() -> None:
    config = Config.read({})
    assert (config.parallel, config.kv_type) == (None, "f16")
    config = Config.read({"TRANSOM_PARALLEL": "64", "TRANSOM_KV_TYPE": "q8_0"})
    assert (config.parallel, config.kv_type) == (64, "q8_0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", None), ("1000", 1000), ("8G", 8 * 2**30), ("512mib", 512 * 2**20), ("1TB", 2**40)],
)
def test_memory(text: str, expected: int | None) -> None:
    assert Config.read({"TRANSOM_MEMORY": text}).memory == expected


@pytest.mark.parametrize("text", ["-1", "8 G", "8.5G", "G", "8X", "9" * 30])
def test_memory_that_is_none(text: str) -> None:
    with pytest.raises(InvalidSetting, match="TRANSOM_MEMORY"):
        Config.read({"TRANSOM_MEMORY": text})


def test_who_waits_and_who_stays() -> None:
    config = Config.read({"TRANSOM_QUEUE": "7", "TRANSOM_PINNED": "a, b:8b"})
    assert (config.queue, config.pinned) == (7, ("a", "b:8b"))
    for text in ("0", "-1", "x", "100001", "9" * 5000):
        with pytest.raises(InvalidSetting, match="TRANSOM_QUEUE"):
            Config.read({"TRANSOM_QUEUE": text})
