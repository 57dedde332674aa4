"""A finished MLC model as one of our bundles: what is taken, what is refused, what a prompt is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.fakes.mlc_model import CONVERSATION, wasm, write_mlc_model
from tests.fakes.tiny_gguf import CHATML
from transom_compile.bundle import Bundle
from transom_compile.mlc.conversation import chat_template
from transom_compile.mlc.errors import InvalidMlcModel
from transom_compile.mlc.seal import mlc_bundle
from transom_compile.progress import Silent
from transom_compile.template_probe import ConversationParts, find_parts
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Manifest

SPELLINGS = {1: "<s>"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mlc_model(tmp_path / "model-q4f16_1-MLC")


@pytest.fixture
def seal(folder: Path, tmp_path: Path) -> Callable[..., tuple[Bundle, tuple[str, ...]]]:
    workspace = tmp_path / "workspace"

    def sealed(library: Path | None = None) -> tuple[Bundle, tuple[str, ...]]:
        workspace.mkdir()
        return mlc_bundle(folder, library, workspace, Silent())

    return sealed


Seal = Callable[..., tuple[Bundle, tuple[str, ...]]]


def manifest_of(bundle: Bundle) -> Manifest:
    (row,) = bundle.index.manifests
    return Manifest.from_bytes(bundle.files[row.digest].read_bytes())


def edit(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_bundle_of_one_platform_whose_bytes_stay_where_they_are(seal: Seal, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    bundle, notes = seal()
    (row,) = bundle.index.manifests
    assert str(row.platform) == "browser/webgpu/f16"
    manifest = manifest_of(bundle)
    assert [part.title for part in manifest.descriptors] == [
        "mlc-chat-config.json",
        "params_shard_0.bin",
        "tensor-cache.json",
        "tokenizer.json",
        "chat_template.jinja",
        "library-f16.wasm",
    ]
    for part in manifest.descriptors:
        assert Digest.of_file(bundle.files[part.digest]) == part.digest
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert bundle.index.annotations["org.opencontainers.image.licenses"] == "mit"
    assert bundle.index.annotations["dev.transom.scheme"] == "q4f16_1"
    assert notes == ()


def test_the_same_model_gives_the_same_index(folder: Path, tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        workspace = tmp_path / str(number)
        workspace.mkdir()
        digests.add(mlc_bundle(folder, None, workspace, Silent())[0].index_digest)
    assert len(digests) == 1


def test_a_stop_text_that_is_a_token_becomes_one(seal: Seal) -> None:
    """The page stops at token ids; "<|im_end|>" is token 3."""
    bundle, _ = seal()
    config = json.loads(bundle.files[manifest_of(bundle).config.digest].read_bytes())
    assert config["conv_template"]["stop_token_ids"] == [2, 3]


def test_a_stop_text_that_is_no_token_is_noted(seal: Seal, folder: Path) -> None:
    path = folder / "mlc-chat-config.json"
    edit(path, lambda config: config["conv_template"].update(stop_str=["User:"]))
    bundle, notes = seal()
    assert notes == ("the page does not stop at the text 'User:'",)
    assert bundle.files[manifest_of(bundle).config.digest] == path, "nothing had to be changed"


def test_the_newer_name_of_the_cache_comes_first(seal: Seal, folder: Path) -> None:
    (folder / "tensor-cache.json").write_bytes((folder / "ndarray-cache.json").read_bytes())
    (folder / "ndarray-cache.json").write_text("older")
    assert "tensor-cache.json" in [part.title for part in manifest_of(seal()[0]).layers]


def test_a_library_may_lie_elsewhere_and_need_no_f16(
    seal: Seal, folder: Path, tmp_path: Path
) -> None:
    (folder / "model-webgpu.wasm").unlink()
    library = tmp_path / "other.wasm"
    library.write_bytes(wasm("TVMFFIFunctionCall"))
    bundle, _ = seal(library)
    assert str(bundle.index.manifests[0].platform) == "browser/webgpu/f32"
    assert manifest_of(bundle).layers[-1].title == "library-f32.wasm"


def test_without_conv_template_the_tokenizer_s_own_template_is_used(
    seal: Seal, folder: Path
) -> None:
    edit(folder / "mlc-chat-config.json", lambda config: config.pop("conv_template"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    bundle, notes = seal()
    assert (bundle.folder / "chat_template.jinja").read_text() == CHATML
    assert notes == ("it has no conv_template; the tokenizer's chat template is used",)


def in_config(change: Callable[[Any], object]) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "mlc-chat-config.json", change)


def in_shard(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit(
        folder / "ndarray-cache.json", lambda cache: cache["records"][0].update(fields)
    )


def in_tensor(**fields: Any) -> Callable[[Path], None]:
    return lambda folder: edit(
        folder / "ndarray-cache.json",
        lambda cache: cache["records"][0]["records"][1].update(fields),
    )


def in_library(data: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "model-webgpu.wasm").write_bytes(data) and None


def twice(cache: Any) -> None:
    cache["records"].append(cache["records"][0])


REFUSED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "mlc-chat-config.json").unlink(), "is no MLC model"),
    "a config that is no JSON": (
        lambda f: (f / "mlc-chat-config.json").write_text("{"),
        "is not JSON",
    ),
    "no model type": (in_config(lambda c: c.pop("model_type")), "has no model_type"),
    "a sliding window": (
        in_config(lambda c: c.update(sliding_window_size=1024)),
        "sliding window of 1024 tokens",
    ),
    "no window": (in_config(lambda c: c.update(context_window_size=-1)), "context_window_size"),
    "nothing to stop at": (
        in_config(
            lambda c: (
                c.pop("eos_token_id"),
                c["conv_template"].update(stop_token_ids=[], stop_str=[]),
            )
        ),
        "names no token that ends",
    ),
    "no cache": (
        lambda f: (f / "ndarray-cache.json").unlink(),
        "neither tensor-cache.json nor ndarray-cache.json",
    ),
    "a cache without shards": (
        lambda f: (f / "ndarray-cache.json").write_text('{"records": []}'),
        "records is not a list of 1 to",
    ),
    "a path that climbs": (in_shard(dataPath="../secret"), "'../secret' is not a plain file name"),
    "an absolute path": (in_shard(dataPath="/etc/passwd"), "is not a plain file name"),
    "a hidden file": (in_shard(dataPath=".bashrc"), "is not a plain file name"),
    "a line break": (in_shard(dataPath="a\nb"), "is not a plain file name"),
    "a shard that is not there": (in_shard(dataPath="params_shard_1.bin"), "has no params_shard_1"),
    "another size": (in_shard(nbytes=63), "has 64 bytes, not 63"),
    "another md5": (in_shard(md5sum="0" * 32), "fetch it again"),
    "an md5 that is none": (in_shard(md5sum="x"), "is no md5"),
    "a shard twice": (lambda f: edit(f / "ndarray-cache.json", twice), "is there twice"),
    "a tensor past the end": (in_tensor(byteOffset=53), "does not fit"),
    "a tensor before the start": (in_tensor(byteOffset=-1), "does not fit"),
    "a shape that is not its bytes": (in_tensor(shape=[2, 4]), "does not fit"),
    "a shape that overflows": (in_tensor(shape=[2**31, 2**31]), "does not fit"),
    "a boolean for a size": (in_tensor(shape=[True, 6]), "does not fit"),
    "an unknown type": (in_tensor(dtype="float8"), "'float8' in format 'raw'"),
    "an unknown format": (in_tensor(format="zip"), "in format 'zip'"),
    "the same tensor twice": (in_tensor(name="model.norm.weight"), "has no name of its own"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "no library": (lambda f: (f / "model-webgpu.wasm").unlink(), "it has: none"),
    "two libraries": (
        lambda f: (f / "b.wasm").write_bytes(b""),
        "it has: b.wasm, model-webgpu.wasm",
    ),
    "a library that is none": (in_library(b"\x7fELF" + bytes(100)), "is not a WebAssembly module"),
    "a library cut off": (in_library(wasm("TVMFFIFunctionCall")[:12]), "older WebLLM|damaged"),
    "a library of an older WebLLM": (in_library(wasm("TVMFuncCall")), "older WebLLM"),
    "a number without end": (in_library(b"\0asm\1\0\0\0\7" + b"\xff" * 20), "is a damaged"),
    "no prompt format": (
        in_config(lambda c: c.pop("conv_template")),
        "nobody can say what a prompt looks like",
    ),
    "a prefix that is no token": (
        in_config(lambda c: c["conv_template"].update(system_prefix_token_ids=[9])),
        "system_prefix_token_ids has 9",
    ),
    "no separators": (in_config(lambda c: c["conv_template"].update(seps=[])), "seps is not"),
    "a system template without a place": (
        in_config(lambda c: c["conv_template"].update(system_template="x")),
        "has no {system_message}",
    ),
    "a role without a name": (
        in_config(lambda c: c["conv_template"].update(roles={"user": 1})),
        "user is not a string",
    ),
    "a control character": (
        in_config(lambda c: c["conv_template"].update(seps=["\0"])),
        "control character",
    ),
}


@pytest.mark.parametrize(("lie", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_belong_together_is_refused(
    folder: Path, seal: Seal, lie: Callable[[Path], object], message: str
) -> None:
    lie(folder)
    with pytest.raises(TransomError, match=message):
        seal()


def test_a_shard_that_is_a_link_is_the_user_s_own_business(
    folder: Path, seal: Seal, tmp_path: Path
) -> None:
    """Hugging Face's cache is made of links."""
    shard = folder / "params_shard_0.bin"
    shard.rename(tmp_path / "blob")
    shard.symlink_to(tmp_path / "blob")
    assert seal()[0].index.manifests


