"""pytest tests/pyserver/test_ollama_client.py: the official `ollama` client, over a real socket."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ollama import Client, ResponseError

from tests.fakes.tiny_folder import save_folder
from tests.fakes.tiny_gguf import TinyGguf, tiny_llama
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Platform
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store, open_store


class House:
    """A running server, its store and a client of it."""

    def __init__(self, server: Server, store: Store, client: Client) -> None:
        self.server = server
        self.store = store
        self.client = client

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def manifest_of(self, name: str) -> dict[str, list[bytes]]:
        """Media type -> bytes of the layers of a model's first platform."""
        row = self.store.get_index(ModelName.parse(name)).index.manifests[0]
        layers: dict[str, list[bytes]] = {}
        for layer in self.store.get_manifest(row).layers:
            with self.store.open_blob(layer.digest) as file:
                layers.setdefault(layer.media_type, []).append(file.read())
        return layers


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[tuple[House, House]]:
    with ExitStack() as stack:
        made = []
        for number in range(2):
            location = str(tmp_path / f"models-{number}")
            config = Config.read({}, models=location, port="0")
            server = stack.enter_context(serving(create_app(config), config))
            client = Client(host=f"http://127.0.0.1:{server.port}")
            stack.callback(client._client.close)
            made.append(House(server, open_store(location), client))
        yield made[0], made[1]


@pytest.fixture
def house(houses: tuple[House, House]) -> House:
    return houses[0]


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama().to_bytes())
    return path


@pytest.fixture
def tiny(house: House, gguf: Path) -> bytes:
    """A model `tiny` of one GGUF file; its bytes."""
    digest = house.client.create_blob(gguf)
    house.client.create("tiny", files={"tiny.gguf": digest})
    return gguf.read_bytes()


def test_create_from_a_file(house: House, gguf: Path) -> None:
    assert house.client.list().models == []
    digest = house.client.create_blob(gguf)
    assert digest == str(Digest.of_file(gguf))
    # Sent again, as the command line of Ollama does when it is not asked first.
    assert house.client.create_blob(gguf) == digest
    lines = house.client.create("tiny", files={"tiny.gguf": digest}, stream=True)
    statuses = [line.status for line in lines]
    assert statuses[0] == "reading model metadata"
    assert statuses[-2:] == ["writing manifest", "success"]
    assert house.manifest_of("tiny") == {media_types.OLLAMA_MODEL: [gguf.read_bytes()]}
    index = house.store.get_index(ModelName.parse("tiny")).index
    assert [row.platform for row in index.manifests] == [Platform("native", "gguf")]


def test_list_and_show(house: House, tiny: bytes) -> None:
    (row,) = house.client.list().models
    stored = house.store.get_index(ModelName.parse("tiny"))
    assert row.model == "tiny:latest"
    assert row.digest == stored.digest.hex
    assert row.modified_at is not None
    assert row.modified_at.timestamp() == pytest.approx(stored.modified, abs=1e-3)
    assert row.size is not None
    assert len(tiny) < row.size < len(tiny) + 3000
    assert row.details is not None
    assert (row.details.format, row.details.family) == ("gguf", "llama")
    assert (row.details.parameter_size, row.details.quantization_level) == ("79K", "Q4_1")
    shown = house.client.show("tiny")
    assert shown.capabilities == ["completion"]
    assert shown.license == "apache-2.0"
    assert shown.template is not None
    assert "<|im_start|>" in shown.template
    assert shown.modelfile is not None
    assert "\nFROM tiny\n" in shown.modelfile
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 256
    assert shown.modelinfo["tokenizer.ggml.tokens"] is None
    assert shown.details == row.details


