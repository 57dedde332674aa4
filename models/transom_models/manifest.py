"""OCI image index and image manifest: typed, capped reading and canonical writing.

`from_bytes` accepts what the OCI image spec allows and we understand; keys of the spec that we
have no use for (`urls`, `subject`, `artifactType`, …) are passed over. Everything else that is
wrong is an `InvalidManifest` that names the field. `to_bytes` is canonical: sorted keys, no spaces,
UTF-8, empty annotations left out, so equal values have equal digests. A digest names the bytes that
were read: whoever keeps a foreign manifest keeps its bytes, not what `to_bytes` makes of it.

Pure: no I/O. Knows no names, no store and no HTTP.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NoReturn, Self

from transom_models.digest import Digest, InvalidDigest
from transom_models.errors import TransomError
from transom_models.media_types import (
    ANNOTATION_TITLE,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    OLLAMA_MODEL,
)

# The OCI distribution spec asks registries to take manifests of at least 4 MiB; ours are a few KiB.
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
# Shards are about 32 MiB, so this is room for 128 GiB; platforms of one index are a handful.
MAX_DESCRIPTORS: Final = 4096
# Largest integer that the page, which reads sizes as JavaScript numbers, holds exactly.
MAX_BLOB_BYTES: Final = 2**53 - 1
# RFC 6838 allows 127 characters on each side of the slash.
MAX_MEDIA_TYPE_CHARS: Final = 255
# Metadata has dozens; the OCI conformance suite pushes 391 of them.
MAX_ANNOTATIONS: Final = 1024
# A histogram or a licence expression fits many times over.
MAX_ANNOTATION_CHARS: Final = 16 * 1024
MAX_TITLE_CHARS: Final = 1024
# Longest file name that common file systems take.
MAX_TITLE_PART_BYTES: Final = 255

INDEX_TYPES: Final = (OCI_INDEX, DOCKER_INDEX)
MANIFEST_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
# RFC 6838 section 4.2: no space, no second slash, nothing that begins with a dot.
MEDIA_TYPE_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"
_MEDIA_TYPE: Final = re.compile(MEDIA_TYPE_PATTERN)


class InvalidManifest(TransomError):
    """The bytes are not an index or manifest that we can trust; the text names the field."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What a row of an index runs on: `native/gguf`, `browser/webgpu/f16`, `browser/webgpu/f32`."""

    os: str
    architecture: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One row of a manifest or an index: which bytes, how many (`size`), and what they are."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None

    def __post_init__(self) -> None:
        _freeze(self)

    @property
    def title(self) -> str | None:
        """File name (a relative path in `/`), or None when the row has none."""
        return self.annotations.get(ANNOTATION_TITLE)

    def to_json(self) -> dict[str, Any]:
        """The row in OCI's keys."""
        row: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            row["annotations"] = dict(self.annotations)
        if self.platform is not None:
            row["platform"] = {
                "os": self.platform.os,
                "architecture": self.platform.architecture,
            }
            if self.platform.variant is not None:
                row["platform"]["variant"] = self.platform.variant
        return row


@dataclass(frozen=True, slots=True)
class Manifest:
    """One platform of a model: its config and its layers, in order."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _freeze(self)

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """The config, then the layers: every blob that the platform needs."""
        return (self.config, *self.layers)

    def to_bytes(self) -> bytes:
        """Canonical JSON. Raises `InvalidManifest` for what `from_bytes` would refuse."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        return _write(self, value)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an image manifest, OCI's or Docker's. Raises `InvalidManifest`."""
        return cls._read(_read_object(data, MANIFEST_TYPES))

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        _refuse_both_kinds(value)
        config = _descriptor(_required(value, "config", ""), "config")
        layers = _descriptors(value, "layers")
        _refuse_ambiguous_titles((config, *layers))
        return cls(config, layers, _annotations(value, ""))


