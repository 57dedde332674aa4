"""The models, as OpenAI lists them."""

from flask import Blueprint, Response, jsonify

from transom_api import openai
from transom_models.name import ModelName
from transom_server.store import Store, StoredModel


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    def models() -> Response:
        return _answer(openai.model_list(_entry(model) for model in store.list_models()))

    @routes.get("/v1/models/<path:name>")
    def one(name: str) -> Response:
        return _answer(_entry(store.get_index(ModelName.parse(name))).to_json())

    return routes


def _entry(model: StoredModel) -> openai.ModelEntry:
    return openai.ModelEntry(str(model.name), int(model.modified), model.name.namespace)


def _answer(value: object) -> Response:
    response = jsonify(value)
    response.headers["Cache-Control"] = "no-store"
    return response
