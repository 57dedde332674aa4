"""pytest tests/pyserver/test_show.py: what is told of a model, and the verbs that tell and change.

`transom create` runs the real walk on a tiny checkpoint; only the compiler's process is a stand-in.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf.constants import GGMLQuantizationType

from tests.fakes.fake_compiler import FAKE_COMPILER
from tests.fakes.tiny_gguf import CHATML, TinyGguf, TinyTensor, tiny_llama
from tests.pyserver.bundles import write_bundle
from transom_cli import compile as compile_verb
from transom_cli.main import run
from transom_compile import library_builds
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Manifest
from transom_models.modelfile import Modelfile
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.model.base import fresh_base_from_gguf
from transom_server.model.creation import create_model
from transom_server.model.model_details import look_at
from transom_server.store import Store

RunCli = Callable[..., tuple[int, str, str]]
NAME = ModelName.parse
OTHER_TEMPLATE = CHATML.replace("im_start", "im_end")


@pytest.fixture
def cli(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> RunCli:
    """Run a command line on an empty store, with a compiler that writes three words."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "runtime.json").touch()
    monkeypatch.setenv("TRANSOM_MODELS", str(store.location))
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)
    monkeypatch.setattr(compile_verb, "built_runtime", lambda: tmp_path / "runtime")

    def run_cli(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_cli


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama().to_bytes())
    return path


@pytest.fixture
def create(cli: RunCli, tmp_path: Path) -> Callable[..., str]:
    """`transom create` of a Modelfile; the digest of the index. It has to work."""

    def create_it(name: str, text: str, *more: str) -> str:
        path = tmp_path / "Modelfile"
        path.write_text(text)
        code, out, err = cli("create", name, "-f", str(path), *more)
        assert code == 0, err
        assert out.splitlines()[0] == f"{name} is in the store"
        return out.splitlines()[1].removeprefix("index ")

    return create_it


def platforms(store: Store, name: str) -> dict[str, Manifest]:
    rows = store.get_index(NAME(name)).index.manifests
    return {str(row.platform): store.get_manifest(row) for row in rows}


# transom create


def test_a_gguf_is_compiled_unless_the_modelfile_says_native(
    create: Callable[..., str], store: Store, gguf: Path, cli: RunCli
) -> None:
    create("both", f"FROM {gguf.name}")
    assert list(platforms(store, "both")) == [
        "native/gguf",
        "browser/webgpu/f16",
        "browser/webgpu/f32",
    ]
    create("native", f"FROM ./{gguf.name}\nPLATFORM native")
    assert list(platforms(store, "native")) == ["native/gguf"]
    assert platforms(store, "native")["native/gguf"].layers[0].digest == Digest.of_file(gguf)
    create("browser", f"FROM {gguf}\nPLATFORM webgpu")
    assert list(platforms(store, "browser")) == ["browser/webgpu/f16", "browser/webgpu/f32"]
    assert cli("verify")[0] == 0
    # Nothing was put that no model names: the GGUF of `browser` is that of the others.
    assert store.usage().unused == 0


