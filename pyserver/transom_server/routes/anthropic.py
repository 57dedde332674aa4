"""Anthropic's `/v1/messages`: models of the store, as Claude's clients ask. Knows no engine."""

import secrets

from flask import Blueprint, Response, request

from transom_api.anthropic.messages import read_messages
from transom_api.anthropic.writer import MessagesWriter
from transom_api.openai.request import CONTEXT_HEADER
from transom_server.hosting import Host, read_body


def blueprint(host: Host) -> Blueprint:
    routes = Blueprint("anthropic", __name__)

    @routes.post("/v1/messages")
    def messages() -> Response:
        asked = read_messages(read_body(), request.headers.get(CONTEXT_HEADER))
        return host.answer(asked.chat, MessagesWriter(asked, f"msg_{secrets.token_hex(12)}"))

    return routes
