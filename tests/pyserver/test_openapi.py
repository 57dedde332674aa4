"""pytest tests/pyserver/test_openapi.py: the document is that of the code, whole and sound."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from transom_server.app import create_app
from transom_server.openapi.document import FILE, document, document_text
from transom_server.settings.config import Config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = document()
# The page and its files are nobody's API.
PAGE = {"/", "/<page:file>", "/embed.json"}


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    config = Config.read({"TRANSOM_MODELS": str(tmp_path / "models")})
    app = create_app(config)
    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost"
    return client


def nodes(value: Any) -> Iterator[Any]:
    """A value and all in it."""
    yield value
    for inner in value.values() if isinstance(value, dict) else ():
        yield from nodes(inner)
    for inner in value if isinstance(value, list) else ():
        yield from nodes(inner)


def references(value: Any) -> set[str]:
    return {node["$ref"] for node in nodes(value) if isinstance(node, dict) and "$ref" in node}


def found(reference: str) -> Any:
    value: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def test_the_written_document_is_current() -> None:
    assert (ROOT / FILE).read_text() == document_text(), "python -m transom_server.openapi.document"


def test_it_is_served(client: FlaskClient) -> None:
    answer = client.get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.get_json() == DOCUMENT
    again = client.get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_every_schema_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema, name


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    reached: set[str] = set()
    waiting = references(DOCUMENT["paths"])
    while waiting:
        reference = waiting.pop()
        reached.add(reference)
        waiting |= references(found(reference)) - reached
    components = DOCUMENT["components"]
    all_there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses")
        for name in components[kind]
    }
    assert all_there - reached == set()


def test_every_route_is_described_and_no_other(client: FlaskClient) -> None:
    routes = set()
    for rule in client.application.url_map.iter_rules():
        if rule.rule in PAGE:
            continue
        path = re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule)
        methods = (rule.methods or set()) - {"OPTIONS"}
        # Flask answers it wherever it answers GET.
        methods -= {"HEAD"} if "GET" in methods else set()
        routes |= {(path, method.lower()) for method in methods}
    described = {
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    heads = {(path, method) for path, method in described if (path, "get") in routes}
    assert described - {row for row in heads if row[1] == "head"} == routes


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [
        row["operationId"] for methods in DOCUMENT["paths"].values() for row in methods.values()
    ]
    assert len(set(names)) == len(names) > 40
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)


def test_parameters_of_an_address_are_those_of_its_path() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for row in methods.values():
            named = {each["name"] for each in row["parameters"] if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), path


@pytest.mark.parametrize(
    ("method", "path", "status", "schema"),
    [
        ("post", "/v1/chat/completions", "404", "OpenAIError"),
        ("post", "/v1/messages", "529", "AnthropicError"),
        ("post", "/api/chat", "429", "OllamaError"),
        ("get", "/v2/{repository}/blobs/{digest}", "401", "RegistryError"),
        ("post", "/tokenize", "413", "OpenAIError"),
    ],
)
def test_errors_are_those_of_the_dialect(method: str, path: str, status: str, schema: str) -> None:
    answer = found(DOCUMENT["paths"][path][method]["responses"][status]["$ref"])
    body = answer["content"]["application/json"]["schema"]
    assert body == {"$ref": f"#/components/schemas/{schema}"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "allow", "schema"),
    [
        ("POST", "/v1/nothing", {}, 404, None, "OpenAIError"),
        ("GET", "/v1/nothing", {"anthropic-version": "2023-06-01"}, 404, None, "AnthropicError"),
        ("POST", "/v1/messages/nothing", {}, 404, None, "AnthropicError"),
        ("POST", "/api/nothing", {}, 404, None, "OllamaError"),
        ("POST", "/v2/nothing", {}, 404, None, "RegistryError"),
        ("GET", "/v1/chat/completions", {}, 405, {"POST", "OPTIONS"}, "OpenAIError"),
        ("DELETE", "/v1/messages", {}, 405, {"POST", "OPTIONS"}, "AnthropicError"),
        ("PUT", "/api/tags", {}, 405, {"GET", "HEAD", "OPTIONS"}, "OllamaError"),
        ("GET", "/rerank", {}, 405, {"POST", "OPTIONS"}, "OpenAIError"),
        ("GET", "/detokenize", {}, 405, {"POST", "OPTIONS"}, "OpenAIError"),
    ],
)
def test_what_is_no_route_is_said_in_the_dialect(
    client: FlaskClient,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    allow: set[str] | None,
    schema: str,
) -> None:
    answer = client.open(path, method=method, headers=headers)
    assert answer.status_code == status
    assert (set(answer.allow) or None) == allow
    rules = {**DOCUMENT["components"]["schemas"][schema], "components": DOCUMENT["components"]}
    Draft202012Validator(rules).validate(json.loads(answer.data))
