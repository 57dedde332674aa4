"""The registry's routes (OCI distribution spec), and files by their names for WebLLM."""

from typing import Final

from transom_api.openapi.ollama import DIGEST
from transom_api.openapi.schema import answer, json_object, rows, text, whole
from transom_models import media_types
from transom_models.manifest import INDEX_TYPES, MANIFEST_TYPES, MAX_MANIFEST_BYTES
from transom_server.openapi.operations import BYTES, JSON, Given, Operation, Parameter
from transom_server.routes.tags import MAX_TAGS

_REPOSITORY: Final = Parameter(
    "repository", "path", text(least=1), "The model's name without its tag; slashes are part of it."
)
_DIGEST: Final = Parameter("digest", "path", DIGEST)
_UPLOAD: Final = Parameter("upload", "path", text(pattern="[0-9a-f]{32}"))
_REFERENCE: Final = Parameter("reference", "path", text(least=1), "A tag, or a digest.")
_OF_NAME: Final = "/v2/{repository}"
_BINARY: Final = {"type": "string", "format": "binary"}
_DOCUMENT: Final = json_object(f"At most {MAX_MANIFEST_BYTES} bytes.")
_KEPT_AT: Final = {"Location": "Where it is.", "Docker-Content-Digest": "Its digest."}
_PROGRESS: Final = {
    "Location": "Where to send on.",
    "Range": "What has come, as 0-99.",
    "Docker-Upload-UUID": "The session.",
}


def operations() -> list[Operation]:
    return [*_manifests(), *_blobs(), *_uploads(), *_lists(), _webllm()]


def _op(
    method: str,
    path: str,
    summary: str,
    gives: dict[int, Given],
    *parameters: Parameter,
    takes: tuple[str, ...] = (),
    errors: tuple[int, ...] = (404,),
) -> Operation:
    body = _DOCUMENT if path.endswith("{reference}") else _BINARY
    return Operation(
        method,
        path,
        "Registry",
        summary,
        "registry",
        gives,
        takes=dict.fromkeys(takes, body),
        parameters=parameters,
        errors=errors,
    )


def _manifests() -> list[Operation]:
    path = f"{_OF_NAME}/manifests/{{reference}}"
    kinds = (*INDEX_TYPES, *MANIFEST_TYPES)
    found = Given(
        "The manifest, as it was pushed.",
        dict.fromkeys(kinds, json_object()),
        {"Docker-Content-Digest": "Its digest.", "ETag": "The digest."},
    )
    there = Given("It is there.", {kind: {} for kind in kinds}, found.headers)
    same = Given("The client has it (If-None-Match).")
    where = (_REPOSITORY, _REFERENCE)
    root = Given("It is.", {JSON: answer({})}, {"Docker-Distribution-Api-Version": "registry/2.0"})
    return [
        _op("get", "/v2/", "Whether a registry is here.", {200: root}, errors=()),
        _op("get", path, "A manifest or index.", {200: found, 304: same}, *where),
        _op("head", path, "Whether there is one.", {200: there, 304: same}, *where),
        _op(
            "put",
            path,
            "Put one, whose blobs are there.",
            {201: Given("Kept.", {}, _KEPT_AT)},
            *where,
            takes=kinds,
            errors=(404, 413, 415, 507),
        ),
        _op(
            "delete",
            path,
            "Remove a tag, or a manifest.",
            {202: Given("Gone.")},
            *where,
            errors=(404, 405),
        ),
    ]


def _blobs() -> list[Operation]:
    path = f"{_OF_NAME}/blobs/{{digest}}"
    where = (_REPOSITORY, _DIGEST)
    head = {"Docker-Content-Digest": "Its digest.", "ETag": "The digest."}
    bytes_ = {BYTES: _BINARY}
    gives = {
        200: Given("The bytes.", bytes_, head),
        206: Given("The bytes of Range.", bytes_, {**head, "Content-Range": "Which of how many."}),
        304: Given("The client has them (If-None-Match)."),
        416: Given("It has no such range.", bytes_, {"Content-Range": "How many it has."}),
    }
    spans = Parameter("Range", "header", text(), "As bytes=0-99.")
    return [
        _op("get", path, "A blob.", gives, *where, spans),
        _op("head", path, "Whether there is one.", {200: gives[200], 304: gives[304]}, *where),
        _op(
            "delete",
            path,
            "Remove one that nothing needs.",
            {202: Given("Gone.")},
            *where,
            errors=(404, 405),
        ),
    ]


def _uploads() -> list[Operation]:
    start = f"{_OF_NAME}/blobs/uploads/"
    session = f"{start}{{upload}}"
    where = (_REPOSITORY, _UPLOAD)
    span = Parameter("Content-Range", "header", text(), "Which bytes these are, as 0-99.")
    digest = Parameter("digest", "query", DIGEST, "The whole blob is in the body.")
    done = Given("Kept.", {}, _KEPT_AT)
    going_on = Given("Go on.", {}, _PROGRESS)
    sending = (404, 413, 416, 507)
    return [
        _op(
            "post",
            start,
            "Begin to send a blob.",
            {201: done, 202: going_on},
            _REPOSITORY,
            digest,
            Parameter("mount", "query", DIGEST, "A blob that may be here."),
            span,
            takes=(BYTES,),
            errors=(404, 413, 507),
        ),
        _op(
            "patch",
            session,
            "A piece.",
            {202: going_on},
            *where,
            span,
            takes=(BYTES,),
            errors=sending,
        ),
        _op("get", session, "How much has come.", {204: going_on}, *where),
        _op(
            "put",
            session,
            "The last piece, or none.",
            {201: done},
            *where,
            digest,
            span,
            takes=(BYTES,),
            errors=sending,
        ),
        _op("delete", session, "Give it up.", {204: Given("Gone.")}, *where),
    ]


def _lists() -> list[Operation]:
    tags = answer({"name": text(), "tags": rows(text())})
    last = Parameter("last", "query", text(), "Those behind it.")
    most = Parameter("n", "query", whole(least=0, most=10**10 - 1), f"{MAX_TAGS} at most.")
    kind = Parameter("artifactType", "query", text())
    referrers = Given("An index of them.", {media_types.OCI_INDEX: json_object()})
    return [
        _op(
            "get",
            f"{_OF_NAME}/tags/list",
            "The tags of a model.",
            {200: Given("In order.", {JSON: tags})},
            _REPOSITORY,
            most,
            last,
        ),
        _op(
            "get",
            f"{_OF_NAME}/referrers/{{digest}}",
            "Who refers to a manifest.",
            {200: referrers},
            _REPOSITORY,
            _DIGEST,
            kind,
            last,
            errors=(),
        ),
    ]


def _webllm() -> Operation:
    return Operation(
        "get",
        "/webllm/{repository}/{tag}/resolve/main/{title}",
        "WebLLM",
        "A browser's file of a model, by its name.",
        "plain",
        {
            200: Given("The bytes.", {"*/*": _BINARY}),
            206: Given("The bytes of Range.", {"*/*": _BINARY}),
            304: Given("The client has them (If-None-Match)."),
            416: Given("It has no such range.", {"*/*": _BINARY}),
        },
        parameters=(
            _REPOSITORY,
            Parameter("tag", "path", text(least=1)),
            Parameter("title", "path", text(least=1)),
        ),
        errors=(404,),
    )
