"""Every setting of the server, as one table: name, environment variable, default, one line of help.

Pure but for `main`, which prints the table that `docs/settings.md` holds (a test compares them).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: texts for people, as is what `env` holds.

    `live`: SIGHUP changes it in a server that runs.
    """

    name: str
    env: str
    default: str
    help: str
    live: bool = False

    @property
    def flag(self) -> str:
        """The option of `transom serve`."""
        return f"--{self.name.replace('_', '-')}"


SETTINGS: Final = (
    Setting(
        "models",
        "TRANSOM_MODELS",
        "~/.transom/models",
        "Folder of the store, or the URL of an object store as `s3://bucket/prefix`.",
    ),
    Setting(
        "registry",
        "TRANSOM_REGISTRY",
        "",
        "Registry (`host` or `host:port`) that names without a host are pulled from and pushed to.",
    ),
    Setting(
        "accept_license",
        "TRANSOM_ACCEPT_LICENSE",
        "no",
        "`yes`: pull models whose terms are not open without being asked each time.",
    ),
    Setting(
        "cache_bytes",
        "TRANSOM_CACHE_BYTES",
        "20000000000",
        "Most bytes of an object store's models that are kept on this machine's disk too, for"
        " engines; what is in use stays.",
    ),
    Setting("host", "TRANSOM_HOST", "127.0.0.1", "Address to listen on."),
    Setting("port", "TRANSOM_PORT", "11435", "Port to listen on; 0 takes a free one."),
    Setting(
        "web_dir",
        "TRANSOM_WEB_DIR",
        "",
        "Folder of the built web page; empty takes `web/dist` of this checkout.",
    ),
    Setting(
        "origins",
        "TRANSOM_ORIGINS",
        "http://localhost:*,http://127.0.0.1:*,http://[::1]:*,https://localhost:*",
        "Web pages of other origins that may read models (CORS); `:*` is any port, `*` any page.",
        live=True,
    ),
    Setting(
        "embed_origins",
        "TRANSOM_EMBED_ORIGINS",
        "",
        "Sites, as `https://blog.example`, that may [use the visitor's models](embedding.md)"
        " in a frame, once the visitor agrees.",
        live=True,
    ),
    Setting(
        "hosts",
        "TRANSOM_HOSTS",
        "",
        "Names that this server may be called by, beside localhost and the address it listens on.",
        live=True,
    ),
    Setting(
        "writable",
        "TRANSOM_WRITABLE",
        "auto",
        "Whether clients may change the store: `yes`, `no`, or `auto` (if only this machine can"
        " connect).",
        live=True,
    ),
    Setting(
        "keys",
        "TRANSOM_KEYS",
        "auto",
        "Whether clients need an [API key](keys.md): `required`, `off`, or `auto` (once"
        " `transom key create` has made one).",
        live=True,
    ),
    Setting(
        "trusted_proxies",
        "TRANSOM_TRUSTED_PROXIES",
        "",
        "Addresses or networks of proxies in front, as `127.0.0.1` or `10.0.0.0/8`, whose word on"
        " who asks counts (`X-Forwarded-For`, `X-Forwarded-Proto`).",
    ),
    Setting(
        "parallel",
        "TRANSOM_PARALLEL",
        "auto",
        "Requests that one model answers at once, each with a context of its own; `auto`: 4, and"
        " fewer where contexts are over 4096 tokens.",
    ),
    Setting(
        "kv_type",
        "TRANSOM_KV_TYPE",
        "f16",
        "How models keep keys and values: `f32`, `f16`, `bf16`, `q8_0`, `q5_1`, `q5_0`, `q4_1`,"
        " `q4_0` or `iq4_nl`.",
    ),
    Setting(
        "memory",
        "TRANSOM_MEMORY",
        "auto",
        "Memory that loaded models may take, as `8G` or in bytes; `auto` is four fifths of what"
        " this machine, or its control group, has.",
    ),
    Setting(
        "pinned",
        "TRANSOM_PINNED",
        "",
        "Models that stay once they are loaded, until they are stopped.",
    ),
    Setting(
        "queue",
        "TRANSOM_QUEUE",
        "512",
        "Requests that may wait for a model; one client's, half of them. More are turned away"
        " (503, 429).",
    ),
    Setting(
        "engine",
        "TRANSOM_ENGINE",
        "llama.cpp",
        "What runs models: `llama.cpp` on this machine, or `ray` on those of a"
        " [cluster](cluster.md).",
    ),
    Setting(
        "ray_address",
        "TRANSOM_RAY_ADDRESS",
        "auto",
        "With `ray`: the cluster's `host:port`; `auto` is the one that this machine is in, `local`"
        " starts one of this machine alone.",
    ),
    Setting(
        "ray_replicas",
        "TRANSOM_RAY_REPLICAS",
        "1-4",
        "With `ray`: how many of each model there are, at least and at most, as the load asks.",
    ),
    Setting(
        "log",
        "TRANSOM_LOG",
        "text",
        "How the log is written: `text`, or `json`, one object a line.",
        live=True,
    ),
    Setting(
        "log_level",
        "TRANSOM_LOG_LEVEL",
        "info",
        "What is logged: `debug`, `info` (each request), `warning` or `error`.",
        live=True,
    ),
    Setting(
        "log_file",
        "TRANSOM_LOG_FILE",
        "",
        "File that the log is added to; empty takes stderr.",
        live=True,
    ),
    Setting(
        "grace",
        "TRANSOM_GRACE",
        "30",
        "Seconds that running answers have to end when the server is told to stop.",
        live=True,
    ),
)


def parts(text: str) -> list[str]:
    """The parts of a list as settings have it: by comma."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def settings_table() -> str:
    """The table of `docs/settings.md`, in Markdown."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for setting in SETTINGS:
        default = ", ".join(f"`{part}`" for part in parts(setting.default)) or "empty"
        rows.append(f"| `{setting.env}` | {default} | {setting.help} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(settings_table(), end="")
