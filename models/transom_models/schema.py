"""JSON Schema (2020-12) and TypeScript of the store's documents, from their dataclasses and caps.

    python -m transom_models.schema [ROOT]

writes `docs/formats/schema/*.json` and `web/src/store/manifest-types.ts` under the repository's
root; a test compares. What the schemas cannot say is listed in docs/formats/manifests.md. Must not
know who reads them.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from transom_models import manifest, media_types, typescript
from transom_models.digest import PREFIX, Digest
from transom_models.manifest import Descriptor, Index, Manifest, Platform
from transom_models.modelfile import modelfile
from transom_models.modelfile.parameters import (
    MAX_STOP_CHARS,
    MAX_STOPS,
    PARAMETERS,
    Parameter,
)

Schema = dict[str, Any]

SCHEMA_FOLDER: Final = Path("docs/formats/schema")
TYPES_FILE: Final = Path("web/src/store/manifest-types.ts")

# `$` would let a line end through in Python; this is the end in every dialect.
_END: Final = r"(?![\s\S])"
# Printable ASCII without the space.
_WORD: Final = rf"^[!-~]+{_END}"
_TITLE_CHARS: Final = rf"[^/\\\u0000-\u001f\u007f-\u009f]{{1,{manifest.MAX_TITLE_PART_BYTES}}}"
_TITLE_PART: Final = rf"(?!\.{{1,2}}(?:/|{_END})){_TITLE_CHARS}"

_WORD_RULE: Final[Schema] = {
    "type": "string",
    "maxLength": manifest.MAX_MEDIA_TYPE_CHARS,
    "pattern": _WORD,
}
_TEXT: Final[Schema] = {"type": "string", "maxLength": manifest.MAX_ANNOTATION_CHARS}
_ANNOTATIONS: Final[Schema] = {
    "type": "object",
    "maxProperties": manifest.MAX_ANNOTATIONS,
    "propertyNames": {"maxLength": manifest.MAX_ANNOTATION_CHARS},
    "additionalProperties": _TEXT,
}
# A relative path that only goes down.
_TITLE: Final[Schema] = {
    "type": "string",
    "maxLength": manifest.MAX_TITLE_CHARS,
    "pattern": f"^{_TITLE_PART}(?:/{_TITLE_PART})*{_END}",
    "description": "file name",
}
# What a type hint does not say, by dataclass and field.
_RULES: Final[Mapping[tuple[type, str], Schema]] = {
    (Platform, "os"): {**_WORD_RULE, "description": "native or browser"},
    (Platform, "architecture"): {**_WORD_RULE, "description": "gguf or webgpu"},
    (Platform, "variant"): {
        **_WORD_RULE,
        "type": ["string", "null"],
        "description": "f16 or f32: the type that a browser computes in",
    },
    (Descriptor, "media_type"): {
        "type": "string",
        "maxLength": manifest.MAX_MEDIA_TYPE_CHARS,
        "pattern": f"^{manifest.MEDIA_TYPE_PATTERN}{_END}",
    },
    (Descriptor, "size"): {
        "type": "integer",
        "minimum": 0,
        "maximum": manifest.MAX_BLOB_BYTES,
        "description": "bytes",
    },
    (Descriptor, "annotations"): {
        **_ANNOTATIONS,
        "properties": {media_types.ANNOTATION_TITLE: _TITLE},
    },
}


def schemas() -> dict[str, Schema]:
    """Every schema by its file name without `.json`."""
    row = {"Platform": _object(Platform), "Descriptor": _object(Descriptor)}
    return {
        "platform": _document("platform", row["Platform"]),
        "descriptor": _document("descriptor", row["Descriptor"], Platform=row["Platform"]),
        "manifest": _document("manifest", _top(Manifest), **row),
        "index": _document("index", _top(Index), **row),
        "params": _document("params", _params()),
    }


def _document(name: str, schema: Schema, **definitions: Schema) -> Schema:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:transom:schema:{name}",
        "title": name.capitalize(),
    }
    return {**head, **schema, **({"$defs": definitions} if definitions else {})}


def _object(kind: type) -> Schema:
    """A dataclass in JSON's keys: fields without a default are required."""
    hints = get_type_hints(kind)
    properties = {
        _json_key(field.name): _RULES.get((kind, field.name)) or _of_hint(hints[field.name])
        for field in fields(kind)
    }
    required = [
        _json_key(field.name)
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    ]
    return {
        "description": _summary(kind),
        "type": "object",
        "required": required,
        "properties": properties,
    }


