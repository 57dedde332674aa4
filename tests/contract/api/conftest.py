"""What cases are asked of: Flask over a store of models that a script speaks for, and the page's
host over the same."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.contract.api.answers import Answer
from tests.contract.api.asking import Request, read_models, scripts
from tests.fakes.scripted_engine import ScriptedLoader
from tests.fakes.scripted_page_engine import ScriptedPageEngine
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import put_native
from transom_models.digest import Digest
from transom_pyodide.host import Host, start
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

Ask = Callable[[Request], Answer]


@pytest.fixture(scope="session")
def scripted_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    """A folder with the models of `models.json`, and their rows by their weights' digests."""
    folder = tmp_path_factory.mktemp("contract") / "models"
    store, rows = Store(folder), {}
    for number, (name, row) in enumerate(read_models().items()):
        metadata: dict[str, Any] = {"general.name": name, "llama.context_length": 2**17}
        if row.get("template") is None:
            metadata["tokenizer.chat_template"] = None
        if row.get("task") == "embed":
            metadata |= {"llama.attention.causal": False, "llama.pooling_type": 1}
        gguf = tiny_llama(metadata=metadata, seed=number).to_bytes()
        rows[Digest.of(gguf).hex] = row
        put_native(
            store,
            name,
            gguf,
            template=row.get("template"),
            system=row.get("system"),
            messages=[{"role": role, "content": text} for role, text in row.get("messages", ())],
            parameters=row.get("parameters", {}),
        )
    return folder, rows


@pytest.fixture(scope="module")
def loader(scripted_store: tuple[Path, Mapping[str, Any]]) -> ScriptedLoader:
    return ScriptedLoader(scripted_store[1], scripts())


@pytest.fixture(scope="module")
def app(scripted_store: tuple[Path, Mapping[str, Any]], loader: ScriptedLoader) -> Iterator[Flask]:
    """The whole server, but for its socket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transom_server.engines.choice.LlamaCpp", loader)
        made = create_app(Config.read({"TRANSOM_MODELS": str(scripted_store[0])}))
        yield made
        made.extensions["transom_close"]()


@pytest.fixture(scope="module")
def catalogue(ask_server: Ask) -> list[dict[str, Any]]:
    """The same models as a page lists them: `ModelRow` of web/src/api-protocol.ts."""
    found = []
    for row in ask_server(Request("GET", "/api/tags", {}, None)).value["models"]:
        name = row["name"].removesuffix(":latest")
        body = json.dumps({"model": name})
        shown = ask_server(Request("POST", "/api/show", {}, body)).value
        found.append(
            {
                "name": name,
                "created": datetime.fromisoformat(row["modified_at"]).timestamp(),
                "bytes": row["size"],
                "digest": f"sha256:{row['digest']}",
                "details": row["details"],
                "capabilities": shown["capabilities"],
                "isStored": True,
            }
        )
    return found


@pytest.fixture(scope="module")
def ask_server(app: Flask) -> Ask:
    client = app.test_client()

    def ask(request: Request) -> Answer:
        with client.open(
            request.path,
            method=request.method,
            headers=[*request.headers.items()],
            data=None if request.body is None else request.body.encode(errors="surrogatepass"),
        ) as response:
            headers = {name.lower(): value for name, value in response.headers}
            return Answer(response.status_code, headers, response.get_data(as_text=True))

    return ask


class Collected:
    """A `Channel` that keeps all of an answer."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self._status, self._headers, self._pieces = 0, "[]", list[str]()

    def head(self, status: int, headers: str) -> None:
        self._status, self._headers = status, headers

    def write(self, text: str) -> None:
        self._pieces.append(text)

    def end(self) -> None:
        self.ended.set()

    def break_off(self) -> None:
        raise AssertionError("an answer of a moment has an end")

    def refuse(self, error: str, status: int, headers: str, body: str) -> None:
        assert json.loads(error).keys() == {"code", "message"}
        self._status, self._headers, self._pieces = status, headers, [body]
        self.ended.set()

    @property
    def answer(self) -> Answer:
        headers = {name.lower(): value for name, value in json.loads(self._headers)}
        return Answer(self._status, headers, "".join(self._pieces))


@pytest.fixture(scope="module")
def host(catalogue: Sequence[Mapping[str, Any]]) -> Host:
    return start(ScriptedPageEngine(catalogue, read_models(), scripts()))


@pytest.fixture(scope="module")
def ask_page(host: Host) -> Iterator[Ask]:
    with asyncio.Runner() as runner:

        async def answer(request: Request) -> Answer:
            channel = Collected()
            headers = json.dumps([*request.headers.items()])
            host.handle(request.method, request.path, headers, request.body or "", channel)
            await channel.ended.wait()
            return channel.answer

        yield lambda request: runner.run(answer(request))