# Prompts: what WebLLM would glue, and what Jinja makes of the template.

CONVERSATIONS = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "Hi")],
    [("user", 'quotes " and \\ and\nlines é'), ("assistant", "Yes."), ("user", "{{ 7 * 7 }}")],
    [("system", "S"), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4")],
]


def render(template: str, messages: list[tuple[str, str]]) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        messages=[{"role": role, "content": text} for role, text in messages],
        add_generation_prompt=True,
    )


def webllm_words(parts: ConversationParts) -> dict[str, Any]:
    """`conv_template` as our own compiler writes it; `parts.prompt` is what WebLLM makes of it."""
    known = asdict(parts)
    return {
        "system_template": known["system_template"],
        "system_message": known["system_message"],
        "render_empty_system_message": known["render_empty_system"],
        "add_role_after_system_message": known["role_after_system"],
        "roles": {"user": known["user_role"], "assistant": known["assistant_role"]},
        "seps": [known["user_suffix"], known["assistant_suffix"]],
        "role_content_sep": "",
        "role_empty_sep": known["reply_suffix"],
    }


DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nDefault.<|im_end|>\n{% endif %}"
)


@pytest.mark.parametrize("template", [CHATML, DEFAULT + CHATML], ids=["chatml", "default system"])
@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_there_and_back_again(template: str, messages: list[tuple[str, str]]) -> None:
    """Jinja -> `conv_template` (our probe) -> Jinja gives the prompts of the first."""
    parts = find_parts(template, "", "")
    back = chat_template(webllm_words(parts), {})
    assert render(back, messages) == parts.prompt(
        [{"role": role, "content": text} for role, text in messages]
    )
    assert render(back, messages) == render(template, messages)