def test_what_was_compiled_is_not_compiled_again(
    create: Callable[..., str], store: Store, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create("both", f"FROM {gguf.name}")
    monkeypatch.setattr(library_builds, "COMPILER", ("no compiler may start",))
    monkeypatch.setattr(
        "transom_compile.pipeline.compile_bundle", lambda *_: pytest.fail("it was compiled again")
    )
    assert create("again", f"FROM {gguf.name}") == first
    create("brief", f"FROM {gguf.name}\nSYSTEM Be brief.")
    create("briefer", "FROM brief\nPARAMETER num_predict 5")
    assert look_at(store, NAME("briefer")).texts.system == "Be brief."
    # Nor is a model that was changed taken for what its weights compile to.
    assert create("plain", f"FROM {gguf.name}") == first


def test_a_changed_model_is_not_what_compiling_gives(
    create: Callable[..., str], store: Store, gguf: Path
) -> None:
    text = f"FROM {gguf.name}\nSYSTEM Be brief.\nPARAMETER num_ctx 64"
    create("changed", text)
    create("plain", f"FROM {gguf.name}")
    view = look_at(store, NAME("plain"))
    assert store.usage().unused == 0
    assert view.texts.system is None
    assert view.browser is not None
    assert view.browser["context_window_size"] == 256


@pytest.mark.parametrize("more", ["", "\nPLATFORM webgpu"])
def test_a_template_gets_its_prompt_format(
    create: Callable[..., str], store: Store, gguf: Path, more: str
) -> None:
    go = "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}<|im_start|>user\n"
    go += "{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
    create("go", f'FROM {gguf.name}\nTEMPLATE """{go}"""\nPARAMETER stop "Human:"{more}')
    config = look_at(store, NAME("go")).browser
    assert config is not None
    assert config["transom"]["conv_template"] == "exact"
    conversation = config["conv_template"]
    assert conversation["roles"]["user"] == "<|im_start|>user\n"
    assert conversation["stop_str"] == ["Human:"]
    pieces = [*conversation["seps"], *conversation["roles"].values()]
    assert "<|im_start|>assistant\n" in "".join(pieces)


def test_a_template_that_would_misbehave_is_refused(
    create: Callable[..., str], cli: RunCli, gguf: Path, tmp_path: Path
) -> None:
    create("both", f"FROM {gguf.name}")
    (tmp_path / "Modelfile").write_text("FROM both\nTEMPLATE {{ nothing.of.it }}")
    code, out, err = cli("create", "bad", "-f", str(tmp_path / "Modelfile"))
    assert (code, out) == (2, "")
    assert "the chat template has a problem" in err.splitlines()[-1]
    create("bad", "FROM both\nTEMPLATE {{ nothing.of.it }}", "--force")


def test_native_first_then_for_the_browser(
    create: Callable[..., str], store: Store, gguf: Path
) -> None:
    create("native", f"FROM {gguf.name}\nPLATFORM native\nSYSTEM Be brief.\nLICENSE mit")
    gguf.unlink()
    create("both", "FROM native\nPLATFORM webgpu\nPLATFORM native")
    made = platforms(store, "both")
    assert len(made) == 3
    for manifest in made.values():
        kinds = [row.media_type for row in manifest.layers]
        assert media_types.OLLAMA_SYSTEM in kinds
        assert media_types.OLLAMA_LICENSE in kinds
    assert made["native/gguf"] == platforms(store, "native")["native/gguf"] or (
        made["native/gguf"].layers == platforms(store, "native")["native/gguf"].layers
    )


def test_what_no_browser_runs_stays_native(
    create: Callable[..., str], store: Store, cli: RunCli, tmp_path: Path
) -> None:
    keys = [("general.architecture", "mamba"), ("mamba.context_length", 64)]
    file = TinyGguf(metadata=keys, tensors=[TinyTensor("token_embd.weight")])
    (tmp_path / "mamba.gguf").write_bytes(file.to_bytes())
    create("mamba", "FROM mamba.gguf")
    assert list(platforms(store, "mamba")) == ["native/gguf"]
    code, _, err = cli("create", "mamba", "-f", str(tmp_path / "Modelfile"))
    assert code == 0
    assert "note: not for browsers: " in err
    (tmp_path / "Modelfile").write_text("FROM mamba.gguf\nPLATFORM webgpu")
    code, _, err = cli("create", "other", "-f", str(tmp_path / "Modelfile"))
    assert code == 2
    assert "mamba" in err.splitlines()[-1]


def test_an_adapter_is_merged_for_browsers_and_a_layer_for_llama_cpp(
    create: Callable[..., str], store: Store, gguf: Path, tmp_path: Path
) -> None:
    rank, lora = 2, tmp_path / "lora.gguf"
    rows = [
        TinyTensor("blk.0.attn_q.weight.lora_a", (64, rank), data=bytes(64 * rank * 4)),
        TinyTensor("blk.0.attn_q.weight.lora_b", (rank, 64), data=bytes(64 * rank * 4)),
    ]
    keys = [
        ("general.architecture", "llama"),
        ("general.type", "adapter"),
        ("adapter.type", "lora"),
        ("adapter.lora.alpha", 4.0),
    ]
    lora.write_bytes(TinyGguf(metadata=keys, tensors=rows).to_bytes())
    float_gguf = tmp_path / "float.gguf"
    kinds = {"blk.0.attn_q.weight": GGMLQuantizationType.F32}
    float_gguf.write_bytes(tiny_llama(kinds=kinds).to_bytes())
    create("tuned", "FROM float.gguf\nADAPTER lora.gguf")
    made = platforms(store, "tuned")
    native = made["native/gguf"].layers
    assert [row.digest for row in native] == [Digest.of_file(float_gguf), Digest.of_file(lora)]
    assert native[1].media_type == media_types.OLLAMA_ADAPTER
    assert "browser/webgpu/f16" in made
    # A base of the store: its own GGUF is not stored again.
    create("base", "FROM float.gguf")
    before = store.usage().stored
    create("tuned2", "FROM base\nADAPTER lora.gguf")
    assert platforms(store, "tuned2")["native/gguf"].layers == native
    assert store.usage().stored - before < 10_000
    view = look_at(store, NAME("tuned"))
    assert view.adapters == (str(Digest.of_file(lora)),)
    assert f"# ADAPTER {view.adapters[0]}" in view.modelfile
    digest = store.get_index(NAME("tuned")).digest
    assert create("tuned", view.modelfile) == str(digest)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SYSTEM x", "no FROM line"),
        ("FROM none", "FROM none: no such file, and no such model in the store"),
        ("FROM ./none.gguf", "FROM ./none.gguf: there is no such file, and it is no model's name"),
        ("FROM /none/at/all.gguf", "there is no such file"),
        ("FROM tiny.gguf\nADAPTER none", "ADAPTER none: there is no such file or folder"),
        ("FROM tiny.gguf\nADAPTER tiny.gguf\nADAPTER tiny.gguf", "several adapters"),
        # A device has no end.
        ("FROM /dev/zero", "/dev/zero is neither a file nor a folder"),
        ("FROM tiny.gguf\nADAPTER /dev/zero", "/dev/zero is neither a file nor a folder"),
        ("FROM text.txt", "is not a GGUF file"),
        ("FROM text.txt\nPLATFORM native", "is not a GGUF file"),
        ("FROM tiny.gguf\nNONSENSE x", "Modelfile line 2"),
        ("FROM tiny.gguf\nTEMPLATE {{ nonsense }}{{ .Prompt }}", "nonsense"),
        ("FROM " + "a" * 300, "no such file"),
    ],
)
def test_a_bad_modelfile_is_one_line(
    cli: RunCli, gguf: Path, tmp_path: Path, store: Store, text: str, error: str
) -> None:
    del gguf
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "Modelfile").write_text(text)
    code, out, err = cli("create", "new", "-f", str(tmp_path / "Modelfile"))
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    assert error in line
    assert store.list_models() == []