def test_create_from_a_model(house: House, tiny: bytes) -> None:
    answer = house.client.create(
        "pirate",
        from_="tiny",
        system="You are a pirate.",
        template="{% for m in messages %}{{ m.content }}{% endfor %}",
        license=["MIT", "Be nice."],
        parameters={"temperature": 0.25, "stop": ["Arr", "!"], "num_ctx": 128},
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Arr."}],
        stream=False,
    )
    assert answer.status == "success"
    assert house.manifest_of("pirate") == {
        media_types.OLLAMA_MODEL: [tiny],
        media_types.OLLAMA_TEMPLATE: [b"{% for m in messages %}{{ m.content }}{% endfor %}"],
        media_types.OLLAMA_SYSTEM: [b"You are a pirate."],
        media_types.OLLAMA_PARAMS: [b'{"num_ctx":128,"stop":["Arr","!"],"temperature":0.25}'],
        media_types.OLLAMA_MESSAGES: [
            b'[{"content":"hi","role":"user"},{"content":"Arr.","role":"assistant"}]'
        ],
        media_types.OLLAMA_LICENSE: [b"MIT", b"Be nice."],
    }
    shown = house.client.show("pirate")
    assert shown.license == "MIT\n\nBe nice."
    assert shown.parameters is not None
    assert shown.parameters.splitlines() == [
        f"{'num_ctx':30} 128",
        f'{"stop":30} "Arr"',
        f'{"stop":30} "!"',
        f"{'temperature':30} 0.25",
    ]
    # A grandchild keeps what it does not change.
    house.client.create("parrot", from_="pirate", parameters={"temperature": 1})
    parrot = house.manifest_of("parrot")
    assert parrot[media_types.OLLAMA_SYSTEM] == [b"You are a pirate."]
    assert parrot[media_types.OLLAMA_PARAMS] == [
        b'{"num_ctx":128,"stop":["Arr","!"],"temperature":1.0}'
    ]


def test_a_template_of_ollama_is_stored_as_jinja(house: House, tiny: bytes) -> None:
    del tiny
    house.client.create("go", from_="tiny", template="{{ .System }}|{{ .Prompt }}|")
    (template,) = house.manifest_of("go")[media_types.OLLAMA_TEMPLATE]
    assert b".Prompt" not in template
    assert b"{%" in template
    with pytest.raises(ResponseError) as error:
        house.client.create("go", from_="tiny", template="{{ .System }}\n{{ nonsense .Prompt }}")
    assert "nonsense" in str(error.value)


def test_weights_are_converted_and_quantized(house: House, tmp_path: Path) -> None:
    """A checkpoint in safetensors, file by file, as Ollama's command line sends it."""
    save_folder(tmp_path / "hub", "llama", dtype="float16")
    files = {
        path.name: house.client.create_blob(path) for path in sorted((tmp_path / "hub").iterdir())
    }
    lines = list(house.client.create("whole", files=files, system="Hi.", stream=True))
    assert lines[0].status == "reading model metadata"
    assert "converting model" in [line.status for line in lines]
    assert lines[-1].status == "success"
    shown = house.client.show("whole")
    assert shown.details is not None
    assert shown.details.quantization_level == "F16"
    assert house.manifest_of("whole")[media_types.OLLAMA_SYSTEM] == [b"Hi."]
    house.client.create("small", from_="whole", quantize="q8_0")
    small = house.client.show("small")
    assert small.details is not None
    assert small.details.quantization_level == "Q8_0"
    assert house.manifest_of("small")[media_types.OLLAMA_SYSTEM] == [b"Hi."]
    with pytest.raises(ResponseError, match="nonsense"):
        house.client.create("bad", from_="whole", quantize="nonsense")
    assert house.store.verify().problems == ()
    assert house.store.usage().unused < 40_000_000


def test_copy_and_delete(house: House, tiny: bytes) -> None:
    assert house.client.copy("tiny", "me/twin:v1").status == "success"
    assert [row.model for row in house.client.list().models] == ["me/twin:v1", "tiny:latest"]
    assert house.client.delete("tiny").status == "success"
    # The blobs are the twin's now.
    assert house.manifest_of("me/twin:v1") == {media_types.OLLAMA_MODEL: [tiny]}
    assert house.client.delete("me/twin:v1").status == "success"
    assert house.client.list().models == []
    assert not house.store.has_blob(Digest.of(tiny))


def test_what_is_not_there(house: House) -> None:
    for ask in (
        lambda: house.client.show("none"),
        lambda: house.client.copy("none", "twin"),
        lambda: house.client.create("twin", from_="none"),
        lambda: house.client.push("none"),
        lambda: house.client.delete("none"),
    ):
        with pytest.raises(ResponseError) as error:
            ask()
        assert error.value.status_code == 404
        assert "none" in str(error.value)


