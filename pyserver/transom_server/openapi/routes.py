"""The routes of the APIs: OpenAI's, Anthropic's, Ollama's, tasks, and the server's own."""

from typing import Final

from transom_api.anthropic.models import MAX_PAGE
from transom_api.openai.request import CONTEXT_HEADER
from transom_api.openapi.ollama import DIGEST
from transom_api.openapi.schema import answer, choice, const, either, json_object, ref, text, whole
from transom_server.openapi.operations import (
    BYTES,
    EVENTS,
    JSON,
    LINES,
    OF_MODELS,
    TEXT,
    Dialect,
    Given,
    Operation,
    Parameter,
    json_given,
    streamed,
)

_CONTEXT: Final = Parameter(
    CONTEXT_HEADER, "header", text(pattern="[0-9]{1,10}"), "Tokens of the context."
)
_VERSION: Final = Parameter(
    "anthropic-version", "header", text(), "Whoever sends it gets Anthropic's shape."
)
_RESPONSE: Final = Parameter("response_id", "path", text(least=1))
_DIGEST: Final = Parameter("digest", "path", DIGEST)


def operations() -> list[Operation]:
    return [*_openai(), *_responses(), *_anthropic(), *_models(), *_ollama(), *_tasks(), *_server()]


def _ask(
    dialect: Dialect,
    path: str,
    summary: str,
    request: str,
    gives: Given,
    *,
    tag: str = "",
    frames: dict[str, str] | None = None,
    context: bool = False,
) -> Operation:
    """A question to a model."""
    return Operation(
        "post",
        path,
        tag or {"openai": "OpenAI", "anthropic": "Anthropic", "ollama": "Ollama"}[dialect],
        summary,
        dialect,
        {200: gives},
        takes={JSON: ref(request)},
        frames=frames or {},
        parameters=(_CONTEXT,) if context else (),
        errors=OF_MODELS,
    )


def _openai() -> list[Operation]:
    chats, texts = {EVENTS: "ChatCompletionChunk"}, {EVENTS: "CompletionChunk"}
    v1 = "/v1/chat/completions"
    return [
        _ask(
            "openai",
            v1,
            "A model's answer to a conversation.",
            "ChatCompletionRequest",
            streamed("ChatCompletion", EVENTS),
            frames=chats,
            context=True,
        ),
        _ask(
            "openai",
            f"{v1}/input_tokens",
            "How long such a prompt is.",
            "ChatCompletionRequest",
            json_given("CountedChatTokens"),
            context=True,
        ),
        _ask(
            "openai",
            "/v1/completions",
            "A text gone on with.",
            "CompletionRequest",
            streamed("Completion", EVENTS),
            frames=texts,
            context=True,
        ),
        _ask(
            "openai",
            "/v1/embeddings",
            "Vectors of texts.",
            "EmbeddingsRequest",
            json_given("Embeddings"),
            context=True,
        ),
    ]


def _responses() -> list[Operation]:
    kept = "/v1/responses/{response_id}"
    return [
        _ask(
            "openai",
            "/v1/responses",
            "An answer that the next request can go on with.",
            "ResponseRequest",
            streamed("Response", EVENTS),
            tag="Responses",
            frames={EVENTS: "ResponseEvent"},
            context=True,
        ),
        _ask(
            "openai",
            "/v1/responses/input_tokens",
            "How long such a prompt is.",
            "ResponseRequest",
            json_given("CountedResponseTokens"),
            tag="Responses",
            context=True,
        ),
        Operation(
            "get",
            kept,
            "Responses",
            "A kept response.",
            "openai",
            {200: json_given("Response")},
            parameters=(_RESPONSE,),
            errors=(404,),
        ),
        Operation(
            "delete",
            kept,
            "Responses",
            "Keep it no longer.",
            "openai",
            {200: json_given("ResponseDeleted")},
            parameters=(_RESPONSE,),
            errors=(404,),
        ),
    ]


def _anthropic() -> list[Operation]:
    return [
        _ask(
            "anthropic",
            "/v1/messages",
            "A model's answer to a conversation.",
            "MessagesRequest",
            streamed("AnthropicMessage", EVENTS),
            frames={EVENTS: "AnthropicEvent"},
            context=True,
        ),
        _ask(
            "anthropic",
            "/v1/messages/count_tokens",
            "How long such a prompt is.",
            "CountTokensRequest",
            json_given("CountedTokens"),
            context=True,
        ),
    ]


def _models() -> list[Operation]:
    name = Parameter("name", "path", text(least=1))
    page = (
        Parameter("limit", "query", whole(least=1, most=MAX_PAGE), "Anthropic's: so many at most."),
        Parameter("after_id", "query", text(), "Anthropic's: those behind this one."),
        Parameter("before_id", "query", text(), "Anthropic's: those before this one."),
    )
    both = {JSON: either(ref("ModelList"), ref("AnthropicModelList"))}
    one = {JSON: either(ref("Model"), ref("AnthropicModel"))}
    return [
        Operation(
            "get",
            "/v1/models",
            "Models",
            "The models of the store.",
            "models",
            {200: Given("In the dialect of whoever asks.", both)},
            parameters=(_VERSION, *page),
        ),
        Operation(
            "get",
            "/v1/models/{name}",
            "Models",
            "A model of the store.",
            "models",
            {200: Given("In the dialect of whoever asks.", one)},
            parameters=(name, _VERSION),
            errors=(404,),
        ),
    ]


