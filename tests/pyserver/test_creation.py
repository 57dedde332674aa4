"""pytest tests/pyserver/test_creation.py: what a Modelfile changes, and what it leaves shared."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.tiny_gguf import CHATML, TinyGguf, TinyTensor, tiny_llama
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, InvalidManifest, Manifest, Platform
from transom_models.modelfile import Modelfile, parse_modelfile
from transom_models.name import ModelName
from transom_server.model.base import base_from_model, fresh_base_from_gguf
from transom_server.model.browser_config import (
    read_config,
    with_parameters,
    with_system,
    with_template,
    without_conversation,
)
from transom_server.model.creation import CannotCreate, create_model
from transom_server.model.gguf_facts import InvalidGguf
from transom_server.model.model_details import look_at
from transom_server.model.model_texts import read_messages, read_texts
from transom_server.store import BlobNotFound, ModelNotFound, Store, StoredModel
from transom_server.transfer.status import Status

NAME = ModelName.parse
CHAT_CONFIG = {
    "context_window_size": 256,
    "model_config": {"context_window_size": 256},
    "temperature": 0.8,
    "top_p": 0.95,
    "conv_template": {
        "system_template": "<s>{system_message}</s>",
        "system_message": "The template's own.",
        "roles": {"user": "<u>", "assistant": "<a>"},
        "seps": ["</u>", "</a>"],
        "stop_str": [],
        "stop_token_ids": [2],
        "render_empty_system_message": True,
    },
    "transom": {"conv_template": "exact", "chat_template": "chat_template.jinja"},
}


class Told:
    """Keeps the statuses."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, status: Status) -> None:
        self.texts.append(status.text)


def make(store: Store, name: str, text: str, **more: Any) -> Digest:
    """`transom create name` in a store that has what FROM names."""
    modelfile = parse_modelfile(text)
    base = base_from_model(store, NAME(modelfile.base))
    return create_model(store, NAME(name), modelfile, base, Told(), **more)


def stored(store: Store, name: str) -> StoredModel:
    return store.get_index(NAME(name))


def manifests(store: Store, name: str) -> dict[str, Manifest]:
    rows = stored(store, name).index.manifests
    return {str(row.platform): store.get_manifest(row) for row in rows}


def text_of(store: Store, manifest: Manifest, kind: str) -> list[bytes]:
    rows = [row for row in manifest.layers if row.media_type == kind]
    return [store.read_manifest_bytes(row.digest) for row in rows]


@pytest.fixture
def tiny(store: Store) -> Store:
    """A store with `native`, of one GGUF, and `both`, with two browser platforms of it."""
    digest = store.put_bytes(tiny_llama().to_bytes())
    base = fresh_base_from_gguf(store, digest)
    create_model(store, NAME("native"), Modelfile("x"), base, Told())

    def row(kind: str, title: str, data: bytes) -> Descriptor:
        keys = {media_types.ANNOTATION_TITLE: title}
        return Descriptor(kind, store.put_bytes(data), len(data), keys)

    config = json.dumps(CHAT_CONFIG).encode()
    rows = [stored(store, "native").index.manifests[0]]
    for variant in ("f16", "f32"):
        manifest = Manifest(
            row(media_types.CONFIG, "mlc-chat-config.json", config),
            (
                row(media_types.SHARD, "params_shard_0.bin", b"weights"),
                row(media_types.OLLAMA_TEMPLATE, "chat_template.jinja", CHATML.encode()),
                row(media_types.LIBRARY, f"library-{variant}.wasm", variant.encode()),
            ),
        )
        data = manifest.to_bytes()
        platform = Platform("browser", "webgpu", variant)
        digest = store.put_bytes(data)
        rows.append(Descriptor(media_types.OCI_MANIFEST, digest, len(data), {}, platform))
    store.put_index(NAME("both"), Index(tuple(rows), base.annotations))
    return store


# A GGUF alone


