"""Ollama's management routes: request bodies checked, answers in their shapes.

`model` and its older spelling `name` are one field. Unknown fields are passed over, as Ollama does;
what this server cannot honour is refused by its name. Pure: no I/O, no store, no HTTP.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from transom_api.json_body import read_json
from transom_api.ollama.generation import InvalidRequest
from transom_models.digest import Digest, InvalidDigest
from transom_models.modelfile import Modelfile, ParameterValue, check_parameters, parse_modelfile
from transom_models.modelfile.modelfile import MAX_ADAPTERS, MAX_LICENSES, MAX_MESSAGES, ROLES
from transom_models.modelfile.parameters import RETIRED
from transom_models.name import DEFAULT_TAG, ModelName

# Licences of tens of KiB and a template come in such a body; weights come as blobs.
MAX_JSON_BYTES: Final = 1024 * 1024
# A model and an image encoder; a safetensors folder has some dozens.
MAX_FILES: Final = 256
# Labels of files: never opened, only looked at for their ending.
MAX_LABEL_CHARS: Final = 255
# Of a file that is pulled; hosts sign addresses, and few need half of this.
MAX_ADDRESS_CHARS: Final = 2000
# An array in a verbose answer; vocabularies reach 262 144 tokens.
MAX_SHOWN_ITEMS: Final = 300_000
# How Ollama aligns the lines of `parameters`.
_NAME_WIDTH: Final = 30
# Fields of /api/create that this server cannot do: field -> the way out.
REFUSED: Final[Mapping[str, str]] = {
    "renderer": "it names code inside Ollama; give the chat template as template",
    "parser": "it names code inside Ollama; leave it out",
    "draft_files": "`transom create` makes a model with a draft (DRAFT); leave it out",
    "draft_quantize": "`transom create -q` makes a smaller draft; leave it out",
    "remote_host": "models of other hosts are pulled first, then named in from",
}
# Of a message that a model begins with.
NOT_CARRIED: Final = ("images", "tool_calls")
ONLY_TEXTS: Final = "a model carries texts only; leave it out"
# Of a pull or a push.
CREDENTIALS: Final = ("username", "password")
NO_CREDENTIALS: Final = "`transom login` keeps what a registry asks for"
# Schemes as llama.cpp names them; which ones there are is the quantizer's to say.
SCHEME: Final = re.compile(r"[A-Za-z0-9_]{1,20}")
# Parts of a checkpoint that is no GGUF. Pickles (.bin, .pth) run code when they are read.
_CHECKPOINT_PARTS: Final = (".safetensors", ".json", ".model", ".txt", ".jinja", ".md")
_PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, slots=True)
class ShowRequest:
    model: ModelName
    verbose: bool


@dataclass(frozen=True, slots=True)
class CopyRequest:
    source: ModelName
    destination: ModelName


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """A pull or a push."""

    model: ModelName
    insecure: bool
    stream: bool


@dataclass(frozen=True, slots=True)
class PullRequest:
    """`source` is a model of a registry, or the address of a file (which Ollama does not take)."""

    source: ModelName | str
    insecure: bool
    stream: bool


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """`base` is a model, or None where `files` has the digests of the weights. `modelfile` says
    the rest. `compiles`: also for browsers, which Ollama does not know."""

    model: ModelName
    base: ModelName | None
    files: Mapping[str, Digest]
    adapters: Mapping[str, Digest]
    quantize: str | None
    compiles: bool
    modelfile: Modelfile
    stream: bool

    @property
    def converts(self) -> bool:
        """Whether there is work for the command line: weights that change, or are compiled."""
        labels = [label.lower() for label in (*self.files, *self.adapters)]
        return (
            self.compiles
            or self.quantize is not None
            or any(label.endswith(_CHECKPOINT_PARTS) for label in labels)
        )


def read_body(data: bytes) -> dict[str, Any]:
    """A request's body as an object. Raises `InvalidRequest`."""
    if not data.strip():
        raise InvalidRequest("missing request body")
    try:
        body = read_json(data)
    except ValueError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidRequest("the body must be a JSON object")
    return body