def test_pull_from_another_server_and_push_to_it(houses: tuple[House, House], tiny: bytes) -> None:
    here, there = houses
    here.client.create("me/tiny", from_="tiny", system="Be brief.")
    # The second pulls from the first, and the name says where it came from.
    name = f"{here.host}/me/tiny:latest"
    lines = list(there.client.pull(name, stream=True))
    assert lines[0].status == "pulling manifest"
    assert lines[-1].status == "success"
    told = {line.digest: line for line in lines if line.digest}
    model = told[str(Digest.of(tiny))]
    assert model.total == model.completed == len(tiny)
    mine = here.store.get_index(ModelName.parse("me/tiny"))
    theirs = there.store.get_index(ModelName.parse(name))
    assert theirs.data == mine.data
    assert there.manifest_of(name) == here.manifest_of("me/tiny")
    assert [row.model for row in there.client.list().models] == [name]
    # And back, as something new: the first gets only what it lacks.
    there.client.create(f"{here.host}/me/loud", from_=name, system="SHOUT.")
    pushed = list(there.client.push(f"{here.host}/me/loud", stream=True))
    assert pushed[0].status == "retrieving manifest"
    assert pushed[-1].status == "success"
    assert here.manifest_of("me/loud")[media_types.OLLAMA_SYSTEM] == [b"SHOUT."]
    assert here.manifest_of("me/loud")[media_types.OLLAMA_MODEL] == [tiny]
    assert here.store.verify().problems == ()
    assert there.store.verify().problems == ()


def test_a_base_of_another_server_is_pulled_first(houses: tuple[House, House], tiny: bytes) -> None:
    here, there = houses
    lines = list(
        there.client.create("mine", from_=f"{here.host}/library/tiny", system="Hi.", stream=True)
    )
    statuses = [line.status for line in lines]
    assert statuses[0] == "pulling manifest"
    assert statuses.count("success") == 1
    assert there.manifest_of("mine") == {
        media_types.OLLAMA_MODEL: [tiny],
        media_types.OLLAMA_SYSTEM: [b"Hi."],
    }
    with pytest.raises(ResponseError, match="none"):
        there.client.create("yours", from_=f"{here.host}/library/none")


def test_a_pull_of_what_is_not_there_says_so(houses: tuple[House, House]) -> None:
    here, there = houses
    with pytest.raises(ResponseError) as error:
        list(there.client.pull(f"{here.host}/me/none", stream=True))
    assert "none" in str(error.value)
    with pytest.raises(ResponseError, match="TRANSOM_REGISTRY"):
        there.client.pull("tiny")
    assert there.client.list().models == []


def test_a_model_that_is_not_open_needs_a_yes(houses: tuple[House, House], gguf: Path) -> None:
    here, there = houses
    gguf.write_bytes(tiny_llama(metadata={"general.license": "llama3.2"}).to_bytes())
    here.client.create("tiny", files={"t.gguf": here.client.create_blob(gguf)})
    with pytest.raises(ResponseError, match=r"llama3\.2"):
        there.client.pull(f"{here.host}/library/tiny")
    assert there.client.list().models == []


def test_a_blob_must_be_what_its_digest_says(house: House, tmp_path: Path) -> None:
    lie = f"sha256:{'0' * 64}"
    with pytest.raises(ResponseError) as error:
        house.client._request_raw("POST", f"/api/blobs/{lie}", content=b"GGUF")
    assert error.value.status_code == 400
    assert not house.store.has_blob(Digest.parse(lie))
    for file in (b"", b"GGUF", TinyGguf(key_count=2**40).to_bytes()):
        path = tmp_path / "bad.gguf"
        path.write_bytes(file)
        with pytest.raises(ResponseError) as error:
            house.client.create("bad", files={"bad.gguf": house.client.create_blob(path)})
        assert error.value.status_code == 400
    assert house.client.list().models == []


def test_ps_lists_what_was_created_and_runs(house: House, tiny: bytes) -> None:
    del tiny
    assert house.client.ps().models == []
    # One thread: more of them wait for each other on a busy machine.
    house.client.create("quick", from_="tiny", parameters={"num_thread": 1, "num_predict": 3})
    answer = house.client.generate("quick", "hello")
    assert answer.done
    assert answer.eval_count is not None
    assert answer.eval_count <= 3
    (row,) = house.client.ps().models
    (listed,) = [row for row in house.client.list().models if row.model == "quick:latest"]
    assert row.model == listed.model
    assert row.digest == listed.digest
    assert row.details is not None
    assert row.details.family == "llama"
    assert row.context_length == 256