def test_a_gguf_becomes_a_native_platform(tiny: Store) -> None:
    (manifest,) = manifests(tiny, "native").values()
    assert [row.media_type for row in manifest.layers] == [media_types.OLLAMA_MODEL]
    config = json.loads(tiny.read_manifest_bytes(manifest.config.digest))
    assert config == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "79K",
        "file_type": "Q4_1",
        "context_length": 256,
        "embedding_length": 64,
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [str(manifest.layers[0].digest)]},
    }
    assert manifest.annotations == stored(tiny, "native").index.annotations
    assert manifest.annotations[media_types.ANNOTATION_LICENSES] == "apache-2.0"
    assert manifest.annotations[media_types.ANNOTATION_SCHEME] == "Q4_1:14 F32:5 Q8_0:1"


def test_a_projector_beside_it(store: Store) -> None:
    model = store.put_bytes(tiny_llama().to_bytes())
    clip = store.put_bytes(TinyGguf(metadata=[("general.architecture", "clip")]).to_bytes())
    base = fresh_base_from_gguf(store, model, [clip])
    create_model(store, NAME("eyes"), Modelfile("x"), base, Told())
    assert look_at(store, NAME("eyes")).capabilities == ("completion", "vision")
    with pytest.raises(InvalidGguf, match="kind model, where a projector is wanted"):
        fresh_base_from_gguf(store, model, [model])
    with pytest.raises(InvalidGguf, match="kind projector, where a model is wanted"):
        fresh_base_from_gguf(store, clip)


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (b"MZ", "not a GGUF file"),
        (TinyGguf(tensor_count=2**60).to_bytes(), "tensor count is"),
        (TinyGguf().to_bytes(), "does not name its architecture"),
        (TinyGguf([("general.architecture", "a" * 101)]).to_bytes(), "does not name"),
        (TinyGguf([("general.architecture", "a\x1b[31m")]).to_bytes(), "does not name"),
    ],
)
def test_a_bad_file_is_one_error_and_no_name(store: Store, file: bytes, error: str) -> None:
    with pytest.raises(InvalidGguf, match=error):
        fresh_base_from_gguf(store, store.put_bytes(file))
    assert store.list_models() == []


# Changes


def test_layers_come_on_every_platform(tiny: Store) -> None:
    told = Told()
    modelfile = parse_modelfile(
        'FROM both\nSYSTEM Be brief.\nTEMPLATE """{{ messages[0] }}"""\nPARAMETER temperature 0.5\n'
        "PARAMETER stop END\nMESSAGE user hi\nLICENSE mit\nREQUIRES 0.14.0"
    )
    create_model(tiny, NAME("new"), modelfile, base_from_model(tiny, NAME("both")), told)
    for platform, manifest in manifests(tiny, "new").items():
        assert text_of(tiny, manifest, media_types.OLLAMA_SYSTEM) == [b"Be brief."]
        assert text_of(tiny, manifest, media_types.OLLAMA_TEMPLATE) == [b"{{ messages[0] }}"]
        assert text_of(tiny, manifest, media_types.OLLAMA_LICENSE) == [b"mit"]
        assert text_of(tiny, manifest, media_types.OLLAMA_PARAMS) == [
            b'{"stop":["END"],"temperature":0.5}'
        ]
        assert text_of(tiny, manifest, media_types.OLLAMA_MESSAGES) == [
            b'[{"content":"hi","role":"user"}]'
        ]
        titles = [row.title for row in manifest.layers]
        if platform == "native/gguf":
            assert set(titles) == {None}
        else:
            assert titles == [
                "params_shard_0.bin",
                "chat_template.jinja",
                f"library-{platform[-3:]}.wasm",
                "system.txt",
                "params.json",
                "messages.json",
                "LICENSE",
            ]
    native = manifests(tiny, "new")["native/gguf"]
    config = json.loads(tiny.read_manifest_bytes(native.config.digest))
    assert config["requires"] == "0.14.0"
    assert config["rootfs"]["diff_ids"] == [str(row.digest) for row in native.layers]
    assert told.texts[0] == "reading model metadata"
    assert "creating system layer" in told.texts
    assert told.texts[-2:] == ["writing manifest", "success"]


