"""The models, as OpenAI lists them, or Anthropic for its own clients."""

from flask import Blueprint, Response, jsonify, request

from transom_api import openai
from transom_api.anthropic.models import ModelRow, model_page
from transom_models.name import ModelName
from transom_server.dialects import ANTHROPIC_HEADER
from transom_server.store import Store, StoredModel


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    def models() -> Response:
        if _says_anthropic():
            rows = [_row(model) for model in store.list_models()]
            asked = [request.args.get(name) for name in ("limit", "after_id", "before_id")]
            return _answer(model_page(rows, *asked))
        return _answer(openai.model_list(_entry(model) for model in store.list_models()))

    @routes.get("/v1/models/<path:name>")
    def one(name: str) -> Response:
        model = store.get_index(ModelName.parse(name))
        return _answer((_row(model) if _says_anthropic() else _entry(model)).to_json())

    return routes


def _says_anthropic() -> bool:
    return ANTHROPIC_HEADER in request.headers


def _entry(model: StoredModel) -> openai.ModelEntry:
    return openai.ModelEntry(str(model.name), int(model.modified), model.name.namespace)


def _row(model: StoredModel) -> ModelRow:
    return ModelRow(str(model.name), model.modified)


def _answer(value: object) -> Response:
    response = jsonify(value)
    response.headers["Cache-Control"] = "no-store"
    response.vary.add(ANTHROPIC_HEADER)
    return response