def test_where_the_modelfile_is(
    cli: RunCli, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("create", "new")
    assert code == 2
    assert err.startswith("error: there is no Modelfile; name one with -f")
    Path("Modelfile").write_text(f"FROM {gguf.name}\nPLATFORM native")
    assert cli("create", "new")[0] == 0
    monkeypatch.chdir("/")
    assert cli("create", "new", "-f", str(tmp_path))[0] == 0
    code, out, _ = cli("create", "new", "-f", str(tmp_path / "Modelfile"), "--json")
    assert code == 0
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "report"
    assert last["name"] == "new"
    assert cli("create", "../x", "-f", str(tmp_path))[0] == 2


# transom show


@pytest.fixture
def full(store: Store) -> Store:
    """A native model `full` with every text."""
    base = fresh_base_from_gguf(store, store.put_bytes(tiny_llama().to_bytes()))
    said = Modelfile(
        "x",
        template=OTHER_TEMPLATE,
        system="You are\nbrief.",
        parameters={"temperature": 0.5, "stop": ("a", "b")},
        messages=(("user", "hi"), ("assistant", "ho")),
        licenses=("One\nTwo\nThree\nFour\nFive",),
        requires="0.14.0",
    )
    create_model(store, NAME("full"), said, base, lambda _: None)
    return store


def test_the_table(cli: RunCli, full: Store) -> None:
    code, out, err = cli("show", "full")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    digest = full.get_index(NAME("full")).digest
    for line in (
        "architecture llama",
        "parameters 79K",
        "context length 256",
        "embedding length 64",
        "quantization Q4_1",
        "requires 0.14.0",
        f"digest {digest}",
        "native/gguf",
        "completion",
        "stop a",
        "stop b",
        "temperature 0.5",
        "You are",
        "brief.",
        "user hi",
        "apache-2.0 (not open)",
        "Three",
        "…",
    ):
        assert line in lines, out
    assert "Four" not in out
    assert "Metadata" not in out
    verbose = cli("show", "full", "-v")[1]
    assert "tokenizer.ggml.tokens" in verbose
    assert "blk.0.attn_q.weight" in verbose
    assert "[64, 64]" in verbose


def test_one_text_alone(cli: RunCli, full: Store) -> None:
    del full
    assert cli("show", "full", "--template")[1] == OTHER_TEMPLATE + "\n"
    assert cli("show", "full", "--system")[1] == "You are\nbrief.\n"
    assert cli("show", "full", "--license")[1] == "One\nTwo\nThree\nFour\nFive\n"
    assert cli("show", "full", "--parameters")[1].split() == [
        *("stop", "a", "stop", "b", "temperature", "0.5")
    ]
    assert "\nFROM full\n" in cli("show", "full", "--modelfile")[1]
    assert cli("show", "full", "--modelfile", "--system")[0] == 2
    assert cli("show", "none") == (
        2,
        "",
        "error: no model none in the store; `transom list` shows what is\n",
    )


def test_show_as_json(cli: RunCli, full: Store) -> None:
    shown: dict[str, Any] = json.loads(cli("show", "full", "--json")[1])
    assert shown["digest"] == str(full.get_index(NAME("full")).digest)
    assert shown["parameters"] == {"stop": ["a", "b"], "temperature": 0.5}
    assert shown["license"]["open"] is False
    assert shown["size_bytes"] > 40_000
    assert shown["platforms"] == ["native/gguf"]


def test_what_the_grammar_cannot_spell_is_named_and_kept(
    create: Callable[..., str], store: Store
) -> None:
    """A Modelfile has no escapes: a text whose line ends in quotes cannot be written."""
    base = fresh_base_from_gguf(store, store.put_bytes(tiny_llama().to_bytes()))
    said = Modelfile("x", system='Say """\nand "\nno more', parameters={"seed": 1})
    digest = create_model(store, NAME("odd"), said, base, lambda _: None)
    shown = look_at(store, NAME("odd")).modelfile
    assert "# SYSTEM: cannot be spelled in a Modelfile; FROM brings it along\n" in shown
    assert "PARAMETER seed 1" in shown
    assert create("odd2", shown) == str(digest)


def test_texts_from_outside_do_not_steer_the_terminal(cli: RunCli, store: Store) -> None:
    keys = {"general.license": "mit\x1b[2J", "general.file_type": None}
    base = fresh_base_from_gguf(store, store.put_bytes(tiny_llama(metadata=keys).to_bytes()))
    said = Modelfile("x", system="\x1b]0;title\x07hello")
    create_model(store, NAME("odd"), said, base, lambda _: None)
    out = cli("show", "odd", "-v")[1]
    assert "\x1b" not in out
    assert "hello" in out


def test_a_model_whose_file_nobody_can_read_is_still_shown(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    import_bundle(store, bundle.folder, NAME("both"), bundle.files)
    view = look_at(store, NAME("both"))
    assert view.gguf is None
    assert view.template == "{{ messages }} é"
    assert "GGUF version" in caplog.text


def test_a_docker_manifest_of_ollama(store: Store, cli: RunCli) -> None:
    """As `transom pull` brings it from Ollama's registry: Go template, Ollama's config."""
    model = store.put_bytes(tiny_llama().to_bytes())
    go = b"{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"

    def row(kind: str, data: bytes) -> Descriptor:
        return Descriptor(kind, store.put_bytes(data), len(data))

    config = b'{"model_format":"gguf","model_family":"llama","model_type":"8B","file_type":"Q4_0"}'
    manifest = Manifest(
        row(media_types.OLLAMA_CONFIG, config),
        (
            Descriptor(media_types.OLLAMA_MODEL, model, store.blob_size(model)),
            row(media_types.OLLAMA_TEMPLATE, go),
            row(media_types.OLLAMA_PARAMS, b'{"mirostat":1,"stop":["x"]}'),
        ),
    )
    value = json.loads(manifest.to_bytes())
    value["mediaType"] = media_types.DOCKER_MANIFEST
    store.put_index(NAME("example.com/library/llama"), json.dumps(value).encode())
    view = look_at(store, NAME("example.com/library/llama"))
    assert view.template == go.decode()
    assert view.capabilities == ("completion", "tools")
    assert (view.details.parameter_size, view.details.quantization_level) == ("8B", "Q4_0")
    assert dict(view.texts.parameters) == {"stop": ("x",)}
    assert "FROM example.com/library/llama\n" in view.modelfile
    assert cli("show", "example.com/library/llama")[0] == 0


# transom cp, transom rm


def test_cp_and_rm(cli: RunCli, full: Store) -> None:
    assert cli("cp", "full", "me/twin:v1")[:2] == (0, "me/twin:v1 is full\n")
    code, out, _ = cli("rm", "FULL")
    assert (code, out) == (0, "removed full: 0 blobs, 0 B freed\n")
    stored = sum(entry.size for entry in full.storage.entries("blobs"))
    (removed,) = json.loads(cli("rm", "me/twin:v1", "--json")[1])
    assert removed["name"] == "me/twin:v1"
    assert removed["bytes"] == stored
    assert full.usage().stored == 0
    assert cli("cp", "full", "x")[0] == 2


def test_rm_removes_all_or_nothing(cli: RunCli, full: Store) -> None:
    code, out, err = cli("rm", "full", "none")
    assert (code, out) == (2, "")
    assert err == "error: no model none in the store; `transom list` shows what is\n"
    assert full.resolve(NAME("full")) is not None
    assert cli("rm", "full", "full")[0] == 0