def test_every_other_blob_is_shared(tiny: Store) -> None:
    before = {entry.key for entry in tiny.storage.entries("blobs")}
    make(tiny, "new", "FROM both\nSYSTEM Be brief.")
    after = {entry.key for entry in tiny.storage.entries("blobs")}
    # One system text, one native and one browser config, three manifests, one index.
    assert len(after - before) == 7
    usage = {str(row.name): row for row in tiny.usage().models}
    assert usage["new"].own < 6000
    assert usage["new"].shared > 40_000


def test_webllm_s_config_says_the_same(tiny: Store) -> None:
    make(tiny, "new", "FROM both\nSYSTEM Hi.\nPARAMETER top_p 0\nPARAMETER num_ctx 64")
    manifest = manifests(tiny, "new")["browser/webgpu/f32"]
    config = read_config(tiny.read_manifest_bytes(manifest.config.digest))
    assert config["conv_template"]["system_message"] == "Hi."
    assert config["conv_template"]["seps"] == ["</u>", "</a>"]
    assert config["top_p"] == 1e-6
    assert config["context_window_size"] == 64
    assert config["temperature"] == 0.8
    assert manifest.config.title == "mlc-chat-config.json"
    # What it had before comes back.
    make(tiny, "back", 'FROM new\nSYSTEM ""\nPARAMETER num_ctx 4096')
    back = manifests(tiny, "back")["browser/webgpu/f32"]
    assert text_of(tiny, back, media_types.OLLAMA_SYSTEM) == []
    config = read_config(tiny.read_manifest_bytes(back.config.digest))
    assert config["conv_template"] == CHAT_CONFIG["conv_template"]
    assert config["transom"] == CHAT_CONFIG["transom"]
    assert config["context_window_size"] == 256


def test_a_template_without_its_prompt_format(tiny: Store) -> None:
    make(tiny, "new", "FROM both\nTEMPLATE {{ messages[0] }}\nSYSTEM Hi.\nPARAMETER stop END")
    manifest = manifests(tiny, "new")["browser/webgpu/f16"]
    config = read_config(tiny.read_manifest_bytes(manifest.config.digest))
    assert config["transom"]["conv_template"].startswith("unavailable: ")
    assert config["conv_template"]["roles"] == {"user": "", "assistant": ""}
    assert config["conv_template"]["system_message"] == "Hi."
    assert config["conv_template"]["stop_str"] == ["END"]
    assert config["conv_template"]["stop_token_ids"] == [2]


def test_a_template_with_its_prompt_format(tiny: Store) -> None:
    def reconverse(document: dict[str, Any], template: str) -> dict[str, Any]:
        assert template == "{{ messages[0] }}"
        return {**document, "conv_template": {"system_message": "new", "stop_str": []}}

    text = "FROM both\nTEMPLATE {{ messages[0] }}\nPARAMETER stop END"
    make(tiny, "new", text, reconverse=reconverse)
    manifest = manifests(tiny, "new")["browser/webgpu/f16"]
    config = read_config(tiny.read_manifest_bytes(manifest.config.digest))
    assert config["conv_template"] == {"system_message": "new", "stop_str": ["END"]}


def test_parameters_lie_over_the_base_s(tiny: Store) -> None:
    make(tiny, "one", "FROM native\nPARAMETER temperature 0.5\nPARAMETER stop A\nPARAMETER stop B")
    make(tiny, "two", "FROM one\nPARAMETER stop C\nPARAMETER seed 7")
    (manifest,) = manifests(tiny, "two").values()
    assert dict(read_texts(tiny, manifest).parameters) == {
        "seed": 7,
        "stop": ("C",),
        "temperature": 0.5,
    }
    # Unknown options of Ollama's past stay where nothing is changed.
    data = b'{"mirostat":1,"temperature":0.5}'
    row = Descriptor(media_types.OLLAMA_PARAMS, tiny.put_bytes(data), len(data))
    foreign = Manifest(manifest.config, (manifest.layers[0], row)).to_bytes()
    tiny.put_bytes(foreign)
    tiny.put_index(NAME("foreign"), foreign)
    make(tiny, "same", "FROM foreign\nPARAMETER temperature 0.5")
    (same,) = manifests(tiny, "same").values()
    assert text_of(tiny, same, media_types.OLLAMA_PARAMS) == [data]


