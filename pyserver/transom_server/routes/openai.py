"""OpenAI's `/v1/chat/completions` and `/v1/completions`: models of the store, as OpenAI's clients
ask. Knows no engine."""

import secrets
import time

from flask import Blueprint, Response, jsonify, request

from transom_api.openai.chat import read_chat
from transom_api.openai.chat_writer import ChatWriter
from transom_api.openai.completions import read_completion
from transom_api.openai.request import CONTEXT_HEADER
from transom_server.hosting import Host, client_gone, read_body, uncached


def blueprint(host: Host) -> Blueprint:
    routes = Blueprint("openai", __name__)

    @routes.post("/v1/chat/completions")
    def chat() -> Response:
        asked = read_chat(read_body(), request.headers.get(CONTEXT_HEADER))
        writer = ChatWriter(asked, f"chatcmpl-{secrets.token_hex(12)}", int(time.time()))
        return host.answer(asked.chat, writer)

    @routes.post("/v1/chat/completions/input_tokens")
    def input_tokens() -> Response:
        asked = read_chat(read_body(), request.headers.get(CONTEXT_HEADER))
        tokens = host.models.count_tokens(asked.chat, client_gone())
        return uncached(jsonify({"object": "chat.input_tokens", "input_tokens": tokens}))

    @routes.post("/v1/completions")
    def completion() -> Response:
        asked = read_completion(read_body(), request.headers.get(CONTEXT_HEADER))
        writers = asked.writers(f"cmpl-{secrets.token_hex(12)}", int(time.time()))
        # Prompts one after the other; the last writer's body has the answers to all.
        *_, last = (host.answer(writer.chat, writer) for writer in writers)
        return last

    return routes
