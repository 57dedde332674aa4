"""Which models other servers run: the `[[upstream]]` tables of the settings, read and checked.

    [[upstream]]
    url = "http://gpu-box:8000/v1"
    kind = "vllm"
    key_env = "GPU_BOX_KEY"
    models = { "llama3:70b" = "meta-llama/Llama-3-70B-Instruct" }

Knows no HTTP. Reads files of keys, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeGuard

from transom_api.openai.outgoing import KINDS, Kind
from transom_models.name import InvalidName, ModelName
from transom_server.settings.config import InvalidSetting
from transom_server.transfer.address import Address, InvalidAddress

# A rack of machines; each is asked how it is every few seconds.
MAX_UPSTREAMS: Final = 64
MAX_MODELS: Final = 1000
MAX_MODEL_CHARS: Final = 500
MAX_KEY_BYTES: Final = 16 * 1024
# A long prompt may wait in the other server's line before its first token.
DEFAULT_TIMEOUT_SECONDS: Final = 600.0
MAX_TIMEOUT_SECONDS: Final = 24 * 3600.0
_FIELDS: Final = ("url", "models", "kind", "key_env", "key_file", "timeout", "insecure")


@dataclass(frozen=True, slots=True)
class UpstreamSetting:
    """One server. `models` are our names, as `str(ModelName)` has them, and its own."""

    address: Address
    models: Mapping[str, str]
    kind: Kind = "openai"
    key: str | None = field(default=None, repr=False)
    timeout: float = DEFAULT_TIMEOUT_SECONDS

    @property
    def place(self) -> str:
        """How it is called in logs, figures and errors."""
        return self.address.place


def read_upstreams(
    rows: object, environ: Mapping[str, str], folder: Path
) -> tuple[UpstreamSetting, ...]:
    """`rows` as TOML has them; `key_file` is found from `folder`. Raises `InvalidSetting`."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidSetting("upstream: write each server as a table [[upstream]]")
    if len(rows) > MAX_UPSTREAMS:
        raise InvalidSetting(f"upstream: there are {len(rows)}, over {MAX_UPSTREAMS}")
    return tuple(
        _Row(f"upstream[{number}]", row).read(environ, folder) for number, row in enumerate(rows)
    )


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    fields: Mapping[str, Any]

    def read(self, environ: Mapping[str, str], folder: Path) -> UpstreamSetting:
        for name in self.fields:
            if name not in _FIELDS:
                self._refuse(name, f"is not known; there are {', '.join(_FIELDS)}")
        address = self._address()
        key = self._key(environ, folder)
        in_clear = address.scheme == "http" and not address.is_loopback
        if key is not None and in_clear and self.fields.get("insecure") is not True:
            self._refuse("url", "would send the key over plain http; use https, or insecure = true")
        return UpstreamSetting(address, self._models(), self._kind(), key, self._timeout())

    def _address(self) -> Address:
        try:
            address = Address.parse(self._text("url").rstrip("/"))
        except InvalidAddress as error:
            self._refuse("url", str(error))
        if "?" in address.url:
            self._refuse("url", "has a query; give the address that its routes begin with")
        return address

    def _kind(self) -> Kind:
        for kind in KINDS:
            if self.fields.get("kind", "openai") == kind:
                return kind
        self._refuse("kind", f"must be one of {', '.join(KINDS)}")

    def _models(self) -> dict[str, str]:
        value = self.fields.get("models")
        rows = {name: name for name in value} if _is_texts(value) else value
        if not isinstance(rows, dict) or not rows or not _is_texts(list(rows.values())):
            self._refuse("models", "must be a list of names, or a table of our name = its name")
        if len(rows) > MAX_MODELS:
            self._refuse("models", f"has {len(rows)} names, over {MAX_MODELS}")
        found = {}
        for name, theirs in rows.items():
            try:
                parsed = ModelName.parse(name)
            except InvalidName as error:
                self._refuse("models", str(error))
            if parsed.digest is not None or not 0 < len(theirs) <= MAX_MODEL_CHARS:
                self._refuse("models", f"cannot have {name!r:.80} = {theirs!r:.80}")
            found[str(parsed)] = theirs
        return found

    def _key(self, environ: Mapping[str, str], folder: Path) -> str | None:
        if "key_env" in self.fields and "key_file" in self.fields:
            self._refuse("key_file", "is one too many beside key_env")
        if "key_env" in self.fields:
            name = self._text("key_env")
            found = environ.get(name, "").strip()
            return self._checked(found, "key_env", f"{name} is empty")
        if "key_file" in self.fields:
            path = folder / Path(self._text("key_file")).expanduser()
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_KEY_BYTES)
            except OSError as error:
                self._refuse("key_file", f"cannot read {path}: {error.strerror}")
            text = data.decode("ascii", "replace").strip()
            return self._checked(text, "key_file", f"{path} holds no key")
        return None

    def _checked(self, key: str, name: str, otherwise: str) -> str:
        # It becomes a header. The key itself is in no message.
        if not key or not key.isascii() or not key.isprintable():
            self._refuse(name, otherwise)
        return key

    def _timeout(self) -> float:
        value = self.fields.get("timeout", DEFAULT_TIMEOUT_SECONDS)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= MAX_TIMEOUT_SECONDS:
            self._refuse("timeout", f"must be seconds, up to {MAX_TIMEOUT_SECONDS:.0f}")
        return float(value)

    def _text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str) or not value:
            self._refuse(name, "must be a text")
        return value

    def _refuse(self, name: str, why: str) -> NoReturn:
        raise InvalidSetting(f"{self.where}.{name}: {why}")


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