def test_terms_cannot_be_taken_away(tiny: Store) -> None:
    make(tiny, "one", 'FROM both\nLICENSE """Mine.\nAll of it."""')
    make(tiny, "two", "FROM one\nLICENSE mit\nLICENSE bsd")
    for manifest in manifests(tiny, "two").values():
        texts = text_of(tiny, manifest, media_types.OLLAMA_LICENSE)
        assert texts == [b"Mine.\nAll of it.", b"mit", b"bsd"]
    titles = [row.title for row in manifests(tiny, "two")["browser/webgpu/f16"].layers]
    assert titles[-3:] == ["LICENSE", "LICENSE-2", "LICENSE-3"]
    assert look_at(tiny, NAME("two")).licence.open is False


def test_platforms(tiny: Store) -> None:
    make(tiny, "one", "FROM both\nPLATFORM webgpu")
    assert list(manifests(tiny, "one")) == ["browser/webgpu/f16", "browser/webgpu/f32"]
    make(tiny, "two", "FROM both\nPLATFORM native")
    assert stored(tiny, "two").digest == stored(tiny, "native").digest
    with pytest.raises(CannotCreate, match="PLATFORM webgpu: the base has no such platform"):
        make(tiny, "three", "FROM native\nPLATFORM webgpu")
    with pytest.raises(CannotCreate, match="PLATFORM native: the base has no such platform"):
        make(tiny, "three", "FROM one\nPLATFORM native")


def adapter(architecture: str = "llama") -> bytes:
    keys = [("general.architecture", architecture), ("general.type", "adapter")]
    return TinyGguf(metadata=keys, tensors=[TinyTensor("blk.0.attn_q.weight.lora_a")]).to_bytes()


def test_an_adapter_is_a_layer_of_its_own(tiny: Store) -> None:
    lora = tiny.put_bytes(adapter())
    make(tiny, "tuned", "FROM native\nADAPTER x", adapters=[lora])
    (manifest,) = manifests(tiny, "tuned").values()
    assert [row.digest for row in manifest.layers if "adapter" in row.media_type] == [lora]
    assert manifest.layers[0] == manifests(tiny, "native")["native/gguf"].layers[0]
    again = stored(tiny, "tuned").digest
    make(tiny, "tuned", "FROM tuned\nADAPTER x", adapters=[lora])
    assert stored(tiny, "tuned").digest == again
    wrong = tiny.put_bytes(adapter("gemma3"))
    with pytest.raises(CannotCreate, match="is for gemma3, the base is llama"):
        make(tiny, "bad", "FROM native", adapters=[wrong])
    model = manifest.layers[0].digest
    with pytest.raises(InvalidGguf, match="kind model, where a adapter is wanted"):
        make(tiny, "bad", "FROM native", adapters=[model])
    with pytest.raises(CannotCreate, match="PLATFORM native"):
        make(tiny, "bad", "FROM both", adapters=[lora])


def test_a_name_that_is_used_again_lets_its_old_blobs_go(tiny: Store) -> None:
    make(tiny, "mine", "FROM both\nSYSTEM One.")
    one = Digest.of(b"One.")
    told = Told()
    said = parse_modelfile("FROM mine\nSYSTEM Two.")
    create_model(tiny, NAME("mine"), said, base_from_model(tiny, NAME("mine")), told)
    assert told.texts[-3:] == ["writing manifest", "removing unused layers", "success"]
    assert not tiny.has_blob(one)
    assert tiny.usage().unused == 0
    assert tiny.verify().problems == ()
    # Not what another model needs, though.
    make(tiny, "other", "FROM mine")
    make(tiny, "mine", "FROM both")
    assert tiny.has_blob(Digest.of(b"Two."))


# The same again


FULL = (
    'FROM both\nSYSTEM """Be\nbrief."""\nTEMPLATE {{ messages[0] }}\nPARAMETER temperature 0.5\n'
    "MESSAGE user hi\nMESSAGE assistant ho\nLICENSE mit\nREQUIRES 0.14.0"
)