def _ollama() -> list[Operation]:
    def store(path: str, summary: str, request: str, *, method: str = "post") -> Operation:
        """A change of the store that answers nothing."""
        return Operation(
            method,
            path,
            "Ollama",
            summary,
            "ollama",
            {200: Given("Done.")},
            takes={JSON: ref(request)},
            errors=(404, 413, 507),
        )

    def work(path: str, summary: str, request: str) -> Operation:
        """Long work, told as it goes on."""
        return Operation(
            "post",
            path,
            "Ollama",
            summary,
            "ollama",
            {200: streamed("OllamaProgress", LINES)},
            takes={JSON: ref(request)},
            frames={LINES: "OllamaProgress"},
            errors=OF_MODELS,
        )

    def ask(path: str, summary: str, request: str, given: str) -> Operation:
        return _ask(
            "ollama", path, summary, request, streamed(given, LINES), frames={LINES: f"{given}Line"}
        )

    def tell(path: str, summary: str, given: str) -> Operation:
        return Operation("get", path, "Ollama", summary, "ollama", {200: json_given(given)})

    blob = "/api/blobs/{digest}"
    return [
        ask("/api/chat", "A model's answer to a conversation.", "OllamaChatRequest", "OllamaChat"),
        ask(
            "/api/generate",
            "A model's answer to a prompt.",
            "OllamaGenerateRequest",
            "OllamaGenerate",
        ),
        _ask(
            "ollama",
            "/api/embed",
            "Vectors of texts.",
            "OllamaEmbedRequest",
            json_given("OllamaEmbed"),
        ),
        _ask(
            "ollama",
            "/api/embeddings",
            "The vector of a text, as older clients ask.",
            "OllamaEmbeddingsRequest",
            json_given("OllamaEmbeddings"),
        ),
        tell("/api/tags", "The models of the store.", "OllamaTags"),
        tell("/api/ps", "The models that are loaded.", "OllamaLoaded"),
        tell("/api/version", "The server's version.", "OllamaVersion"),
        _ask(
            "ollama",
            "/api/show",
            "All about a model.",
            "OllamaShowRequest",
            json_given("OllamaShown"),
        ),
        work("/api/create", "Make a model.", "OllamaCreateRequest"),
        work("/api/pull", "Fetch a model from a registry.", "OllamaTransferRequest"),
        work("/api/push", "Send a model to a registry.", "OllamaTransferRequest"),
        store("/api/copy", "Give a model a second name.", "OllamaCopyRequest"),
        store("/api/delete", "Remove a model.", "OllamaDeleteRequest", method="delete"),
        Operation(
            "head",
            blob,
            "Ollama",
            "Whether a blob is in the store.",
            "ollama",
            {200: Given("It is.")},
            parameters=(_DIGEST,),
            errors=(404,),
        ),
        Operation(
            "post",
            blob,
            "Ollama",
            "Put a blob into the store.",
            "ollama",
            {200: Given("It was there."), 201: Given("It is there now.")},
            takes={BYTES: {"type": "string", "format": "binary"}},
            parameters=(_DIGEST,),
            errors=(413, 507),
        ),
    ]


def _tasks() -> list[Operation]:
    reranks = ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking")
    return [
        *(
            _ask(
                "openai",
                path,
                "Documents in the order in which they answer.",
                "RerankRequest",
                json_given("Reranked"),
                tag="Tasks",
            )
            for path in reranks
        ),
        _ask(
            "openai",
            "/tokenize",
            "The tokens of a text.",
            "TokenizeRequest",
            json_given("Tokenized"),
            tag="Tasks",
        ),
        _ask(
            "openai",
            "/detokenize",
            "The text of tokens.",
            "DetokenizeRequest",
            json_given("Detokenized"),
            tag="Tasks",
        ),
    ]


def _server() -> list[Operation]:
    waiting = {"waiting": whole(least=0)}
    ready = answer({"status": const("ok"), **waiting})
    full = answer({"status": choice(("full", "stopping")), **waiting})
    return [
        Operation(
            "get",
            "/healthz",
            "Server",
            "Whether the server is up.",
            "plain",
            {200: Given("It is.", {JSON: answer({"status": const("ok")})})},
        ),
        Operation(
            "get",
            "/readyz",
            "Server",
            "Whether one more request finds a place.",
            "plain",
            {200: Given("It does.", {JSON: ready}), 503: Given("Not now.", {JSON: full})},
        ),
        Operation(
            "get",
            "/metrics",
            "Server",
            "Figures for Prometheus.",
            "plain",
            {200: Given("The figures.", {TEXT: text(least=1)})},
        ),
        Operation(
            "get",
            "/openapi.json",
            "Server",
            "This document.",
            "plain",
            {200: Given("The document.", {JSON: json_object()})},
        ),
    ]
