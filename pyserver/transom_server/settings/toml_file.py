"""Settings in a TOML file, and the order of all sources: command line, environment, file, default.

    # transom.toml
    port = 8080
    accept_license = true
    origins = ["https://chat.example", "http://localhost:*"]

    [[upstream]]                                # `upstream/settings.py` reads these
    url = "https://gpu-box:8000/v1"
    models = ["llama3:70b"]

Reads one file; `config` checks what it says.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import platformdirs

from transom_server.settings.config import Config, InvalidSetting
from transom_server.settings.table import SETTINGS
from transom_server.upstream.settings import read_upstreams

VARIABLE: Final = "TRANSOM_SETTINGS"
FILE_NAME: Final = "transom.toml"
TABLES: Final = "upstream"
# A few lines, most of them origins.
MAX_FILE_BYTES: Final = 256 * 1024


def read_config(environ: Mapping[str, str], **overrides: str | None) -> Config:
    """All settings. `overrides`, by name, come first; `settings` among them names the file.

    Raises `InvalidSetting`.
    """
    path, is_named = settings_path(environ, overrides.pop("settings", None))
    rows = read_rows(path, is_named)
    tables = rows.pop(TABLES, [])
    texts = {key: _text(path, key, value) for key, value in rows.items()}
    # Empty text is no text: it hides nothing.
    given = {key: value for key, value in environ.items() if value}
    known = {setting.env: texts[setting.name] for setting in SETTINGS if setting.name in texts}
    config = Config.read({**known, **given}, **overrides)
    return config.changed(upstreams=read_upstreams(tables, environ, path.parent))


def settings_path(environ: Mapping[str, str], named: str | None = None) -> tuple[Path, bool]:
    """Where the file is, and whether somebody said so; else it may be missing."""
    if text := named or environ.get(VARIABLE):
        return Path(text).expanduser(), True
    return settings_folder(environ) / FILE_NAME, False


def settings_folder(environ: Mapping[str, str]) -> Path:
    """The folder TRANSOM_CONFIG, or the user's own for settings."""
    folder = environ.get("TRANSOM_CONFIG")
    return Path(folder).expanduser() if folder else platformdirs.user_config_path("transom")


def read_rows(path: Path, must_exist: bool = True) -> dict[str, Any]:
    """The values of a file by setting. Raises `InvalidSetting`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not must_exist:
            return {}
        raise InvalidSetting(f"cannot read the settings file {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InvalidSetting(f"{path}: more than {MAX_FILE_BYTES} bytes are no settings file")
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(f"{path}: not TOML: {error!s:.200}") from None
    names = [*(setting.name for setting in SETTINGS), TABLES]
    for key in found:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1, 0.0)[0]
            raise InvalidSetting(f"{path}: no setting is called {key!r:.80}; the nearest is {near}")
    return found


def _text(path: Path, key: str, value: Any) -> str:
    """A value as the environment would have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        for item in value:
            if "," in item:
                raise InvalidSetting(f"{path}: {key}: {item!r:.80} has a comma; write two texts")
        return ",".join(value)
    raise InvalidSetting(f"{path}: {key} is a text, a number, true, false, or a list of texts")


def reload_config(
    environ: Mapping[str, str], old: Config, **overrides: str | None
) -> tuple[Config, list[str], list[str]]:
    """The settings as they are now: what to go on with, names of what has changed in it, and names
    of what has changed and waits for a restart. Raises `InvalidSetting`."""
    new = read_config(environ, **overrides)
    changed, waiting = [], []
    fields: dict[str, Any] = {}
    for setting in SETTINGS:
        if getattr(new, setting.name) == getattr(old, setting.name):
            continue
        if setting.live:
            changed.append(setting.name)
            fields[setting.name] = getattr(new, setting.name)
        else:
            waiting.append(setting.name)
    if new.upstreams != old.upstreams:
        waiting.append(TABLES)
    if "writable" in fields:
        fields["writable_with_key"] = new.writable_with_key
    return old.changed(**fields), changed, waiting
