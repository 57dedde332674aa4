"""The models, as OpenAI lists them, or Anthropic for its own clients."""

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, jsonify, request

from transom_api import openai
from transom_api.anthropic.models import ModelRow, model_page
from transom_models.name import ModelName
from transom_server.dialects import ANTHROPIC_HEADER
from transom_server.store import Store, StoredModel
from transom_server.upstream.health import Elsewhere


def blueprint(store: Store, others: Callable[[], Sequence[Elsewhere]] = tuple) -> Blueprint:
    """`others`: models that other servers run."""
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    def models() -> Response:
        elsewhere = others()
        taken = {row.name for row in elsewhere}
        own = [model for model in store.list_models() if str(model.name) not in taken]
        if _says_anthropic():
            rows = [*map(_row, own), *(ModelRow(row.name, row.since) for row in elsewhere)]
            asked = [request.args.get(name) for name in ("limit", "after_id", "before_id")]
            return _answer(model_page(rows, *asked))
        return _answer(openai.model_list([*map(_entry, own), *map(_elsewhere, elsewhere)]))

    @routes.get("/v1/models/<path:name>")
    def one(name: str) -> Response:
        wanted = str(ModelName.parse(name))
        for row in others():
            if row.name == wanted:
                entry = ModelRow(row.name, row.since) if _says_anthropic() else _elsewhere(row)
                return _answer(entry.to_json())
        model = store.get_index(ModelName.parse(name))
        return _answer((_row(model) if _says_anthropic() else _entry(model)).to_json())

    return routes


def _says_anthropic() -> bool:
    return ANTHROPIC_HEADER in request.headers


def _entry(model: StoredModel) -> openai.ModelEntry:
    return openai.ModelEntry(str(model.name), int(model.modified), model.name.namespace)


def _elsewhere(row: Elsewhere) -> openai.ModelEntry:
    return openai.ModelEntry(row.name, int(row.since), row.place)


def _row(model: StoredModel) -> ModelRow:
    return ModelRow(str(model.name), model.modified)


def _answer(value: object) -> Response:
    response = jsonify(value)
    response.headers["Cache-Control"] = "no-store"
    response.vary.add(ANTHROPIC_HEADER)
    return response