def read_show(body: Mapping[str, Any]) -> ShowRequest:
    return ShowRequest(_model(body), _flag(body, "verbose", False))


def read_delete(body: Mapping[str, Any]) -> ModelName:
    return _model(body)


def read_copy(body: Mapping[str, Any]) -> CopyRequest:
    source, destination = _text(body, "source"), _text(body, "destination")
    if not source or not destination:
        raise InvalidRequest("source and destination are required")
    return CopyRequest(ModelName.parse(source), ModelName.parse(destination))


def read_transfer(body: Mapping[str, Any]) -> TransferRequest:
    for field in CREDENTIALS:
        if body.get(field):
            raise InvalidRequest(f"{field}: {NO_CREDENTIALS}")
    return TransferRequest(
        _model(body), _flag(body, "insecure", False), _flag(body, "stream", True)
    )


def read_pull(body: Mapping[str, Any]) -> PullRequest:
    """As `read_transfer`; the model may be an address, which the pull itself judges."""
    text = _text(body, "model") or _text(body, "name")
    if "://" not in text:
        asked = read_transfer(body)
        return PullRequest(asked.model, asked.insecure, asked.stream)
    if len(text) > MAX_ADDRESS_CHARS:
        raise InvalidRequest(f"model: an address of more than {MAX_ADDRESS_CHARS} characters")
    return PullRequest(text, _flag(body, "insecure", False), _flag(body, "stream", True))


def read_create(body: Mapping[str, Any]) -> CreateRequest:
    """Raises `InvalidRequest`, `InvalidName`, `InvalidParameter`.

    Paths are never taken: weights are named by the digests of blobs that were sent before.
    """
    model = _model(body)
    for field, way_out in REFUSED.items():
        if body.get(field):
            raise InvalidRequest(f"{field}: {way_out}")
    quantize = _text(body, "quantize") or _text(body, "quantization") or None
    if quantize is not None and SCHEME.fullmatch(quantize) is None:
        raise InvalidRequest(f"quantize: {quantize!r:.40} is no scheme as q4_K_M")
    base, files = _text(body, "from"), _files(body, "files")
    if not base and not files:
        raise InvalidRequest("neither 'from' or 'files' was specified")
    if base and files:
        raise InvalidRequest("'from' and 'files' cannot both name the base")
    adapters = _files(body, "adapters")
    if len(adapters) > MAX_ADAPTERS:
        raise InvalidRequest(f"adapters: more than {MAX_ADAPTERS}")
    modelfile = Modelfile(
        base=base or "files",
        template=_text(body, "template") or None,
        system=_text(body, "system") or None,
        parameters=_parameters(body),
        licenses=_licenses(body),
        messages=_messages(body),
        requires=_requires(body),
    )
    stream = _flag(body, "stream", True)
    name = ModelName.parse(base) if base else None
    compiles = _flag(body, "compile", False)
    return CreateRequest(model, name, files, adapters, quantize, compiles, modelfile, stream)


def shown_name(name: ModelName) -> str:
    """A name as Ollama's clients know it: always with its tag."""
    text = str(ModelName(*name.parts))
    return f"{text}:{DEFAULT_TAG}" if name.tag == DEFAULT_TAG else text


def parameters_text(parameters: Mapping[str, ParameterValue]) -> str:
    """`name   value` a line, texts in quotes, a repeatable one once for each value."""
    lines = []
    for name, value in sorted(parameters.items()):
        for item in value if isinstance(value, tuple) else (value,):
            lines.append(f"{name:<{_NAME_WIDTH}} {json.dumps(item, ensure_ascii=False)}")
    return "\n".join(lines)


