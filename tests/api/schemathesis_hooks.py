"""What schemathesis (in its own environment) is told about this server: what is in the store, so
that most cases reach something, and how short answers have to be; and a check of its own, for
frames of streams, which OpenAPI has no words for. Knows the document, and nothing of this
repository.

The test gives what it made in TRANSOM_CASES: {"digests": [...], "manifests": [...]}.
"""

import hashlib
import json
import os
import zlib
from collections import deque
from typing import Any

import jsonschema
import schemathesis

# By the end of the path; every other body that names a model means this one.
MODELS = {"embed": "bert", "embeddings": "bert", "rerank": "reranker", "reranking": "reranker"}
CHATS = "tiny"
# What changes the store changes these.
SCRATCH = "scratch"
CHANGES = ("/api/create", "/api/copy", "/api/delete", "/api/pull", "/api/push")
# A registry that nobody can reach, at once.
NOWHERE = "127.0.0.1:1/library/scratch"
LENGTHS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict", "n_predict")
MOST_TOKENS = 4
MOST_ANSWERS = 2
# Each value of these loads the model anew, which is not what is judged here.
LOADING = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap")


# A body with a hundred fields is refused for one of them; with a handful it often is not.
FEW_FIELDS = 3

CASES = json.loads(os.environ["TRANSOM_CASES"])
# Upload sessions that were begun, the last ones.
UPLOADS: deque[str] = deque(maxlen=16)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    _find(case)
    # A context of another size loads the model anew.
    if _choice(sorted(case.headers or {})) % 8:
        (case.headers or {}).pop("X-Transom-Context", None)
    body = case.body
    if not isinstance(body, dict):
        return
    path = case.operation.path
    _thin(case, body)
    if not body.keys() & {"model", "source"} and _choice(sorted(body)) % 8:
        body["model"] = "any"  # older clients say `name`, so no schema demands it
    for name in ("model", "name", "source", "destination"):
        if isinstance(body.get(name), str) and _choice(body[name]) % 8:
            body[name] = _model(path, name)
    if path == "/api/chat" and not body.get("messages"):
        body["messages"] = [{"role": "user", "content": "hello"}]
    if path == "/api/pull":
        body["stream"] = True  # else it has a status: another server did not do its part
    if path == "/api/create" and not body.get("files"):
        body["from"] = CHATS
    for options in (body, body.get("options")):
        if isinstance(options, dict):
            _shorten(options)
    if _is_whole(body.get("keep_alive")) or isinstance(body.get("keep_alive"), float):
        body["keep_alive"] = 60


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    if found := response.headers.get("docker-upload-uuid"):
        UPLOADS.append(found[0])


def _choice(value: Any) -> int:
    """A number that is the same for the same value, in every run."""
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def _find(case: Any) -> None:
    """Most addresses are of something that is there."""
    given = case.path_parameters
    if not given or not (number := _choice({name: str(given[name]) for name in given}) // 8) % 4:
        return
    manifest = "manifests" in case.operation.path or "referrers" in case.operation.path
    known = {
        "repository": [CHATS] if case.method != "DELETE" else [SCRATCH],
        "digest": CASES["manifests" if manifest else "digests"],
        "reference": ["latest", *CASES["manifests"]],
        "upload": list(UPLOADS),
        "name": [CHATS],
        "tag": ["latest"],
    }
    for name in given:
        if rows := known.get(name):
            given[name] = rows[number % len(rows)]
    if "digest" in (case.query or {}) and isinstance(case.body, bytes):
        case.query["digest"] = f"sha256:{hashlib.sha256(case.body).hexdigest()}"


def _operation(case: Any) -> Any:
    """What the document says of it."""
    paths = case.operation.schema.raw_schema["paths"]
    return paths[case.operation.path][case.operation.method.lower()]


def _thin(case: Any, body: dict[str, Any]) -> None:
    """Of three bodies in four, leave what is required and a few of the other fields."""
    number = _choice(sorted(body))
    if number % 4 == 0:
        return
    document = case.operation.schema.raw_schema
    content = _operation(case)["requestBody"]["content"].get("application/json")
    if content is None:
        return
    name = content["schema"]["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    required = schema.get("required", ["model"])
    for name, inner in schema["properties"].items():
        if "x-transom-refused" in inner:
            body.pop(name, None)
    names = sorted(body.keys() - set(required), key=lambda name: _choice([number, name]))
    for name in names[FEW_FIELDS:]:
        if name not in ("messages", "input", "prompt", "content", "documents"):
            del body[name]


def _model(path: str, name: str) -> str:
    if path in ("/api/pull", "/api/push"):
        return NOWHERE
    if path in CHANGES and name != "source":
        return SCRATCH
    return MODELS.get(path.rpartition("/")[2], CHATS)


def _shorten(options: dict[str, Any]) -> None:
    for name in LENGTHS:
        if _is_whole(options.get(name)) and options[name] > MOST_TOKENS:
            options[name] = MOST_TOKENS
        elif options.get(name) in (-1, -2):
            options[name] = MOST_TOKENS
    for name in ("n", "n_cmpl", "best_of"):
        if _is_whole(options.get(name)) and options[name] > MOST_ANSWERS:
            options[name] = MOST_ANSWERS
    for name in LOADING:
        if _is_whole(options.get(name)) or isinstance(options.get(name), bool):
            del options[name]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@schemathesis.check
def frames_conform(context: Any, response: Any, case: Any) -> None:
    """Each frame of a stream is what the document says of one."""
    kind = response.headers.get("content-type", [""])[0].partition(";")[0]
    if kind not in ("text/event-stream", "application/x-ndjson"):
        return
    document = case.operation.schema.raw_schema
    answer = _operation(case)["responses"][str(response.status_code)]
    frame = answer["content"][kind]["x-transom-frame"]
    rules = {**frame, "components": document["components"]}
    validator = jsonschema.Draft202012Validator(rules)
    for value in _frames(response.content.decode(), kind):
        for error in validator.iter_errors(value):
            raise AssertionError(f"{json.dumps(value)[:500]} is no frame: {error.message[:500]}")


def _frames(text: str, kind: str) -> list[Any]:
    if kind == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    found = []
    for event in text.split("\n\n"):
        data = [line[6:] for line in event.split("\n") if line.startswith("data: ")]
        assert data or not event, f"{event!r} is no event"
        found += [json.loads(line) for line in data if line != "[DONE]"]
    return found