def test_every_word_of_webllm_by_hand() -> None:
    template = chat_template(CONVERSATION, SPELLINGS)
    assert render(template, [("user", "Hi"), ("assistant", "Ho"), ("user", "?")]) == (
        "<s><|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n"
        "<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_defaults_are_webllm_s() -> None:
    """Vicuna's words: no separators after roles given, two in turn after messages."""
    words = {
        "system_template": "{system_message}",
        "system_message": "A chat.",
        "roles": {"user": "USER", "assistant": "ASSISTANT"},
        "seps": [" ", "</s>"],
    }
    template = chat_template(words, {})
    assert render(template, [("user", "a"), ("assistant", "b"), ("user", "c")]) == (
        "A chat.USER: a ASSISTANT: b</s>USER: c ASSISTANT: "
    )
    assert render(template, [("system", ""), ("user", "a")]) == "USER: a ASSISTANT: "


def test_the_first_role_may_be_in_the_system_template() -> None:
    words = {
        "system_template": "[INST] <<SYS>>\n{system_message}\n<</SYS>>\n\n",
        "system_message": "S",
        "add_role_after_system_message": False,
        "render_empty_system_message": False,
        "roles": {"user": "[INST] ", "assistant": "[/INST] "},
        "role_content_sep": "",
        "role_empty_sep": "",
        "seps": [" "],
        "role_templates": {"user": "{function_string}{user_message}!"},
    }
    template = chat_template(words, {})
    assert render(template, [("user", "a")]) == "[INST] <<SYS>>\nS\n<</SYS>>\n\na! [/INST] "
    assert render(template, [("system", ""), ("user", "a")]) == "[INST] a! [/INST] "


def test_a_role_that_the_model_does_not_know_is_refused() -> None:
    template = chat_template(CONVERSATION, SPELLINGS)
    environment = ImmutableSandboxedEnvironment()

    def refuse(text: str) -> None:
        raise InvalidMlcModel(text)

    environment.globals["raise_exception"] = refuse
    with pytest.raises(InvalidMlcModel, match="knows the roles"):
        environment.from_string(template).render(messages=[{"role": "tool", "content": "x"}])