def finite(value: Any) -> Any:
    """A value that JSON can say: infinite and undefined numbers become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _model(body: Mapping[str, Any]) -> ModelName:
    text = _text(body, "model") or _text(body, "name")
    if not text:
        raise InvalidRequest("model is required")
    return ModelName.parse(text)


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if value is None:
        return ""
    return _checked(value, field)


def _checked(value: object, where: str) -> str:
    if not isinstance(value, str):
        _refuse(where, "a text", value)
    # JSON can spell half a surrogate pair, which no UTF-8 can hold.
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidRequest(f"{where}: it holds a character that no text can have")
    return value


def _flag(body: Mapping[str, Any], field: str, default: bool) -> bool:
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        _refuse(field, "true or false", value)
    return value


def _files(body: Mapping[str, Any], field: str) -> dict[str, Digest]:
    """Label -> digest. A label that looks like a path is refused, though nothing would open it."""
    rows = body.get(field)
    if rows is None:
        return {}
    if not isinstance(rows, dict):
        _refuse(field, "an object of names and digests", rows)
    if len(rows) > MAX_FILES:
        raise InvalidRequest(f"{field}: more than {MAX_FILES} files")
    found = {}
    for label, digest in rows.items():
        if len(label) > MAX_LABEL_CHARS or LABEL.fullmatch(label) is None:
            raise InvalidRequest(f"{field}: {label!r:.80} is not the plain name of a file")
        if label.lower().endswith(_PICKLES):
            raise InvalidRequest(f"{field}.{label:.80}: pickles are not read; send safetensors")
        try:
            found[label] = Digest.parse(_checked(digest, f"{field}.{label:.80}"))
        except InvalidDigest as error:
            raise InvalidRequest(f"{field}.{label:.80}: {error}") from None
    return found


def _parameters(body: Mapping[str, Any]) -> dict[str, ParameterValue]:
    rows = body.get("parameters")
    if rows is None:
        return {}
    if not isinstance(rows, dict):
        _refuse("parameters", "an object", rows)
    # Null is none, and options that Ollama once had change nothing any more.
    return check_parameters(
        {key: value for key, value in rows.items() if value is not None and key not in RETIRED}
    )


def _licenses(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("license")
    rows = [value] if isinstance(value, str) else value or []
    if not isinstance(rows, list):
        _refuse("license", "a text or a list of texts", value)
    if len(rows) > MAX_LICENSES:
        raise InvalidRequest(f"license: more than {MAX_LICENSES}")
    texts = [_checked(row, f"license[{number}]") for number, row in enumerate(rows)]
    return tuple(text for text in texts if text.strip())


def _messages(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    rows = body.get("messages") or []
    if not isinstance(rows, list):
        _refuse("messages", "a list", rows)
    if len(rows) > MAX_MESSAGES:
        raise InvalidRequest(f"messages: more than {MAX_MESSAGES}")
    return tuple(_message(row, f"messages[{number}]") for number, row in enumerate(rows))


def _message(row: object, where: str) -> tuple[str, str]:
    if not isinstance(row, dict):
        _refuse(where, "an object", row)
    for field in NOT_CARRIED:
        if row.get(field):
            raise InvalidRequest(f"{where}.{field}: {ONLY_TEXTS}")
    role = _checked(row.get("role"), f"{where}.role")
    if role not in ROLES:
        raise InvalidRequest(f"{where}.role: must be one of {', '.join(ROLES)}")
    return role, _checked(row.get("content", ""), f"{where}.content")


def _requires(body: Mapping[str, Any]) -> str | None:
    """A version, by the rules of the Modelfile."""
    text = _text(body, "requires")
    if not text:
        return None
    if "\n" in text:
        raise InvalidRequest("requires: must be a version such as 0.14.0")
    return parse_modelfile(f"FROM x\nREQUIRES {text}").requires


def _refuse(where: str, wanted: str, value: object) -> NoReturn:
    raise InvalidRequest(f"{where}: must be {wanted}, not {value!r:.40}")


def detail_rows(details: Mapping[str, Any], families: Sequence[str]) -> dict[str, Any]:
    """`details` of a list or of one model; lengths that are not known are left out."""
    rows = {"parent_model": "", **details, "families": list(families)}
    return {key: value for key, value in rows.items() if value is not None}
