"""The OpenAPI 3.1 document, put together from the tables.

    python -m transom_server.openapi.document [ROOT]

writes `docs/formats/openapi.json` under the repository's root; a test compares.
"""

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from transom_api.openapi import (
    anthropic,
    errors,
    ollama,
    ollama_answers,
    openai,
    openai_answers,
    responses,
    tasks,
)
from transom_api.openapi.schema import Schema, text
from transom_server.openapi import registry, routes
from transom_server.openapi.operations import MEANINGS, Given, Operation, Parameter

FILE: Final = Path("docs/formats/openapi.json")
_PARTS: Final = (
    errors,
    openai,
    openai_answers,
    responses,
    anthropic,
    ollama,
    ollama_answers,
    tasks,
)
_ABOUT: Final = (
    "Models of a store by the words of OpenAI, Anthropic and Ollama, and the store itself as an "
    "OCI registry. Fields that are not listed are passed over; null is as good as absent."
)


def operations() -> list[Operation]:
    """Every operation of the server."""
    return [*routes.operations(), *registry.operations()]


def schemas() -> dict[str, Schema]:
    """Every component by its name."""
    found: dict[str, Schema] = {}
    for part in _PARTS:
        for name, schema in part.schemas().items():
            assert name not in found, name
            found[name] = schema
    return found


def document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    bearer = {"type": "http", "scheme": "bearer"}
    key = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    return {
        "openapi": "3.1.0",
        # The version of what is described, not of the program: it changes when this does.
        "info": {"title": "Transom", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        # Keys are asked for where the settings have any.
        "security": [{}, {"bearer": []}, {"x-api-key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": bearer, "x-api-key": key},
            "responses": _errors(),
            "schemas": schemas(),
        },
    }


@lru_cache(maxsize=1)
def document_text() -> str:
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _operation(operation: Operation) -> dict[str, Any]:
    answers = {
        str(status): _given(given, operation) for status, given in sorted(operation.gives.items())
    }
    for status in operation.statuses:
        answers[str(status)] = {"$ref": f"#/components/responses/{_error_id(operation, status)}"}
    found: dict[str, Any] = {
        "operationId": _id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [_parameter(row) for row in operation.parameters],
        "responses": answers,
    }
    if operation.takes:
        content = _content(operation.takes)
        found["requestBody"] = {"required": True, "content": content}
    return found


def _errors() -> dict[str, Any]:
    """Answers of errors: the same for all routes of a dialect."""
    return {
        _error_id(operation, status): {
            "description": MEANINGS[status],
            "content": _content(operation.error_bodies()),
        }
        for operation in operations()
        for status in operation.statuses
    }


def _error_id(operation: Operation, status: int) -> str:
    return f"{operation.dialect}{status}"


def _given(given: Given, operation: Operation) -> dict[str, Any]:
    content = _content(given.bodies)
    for kind, name in operation.frames.items():
        content[kind]["x-transom-frame"] = {"$ref": f"#/components/schemas/{name}"}
    found: dict[str, Any] = {"description": given.about}
    if given.headers:
        found["headers"] = {
            name: {"description": about, "required": True, "schema": text()}
            for name, about in given.headers.items()
        }
    return {**found, "content": content} if content else found


def _content(bodies: Any) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in bodies.items()}


def _parameter(row: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": row.name, "in": row.place, "required": row.place == "path"}
    return {**found, "description": row.about, "schema": row.schema}


def _id(operation: Operation) -> str:
    """A name for generated clients: the method and the words of the path."""
    words = [word.strip("{}").replace(".", "_") for word in operation.path.split("/") if word]
    return "_".join([operation.method, *words]).replace("-", "_")


def main(root: Path) -> None:
    (root / FILE).parent.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(document_text(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
