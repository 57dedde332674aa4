"""Anthropic's `/v1/messages`: models of the store, as Claude's clients ask. Knows no engine."""

import secrets

from flask import Blueprint, Response, jsonify, request

from transom_api.anthropic.messages import read_count_tokens, read_messages
from transom_api.anthropic.writer import MessagesWriter
from transom_api.openai.request import CONTEXT_HEADER
from transom_server.hosting import Host, client_gone, read_body, uncached


def blueprint(host: Host) -> Blueprint:
    routes = Blueprint("anthropic", __name__)

    @routes.post("/v1/messages")
    def messages() -> Response:
        asked = read_messages(read_body(), request.headers.get(CONTEXT_HEADER))
        return host.answer(asked.chat, MessagesWriter(asked, f"msg_{secrets.token_hex(12)}"))

    @routes.post("/v1/messages/count_tokens")
    def count_tokens() -> Response:
        chat = read_count_tokens(read_body(), request.headers.get(CONTEXT_HEADER))
        tokens = host.models.count_tokens(chat, client_gone())
        return uncached(jsonify({"input_tokens": tokens}))

    return routes
