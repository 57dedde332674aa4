"""OpenAI's `/v1/responses`: answers that the next request can go on with. Knows no engine."""

import secrets
import time

from flask import Blueprint, Response, jsonify, request

from transom_api.openai.errors import error_body
from transom_api.openai.request import CONTEXT_HEADER
from transom_api.openai_responses.request import read_response_request
from transom_api.openai_responses.writer import ResponseWriter
from transom_server.hosting import Host, client_gone, read_body, uncached
from transom_server.kept_responses import KeptResponses


def blueprint(host: Host) -> Blueprint:
    routes = Blueprint("responses", __name__)
    kept = KeptResponses()

    @routes.post("/v1/responses")
    def create() -> Response:
        context = request.headers.get(CONTEXT_HEADER)
        asked = read_response_request(read_body(), kept, context)
        # Whoever knows it can read the conversation.
        token = secrets.token_hex(24)
        return host.answer(asked.chat, ResponseWriter(asked, token, int(time.time()), kept))

    @routes.post("/v1/responses/input_tokens")
    def count() -> Response:
        context = request.headers.get(CONTEXT_HEADER)
        chat = read_response_request(read_body(), kept, context).chat
        tokens = host.models.count_tokens(chat, client_gone())
        return uncached(jsonify({"object": "response.input_tokens", "input_tokens": tokens}))

    @routes.get("/v1/responses/<response_id>")
    def get(response_id: str) -> Response:
        found = kept.get(response_id)
        if found is None:
            return _not_kept(response_id)
        return uncached(jsonify(found.body))

    @routes.delete("/v1/responses/<response_id>")
    def delete(response_id: str) -> Response:
        if not kept.delete(response_id):
            return _not_kept(response_id)
        gone = {"id": response_id, "object": "response", "deleted": True}
        return uncached(jsonify(gone))

    return routes


def _not_kept(response_id: str) -> Response:
    message = f"{response_id:.80}: no such response is kept"
    response = uncached(jsonify(error_body(message, "invalid_request_error")))
    response.status_code = 404
    return response