def _top(kind: type[Manifest] | type[Index]) -> Schema:
    """A document of its own: what it is in two dialects, and not the other kind at once."""
    schema = _object(kind)
    is_index = kind is Index
    allowed = manifest.INDEX_TYPES if is_index else manifest.MANIFEST_TYPES
    # CVE-2021-41190: no document may be read as an index and as a manifest.
    other = ("config", "layers") if is_index else ("manifests",)
    return {
        **schema,
        "required": ["schemaVersion", *schema["required"]],
        "properties": {
            "schemaVersion": {"const": 2},
            "mediaType": {"enum": list(allowed)},
            **schema["properties"],
            **dict.fromkeys(other, False),
        },
    }


def _of_hint(hint: object) -> Schema:
    if hint is Digest:
        return {"type": "string", "pattern": f"^{PREFIX}[0-9a-f]{{64}}{_END}"}
    if hint is Descriptor:
        return {"$ref": "#/$defs/Descriptor"}
    if hint == Platform | None:
        return {"$ref": "#/$defs/Platform"}
    if hint == tuple[Descriptor, ...]:
        return {
            "type": "array",
            "maxItems": manifest.MAX_DESCRIPTORS,
            "items": {"$ref": "#/$defs/Descriptor"},
        }
    if hint == Mapping[str, str]:
        return _ANNOTATIONS
    raise TypeError(f"no schema is known for {hint}")


def _params() -> Schema:
    return {
        "description": "Sampling and loading options of a model; other names are passed over.",
        "type": "object",
        "properties": {name: _parameter(row) for name, row in PARAMETERS.items()},
    }


def _parameter(row: Parameter) -> Schema:
    schema: Schema
    if row.kind is list:
        text = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARS}
        schema = {"anyOf": [text, {"type": "array", "maxItems": MAX_STOPS, "items": text}]}
    elif row.kind is bool:
        schema = {"type": "boolean"}
    else:
        schema = {
            "type": "integer" if row.kind is int else "number",
            "minimum": row.minimum,
            "maximum": row.maximum,
        }
    if row.default is not None:
        schema["default"] = row.default
    return {**schema, "description": row.meaning}


def _json_key(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def files() -> dict[Path, str]:
    """Everything generated: path under the repository's root, and text."""
    found = {
        SCHEMA_FOLDER / f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }
    limits = {
        "manifestBytes": manifest.MAX_MANIFEST_BYTES,
        "descriptors": manifest.MAX_DESCRIPTORS,
        "annotations": manifest.MAX_ANNOTATIONS,
        "annotationChars": manifest.MAX_ANNOTATION_CHARS,
        "stops": MAX_STOPS,
        "stopChars": MAX_STOP_CHARS,
        "messages": modelfile.MAX_MESSAGES,
    }
    tables: dict[str, Mapping[str, str | int]] = {
        "MEDIA_TYPES": {
            "index": media_types.OCI_INDEX,
            "manifest": media_types.OCI_MANIFEST,
            "config": media_types.CONFIG,
            "shard": media_types.SHARD,
            "library": media_types.LIBRARY,
            "program": media_types.PROGRAM,
            "tensorCache": media_types.TENSOR_CACHE,
            "tokenizer": media_types.TOKENIZER,
            "nativeConfig": media_types.OLLAMA_CONFIG,
            "gguf": media_types.OLLAMA_MODEL,
            "adapter": media_types.OLLAMA_ADAPTER,
            "template": media_types.OLLAMA_TEMPLATE,
            "system": media_types.OLLAMA_SYSTEM,
            "params": media_types.OLLAMA_PARAMS,
            "messages": media_types.OLLAMA_MESSAGES,
            "license": media_types.OLLAMA_LICENSE,
        },
        "ANNOTATIONS": {
            "title": media_types.ANNOTATION_TITLE,
            "refName": media_types.ANNOTATION_REF_NAME,
            "maxFile": media_types.ANNOTATION_MAX_FILE,
            "licenses": media_types.ANNOTATION_LICENSES,
            "schedule": media_types.ANNOTATION_SCHEDULE,
        },
        "LIMITS": limits,
    }
    found[TYPES_FILE] = typescript.module(schemas(), tables)
    return found


def main(root: Path) -> None:
    """Write every generated file under `root`."""
    for path, text in files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
