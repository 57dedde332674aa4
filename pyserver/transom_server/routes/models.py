"""OpenAI's list of models."""

from flask import Blueprint, Response, jsonify

from transom_api import openai
from transom_server.store import Store


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    def models() -> Response:
        response = jsonify(
            openai.model_list(
                openai.ModelEntry(str(model.name), int(model.modified), model.name.namespace)
                for model in store.list_models()
            )
        )
        response.headers["Cache-Control"] = "no-store"
        return response

    return routes