@dataclass(frozen=True, slots=True)
class Index:
    """A model: one row per platform, each naming that platform's manifest."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _freeze(self)

    def to_bytes(self) -> bytes:
        """Canonical JSON. Raises `InvalidManifest` for what `from_bytes` would refuse."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [row.to_json() for row in self.manifests],
        }
        return _write(self, value)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an image index, OCI's or Docker's list. Raises `InvalidManifest`."""
        return cls._read(_read_object(data, INDEX_TYPES))

    @classmethod
    def _read(cls, value: dict[str, Any]) -> Self:
        _refuse_both_kinds(value)
        return cls(_descriptors(value, "manifests"), _annotations(value, ""))


def parse_document(data: bytes) -> tuple[str, Index | Manifest]:
    """Read an index or a manifest, whichever it is; gives its media type too.

    Where the bytes do not say their type, what they hold tells. Raises `InvalidManifest`.
    """
    value = _read_object(data, INDEX_TYPES + MANIFEST_TYPES)
    default = OCI_INDEX if "manifests" in value else OCI_MANIFEST
    media_type = value.get("mediaType", default)
    if media_type in INDEX_TYPES:
        return media_type, Index._read(value)
    return media_type, Manifest._read(value)


def index_of(document: Index | Manifest, data: bytes, media_type: str) -> Index:
    """The index itself, or a single manifest (`data` its bytes) seen as an index of one row."""
    if isinstance(document, Index):
        return document
    native = any(layer.media_type == OLLAMA_MODEL for layer in document.layers)
    platform = Platform("native", "gguf") if native else None
    row = Descriptor(media_type, Digest.of(data), len(data), platform=platform)
    return Index((row,), document.annotations)


def subject_of(data: bytes) -> Digest | None:
    """The digest that an index or manifest names as its `subject`. Raises `InvalidManifest`."""
    subject = _read_object(data, INDEX_TYPES + MANIFEST_TYPES).get("subject")
    return None if subject is None else _descriptor(subject, "subject").digest


def _freeze(value: Descriptor | Manifest | Index) -> None:
    """Give a frozen value its own read-only annotations, whatever mapping it was made with."""
    object.__setattr__(value, "annotations", MappingProxyType(dict(value.annotations)))


def _write(value: Manifest | Index, json_value: dict[str, Any]) -> bytes:
    if value.annotations:
        json_value["annotations"] = dict(value.annotations)
    try:
        data = json.dumps(
            json_value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except (TypeError, ValueError) as error:
        raise InvalidManifest(f"cannot be written as a manifest: {error}") from error
    type(value).from_bytes(data)  # nobody may write what nobody could read
    return data


def _read_object(data: bytes, media_types: Sequence[str]) -> dict[str, Any]:
    """Parse and check what index and manifest have in common."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(
            f"manifest of {len(data)} bytes is over the cap of {MAX_MANIFEST_BYTES}"
        )
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise InvalidManifest("manifest is nested too deep") from None
    except ValueError as error:  # JSON, UTF-8, and integers of thousands of digits
        raise InvalidManifest(f"manifest is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidManifest(f"manifest must be a JSON object, not {_kind(value)}")
    version = _required(value, "schemaVersion", "")
    if type(version) is not int or version != 2:
        raise InvalidManifest("field schemaVersion must be 2")
    # The spec lets it be absent; present and different means the bytes are something else.
    if value.get("mediaType", media_types[0]) not in media_types:
        raise InvalidManifest(f"field mediaType must be {' or '.join(media_types)}")
    return value


def _refuse_both_kinds(value: Mapping[str, Any]) -> None:
    """Two readers could take one for an index and for a manifest (CVE-2021-41190)."""
    if "manifests" in value and ("layers" in value or "config" in value):
        raise InvalidManifest("it has the fields of an index and of a manifest at once")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse `{"a":1,"a":2}`: two readers could see two different manifests under one digest."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise InvalidManifest(f"manifest has the key {key!r:.80} twice in one object")
        value[key] = item
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidManifest(f"manifest is not JSON: {text} is not a JSON value")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    names |= {int: "a number", float: "a number", type(None): "null"}
    return names[type(value)]


def _required(value: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in value:
        raise InvalidManifest(f"field {_join(where, key)} is missing")
    return value[key]


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidManifest(f"field {where} must be an object, not {_kind(value)}")
    return value


def _string(value: object, where: str, max_chars: int) -> str:
    if not isinstance(value, str):
        raise InvalidManifest(f"field {where} must be a string, not {_kind(value)}")
    if len(value) > max_chars:
        raise InvalidManifest(f"field {where} has {len(value)} characters, over {max_chars}")
    # JSON can spell half a surrogate pair, which no UTF-8 can hold.
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidManifest(f"field {where} holds half a surrogate pair")
    return value


def _word(value: object, where: str, max_chars: int) -> str:
    """A string that may stand in a header or a line of output: printable ASCII, not empty."""
    text = _string(value, where, max_chars)
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidManifest(f"field {where} must be a word of printable ASCII")
    return text


def _annotations(value: Mapping[str, Any], where: str) -> Mapping[str, str]:
    where = _join(where, "annotations")
    if "annotations" not in value:
        return {}
    table = _object(value["annotations"], where)
    if len(table) > MAX_ANNOTATIONS:
        raise InvalidManifest(f"field {where} has {len(table)} rows, over {MAX_ANNOTATIONS}")
    return {
        _string(key, where, MAX_ANNOTATION_CHARS): _string(
            item, f"{where}.{key:.80}", MAX_ANNOTATION_CHARS
        )
        for key, item in table.items()
    }


def _descriptors(value: Mapping[str, Any], key: str) -> tuple[Descriptor, ...]:
    rows = _required(value, key, "")
    if not isinstance(rows, list):
        raise InvalidManifest(f"field {key} must be a list, not {_kind(rows)}")
    if len(rows) > MAX_DESCRIPTORS:
        raise InvalidManifest(f"field {key} has {len(rows)} rows, over {MAX_DESCRIPTORS}")
    return tuple(_descriptor(row, f"{key}[{number}]") for number, row in enumerate(rows))


def _descriptor(value: object, where: str) -> Descriptor:
    row = _object(value, where)
    media_type = _string(
        _required(row, "mediaType", where), f"{where}.mediaType", MAX_MEDIA_TYPE_CHARS
    )
    if _MEDIA_TYPE.fullmatch(media_type) is None:
        raise InvalidManifest(f"field {where}.mediaType is not type/subtype, as RFC 6838 has them")
    digest_text = _string(_required(row, "digest", where), f"{where}.digest", MAX_TITLE_CHARS)
    try:
        digest = Digest.parse(digest_text)
    except InvalidDigest as error:
        raise InvalidManifest(f"field {where}.digest: {error}") from None
    size = _required(row, "size", where)
    # bool is an int to isinstance, and 1.0 is not a count of bytes.
    if type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
        raise InvalidManifest(
            f"field {where}.size must be a whole number from 0 to {MAX_BLOB_BYTES}"
        )
    annotations = _annotations(row, where)
    if ANNOTATION_TITLE in annotations:
        _check_title(annotations[ANNOTATION_TITLE], where)
    platform = _platform(row["platform"], f"{where}.platform") if "platform" in row else None
    return Descriptor(media_type, digest, size, annotations, platform)


def _platform(value: object, where: str) -> Platform:
    row = _object(value, where)
    variant = row.get("variant")
    return Platform(
        os=_word(_required(row, "os", where), f"{where}.os", MAX_MEDIA_TYPE_CHARS),
        architecture=_word(
            _required(row, "architecture", where), f"{where}.architecture", MAX_MEDIA_TYPE_CHARS
        ),
        variant=None
        if variant is None
        else _word(variant, f"{where}.variant", MAX_MEDIA_TYPE_CHARS),
    )


def _check_title(title: str, where: str) -> None:
    """A title becomes a file name on export, so it must be a relative path that only goes down."""
    parts = title.split("/")
    if (
        len(title) > MAX_TITLE_CHARS
        or not title.isprintable()  # NUL, line breaks, right-to-left marks
        or "\\" in title
        or any(part in ("", ".", "..") for part in parts)
        or any(len(part.encode()) > MAX_TITLE_PART_BYTES for part in parts)
    ):
        raise InvalidManifest(
            f"the title {title!r:.80} of {where} is not a relative path without '..'"
        )


def _refuse_ambiguous_titles(rows: Sequence[Descriptor]) -> None:
    """One title names one blob within a manifest, or the by-path view would have to guess."""
    seen: dict[str, Digest] = {}
    for row in rows:
        if row.title is not None and seen.setdefault(row.title, row.digest) != row.digest:
            raise InvalidManifest(f"the title {row.title!r:.80} names two different blobs")
