"""The error object of each dialect, by the name of its component."""

from transom_api.anthropic.errors import TYPES
from transom_api.openapi.schema import (
    Schema,
    answer,
    choice,
    const,
    either,
    nullable,
    rows,
    text,
)


def schemas() -> dict[str, Schema]:
    return {
        "OpenAIError": answer(
            {
                "error": answer(
                    {
                        "message": text("One line that names the thing and the way out.", least=1),
                        "type": text(),
                        "param": nullable(text("The field that it is about, as messages[2].role.")),
                        "code": nullable(text()),
                    }
                )
            },
            about="OpenAI's error.",
        ),
        "AnthropicError": answer(
            {
                "type": const("error"),
                "error": answer(
                    {"type": choice(sorted({*TYPES.values()})), "message": text(least=1)}
                ),
                "request_id": nullable(text()),
            },
            about="Anthropic's error.",
        ),
        "OllamaError": answer({"error": text(least=1)}, about="Ollama's error."),
        "RegistryError": answer(
            {
                "errors": rows(
                    answer({"code": text(pattern="[A-Z_]+"), "message": text()}, closed=False),
                    least=1,
                )
            },
            about="An error of the OCI distribution spec.",
        ),
        "ModelsError": either(
            {"$ref": "#/components/schemas/OpenAIError"},
            {"$ref": "#/components/schemas/AnthropicError"},
            about="In the dialect of whoever asks.",
        ),
    }
