"""From an HTTP request to the operation that it asks for: address, headers and body in all
dialects. Pure: clock, randomness and what is kept of responses are given in.

    found = addresses.find(method, path)
    operation = read(found, HttpRequest(query, headers, body), means)

Raises what each reader raises; `statuses` knows the HTTP status of each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from transom_api import openai
from transom_api.addresses import Found
from transom_api.anthropic.messages import read_count_tokens, read_messages
from transom_api.anthropic.models import ModelRow, model_page
from transom_api.anthropic.writer import MessagesWriter
from transom_api.dialects import ANTHROPIC_HEADER
from transom_api.engine import Embeddings
from transom_api.fields import InvalidField
from transom_api.json_body import read_json
from transom_api.ollama import chat as ollama_chat
from transom_api.ollama import embed as ollama_embed
from transom_api.ollama import management as ollama
from transom_api.ollama.listing import models_body, rfc3339
from transom_api.ollama.writer import OllamaWriter
from transom_api.openai.chat import read_chat
from transom_api.openai.chat_writer import ChatWriter
from transom_api.openai.completions import read_completion
from transom_api.openai.embeddings import embeddings_body, read_embeddings
from transom_api.openai.request import CONTEXT_HEADER
from transom_api.openai_responses.kept import ResponseStore
from transom_api.openai_responses.request import read_response_request
from transom_api.openai_responses.writer import ResponseWriter
from transom_api.operations import (
    AskedModel,
    Converse,
    CountTokens,
    Detokenize,
    Embed,
    FindModel,
    ListedModel,
    ListLoaded,
    ListModels,
    Load,
    Operation,
    Rerank,
    Say,
    ShowModel,
    TagModels,
    Tokenize,
    Unload,
)
from transom_api.rerank import read_rerank, rerank_body
from transom_api.tokens import detokenize_body, read_detokenize, read_tokenize, tokenize_body
from transom_models.name import ModelName


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Names of `headers` are in small letters; `body` is within the address's `most_bytes`."""

    query: Mapping[str, str] = field(default_factory=dict, hash=False)
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    body: bytes = b""

    @property
    def says_anthropic(self) -> bool:
        return ANTHROPIC_HEADER in self.headers

    @property
    def context(self) -> str | None:
        return self.headers.get(CONTEXT_HEADER.lower())

    def json(self) -> object:
        """The body, whatever type it says it is. Raises `InvalidField`."""
        try:
            return read_json(self.body)
        except ValueError as error:
            raise InvalidField(None, f"the body is not JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class Means:
    """What a pure reader cannot have of itself. `now` in Unix seconds; `ticks` in nanoseconds that
    only grow; `token` gives so many random bytes in hex, which nobody can guess."""

    now: Callable[[], float]
    ticks: Callable[[], int]
    token: Callable[[int], str]
    kept: ResponseStore
    version: Callable[[], str]


def read(found: Found, request: HttpRequest, means: Means) -> Operation:
    """What is asked for. Raises `InvalidField`, `InvalidRequest`, `InvalidName`."""
    assert found.address.name is not None
    return READERS[found.address.name](request, means, found.names)


_Reader = Callable[[HttpRequest, Means, Mapping[str, str]], Operation]
_Names = Mapping[str, str]


def _models(request: HttpRequest, means: Means, names: _Names) -> Operation:
    if not request.says_anthropic:
        return ListModels(lambda rows: openai.model_list(map(_entry, rows)))
    asked = [request.query.get(name) for name in ("limit", "after_id", "before_id")]
    return ListModels(lambda rows: model_page([_row(row) for row in rows], *asked))


def _model(request: HttpRequest, means: Means, names: _Names) -> Operation:
    shape = _row if request.says_anthropic else _entry
    return FindModel(ModelName.parse(names["name"]), lambda row: shape(row).to_json())


def _entry(row: ListedModel) -> openai.ModelEntry:
    return openai.ModelEntry(row.name, int(row.created), row.owner)


def _row(row: ListedModel) -> ModelRow:
    return ModelRow(row.name, row.created)


def _openai_chat(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_chat(request.json(), request.context)
    writer = ChatWriter(asked, f"chatcmpl-{means.token(12)}", int(means.now()))
    return Converse(((asked.chat, writer),))


def _openai_chat_tokens(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_chat(request.json(), request.context)
    kind = "chat.input_tokens"
    return CountTokens(asked.chat, lambda tokens: {"object": kind, "input_tokens": tokens})


def _openai_completion(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_completion(request.json(), request.context)
    writers = asked.writers(f"cmpl-{means.token(12)}", int(means.now()))
    return Converse(tuple((writer.chat, writer) for writer in writers))


def _openai_embeddings(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_embeddings(request.json(), request.context)
    return Embed(
        AskedModel(asked.model, asked.options, asked.keep_seconds),
        asked.inputs,
        False,
        lambda found, seconds: embeddings_body(asked, found.vectors, found.tokens),
    )


def _response(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_response_request(request.json(), means.kept, request.context)
    # Whoever knows the token can read the conversation.
    writer = ResponseWriter(asked, means.token(24), int(means.now()), means.kept)
    return Converse(((asked.chat, writer),))


def _response_tokens(request: HttpRequest, means: Means, names: _Names) -> Operation:
    chat = read_response_request(request.json(), means.kept, request.context).chat
    kind = "response.input_tokens"
    return CountTokens(chat, lambda tokens: {"object": kind, "input_tokens": tokens})


def _kept_response(request: HttpRequest, means: Means, names: _Names) -> Operation:
    kept = means.kept.get(names["response_id"])
    return _not_kept(names["response_id"]) if kept is None else Say(kept.body)


def _forget_response(request: HttpRequest, means: Means, names: _Names) -> Operation:
    response_id = names["response_id"]
    if not means.kept.delete(response_id):
        return _not_kept(response_id)
    return Say({"id": response_id, "object": "response", "deleted": True})


def _not_kept(response_id: str) -> Say:
    message = f"{response_id:.80}: no such response is kept"
    return Say(openai.error_body(message, "invalid_request_error"), 404)


def _messages(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_messages(request.json(), request.context)
    return Converse(((asked.chat, MessagesWriter(asked, f"msg_{means.token(12)}")),))


def _messages_tokens(request: HttpRequest, means: Means, names: _Names) -> Operation:
    chat = read_count_tokens(request.json(), request.context)
    return CountTokens(chat, lambda tokens: {"input_tokens": tokens})


def _version(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return Say({"version": means.version()})


def _tags(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return TagModels(models_body)


def _loaded(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return ListLoaded(models_body)


def _show(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = ollama.read_show(ollama.read_body(request.body))
    return ShowModel(asked.model, asked.verbose)


def _ollama_chat(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return _ollama(ollama_chat.read_chat(request.json()), means)


def _ollama_generate(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return _ollama(ollama_chat.read_generate(request.json()), means)


def _ollama(asked: ollama_chat.Asked, means: Means) -> Operation:
    started = means.ticks()
    writer = OllamaWriter(asked, lambda: rfc3339(means.now()), lambda: means.ticks() - started)
    if not asked.only_loads:
        return Converse(((asked.chat, writer),))
    if asked.chat.keep_seconds == 0:
        return Unload(asked.chat.model, partial(writer.nothing, "unload"))
    return Load(asked.chat, partial(writer.nothing, "load"))


def _ollama_embed(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return _embed(ollama_embed.read_embed(request.json()), means)


def _ollama_embeddings(request: HttpRequest, means: Means, names: _Names) -> Operation:
    return _embed(ollama_embed.read_embeddings(request.json()), means)


def _embed(asked: ollama_embed.EmbedRequest, means: Means) -> Operation:
    started = means.ticks()

    def body(found: Embeddings, seconds: float) -> dict[str, object]:
        total, load = means.ticks() - started, round(seconds * 1e9)
        vectors, tokens = found.vectors, found.tokens
        return ollama_embed.embed_body(asked, vectors, tokens, total, load, found.cut)

    model = AskedModel(asked.model, asked.options, asked.keep_seconds)
    return Embed(model, asked.inputs, asked.cuts, body)


def _rerank(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_rerank(request.json())
    return Rerank(
        AskedModel(asked.model, asked.options, asked.keep_seconds),
        asked.query,
        tuple(asked.documents),
        lambda found: rerank_body(asked, found.scores, found.tokens),
    )


def _tokenize(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_tokenize(request.json())
    return Tokenize(asked.model, asked.text, asked.special, asked.around, tokenize_body)


def _detokenize(request: HttpRequest, means: Means, names: _Names) -> Operation:
    asked = read_detokenize(request.json())
    return Detokenize(asked.model, asked.tokens, detokenize_body)


READERS: Final[Mapping[str, _Reader]] = {
    "models": _models,
    "model": _model,
    "openai_chat": _openai_chat,
    "openai_chat_tokens": _openai_chat_tokens,
    "openai_completion": _openai_completion,
    "openai_embeddings": _openai_embeddings,
    "openai_response": _response,
    "openai_response_tokens": _response_tokens,
    "kept_response": _kept_response,
    "forget_response": _forget_response,
    "anthropic_messages": _messages,
    "anthropic_tokens": _messages_tokens,
    "version": _version,
    "ollama_tags": _tags,
    "ollama_show": _show,
    "ollama_loaded": _loaded,
    "ollama_chat": _ollama_chat,
    "ollama_generate": _ollama_generate,
    "ollama_embed": _ollama_embed,
    "ollama_embeddings": _ollama_embeddings,
    "rerank": _rerank,
    "tokenize": _tokenize,
    "detokenize": _detokenize,
}
