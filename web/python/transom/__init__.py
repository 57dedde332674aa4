"""Ask the visitor's own models from Python in the browser: Pyodide, JupyterLite, PyScript.

    import transom

    await transom.load("smollm2")
    async for piece in transom.chat("Why is the sky blue?"):
        print(piece, end="")

Requests go to `/v1` and `/api` of the page's own origin, where Transom's service worker answers
from this browser's graphics adapter, or lets them through to a server. So everything that speaks
OpenAI's API works there, too: `openai.AsyncOpenAI(base_url=transom.base_url(), api_key="-")`.
"""

from transom.asking import Piece, chat, embed
from transom.errors import TransomError
from transom.fetching import base_url, use
from transom.models import Model, load, models

__all__ = [
    "Model",
    "Piece",
    "TransomError",
    "base_url",
    "chat",
    "embed",
    "load",
    "models",
    "use",
]
