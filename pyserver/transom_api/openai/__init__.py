"""OpenAI's dialect: chat completions, completions, embeddings, models. Pure: ids and times are
given in.

| file | what |
|---|---|
| `chat`, `chat_writer` | `/v1/chat/completions`: bodies into chats, answers into frames |
| `messages`, `tools`, `constraint`, `request` | what bodies are made of |
| `completions` | `/v1/completions` |
| `embeddings` | `/v1/embeddings` |
| `models`, `errors`, `frames` | the other shapes |
"""

from transom_api.openai.errors import describe, error_body, http_error
from transom_api.openai.models import ModelEntry, model_list

__all__ = ["ModelEntry", "describe", "error_body", "http_error", "model_list"]