def test_the_same_input_gives_the_same_digest(tiny: Store) -> None:
    assert make(tiny, "one", FULL) == make(tiny, "two", FULL)


@pytest.mark.parametrize("text", ["FROM native", "FROM both", FULL, FULL.replace("both", "native")])
def test_a_modelfile_that_is_shown_makes_the_same_model(tiny: Store, text: str) -> None:
    first = make(tiny, "one", text)
    shown = look_at(tiny, NAME("one")).modelfile
    assert make(tiny, "two", shown) == first
    assert "TEMPLATE" in shown


def test_what_changes_nothing_keeps_the_base_s_bytes(tiny: Store) -> None:
    both = stored(tiny, "both")
    assert make(tiny, "copy", "FROM both") == both.digest
    template = look_at(tiny, NAME("native")).template
    assert template is not None
    base = base_from_model(tiny, NAME("native"))
    said = Modelfile("native", template=template)
    digest = create_model(tiny, NAME("copy"), said, base, Told())
    assert digest == stored(tiny, "native").digest


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    system=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\r")),
    temperature=st.none() | st.floats(0, 2),
    stops=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=9), max_size=3),
    messages=st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=3),
)
def test_texts_come_back_as_they_went_in(
    tiny: Store,
    system: str | None,
    temperature: float | None,
    stops: list[str],
    messages: list[tuple[str, str]],
) -> None:
    parameters: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    if stops:
        parameters["stop"] = tuple(dict.fromkeys(stops))
    messages = [(role, text.encode("utf-8", "ignore").decode()) for role, text in messages]
    said = Modelfile("both", system=system, parameters=parameters, messages=tuple(messages))
    create_model(tiny, NAME("one"), said, base_from_model(tiny, NAME("both")), Told())
    for manifest in manifests(tiny, "one").values():
        texts = read_texts(tiny, manifest)
        assert texts.system == (system or None)
        assert dict(texts.parameters) == parameters
        assert texts.messages == tuple(messages)


# What goes wrong


def test_errors_leave_the_name_as_it_was(tiny: Store) -> None:
    before = stored(tiny, "both").digest
    with pytest.raises(ModelNotFound):
        make(tiny, "both", "FROM none")
    with pytest.raises(CannotCreate, match="TEMPLATE is empty"):
        make(tiny, "both", 'FROM both\nTEMPLATE ""')
    base = base_from_model(tiny, NAME("both"))
    tiny.remove_blob(manifests(tiny, "both")["browser/webgpu/f16"].layers[0].digest)
    with pytest.raises(BlobNotFound):
        create_model(tiny, NAME("new"), Modelfile("both", system="x"), base, Told())
    assert stored(tiny, "both").digest == before
    assert tiny.resolve(NAME("new")) is None


def test_new_blobs_are_leased_until_the_tag_names_them(
    tiny: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection without any grace, in the last moment before the tag."""
    put_index = Store.put_index

    def collect_first(store: Store, name: ModelName, index: Index | bytes) -> Digest:
        store.collect_garbage(grace_seconds=0)
        return put_index(store, name, index)

    monkeypatch.setattr(Store, "put_index", collect_first)
    make(tiny, "new", FULL)
    assert tiny.verify().problems == ()


def test_old_layers_that_are_not_what_they_say() -> None:
    for bad in (
        b"{",
        b"{}",
        b"[1]",
        b'[{"role":1}]',
        b"[" * 100_000,
        b"[" + b'{"role":"a"},' * 2000,
    ):
        with pytest.raises(InvalidManifest):
            read_messages(bad)
    for bad in (b"[" * 100_000, b"[]", b"\xff"):
        with pytest.raises(InvalidManifest):
            read_config(bad)


def test_configs_without_the_parts_are_left_alone() -> None:
    documents: tuple[dict[str, Any], ...] = ({}, {"conv_template": "llama-3", "transom": 1})
    for document in documents:
        assert with_system(dict(document), "Hi.") == document
        assert without_conversation(dict(document), "x") == document
        assert with_template(dict(document), "x", None) == document
        assert with_parameters(dict(document), {"stop": ("x",), "num_ctx": 5}) == document
