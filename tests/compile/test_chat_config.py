"""Chat templates said in WebLLM's words, or honestly not; and the rest of the chat config."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compile import tokenizer_vocabularies as vocabularies
from tests.fakes.tiny_gguf import CHATML, tokenizer_metadata
from transom_compile import template_sandbox
from transom_compile.chat_config import ChatSettings, build_chat_config
from transom_compile.sources.gguf import open_checkpoint
from transom_compile.template_lint import lint_template
from transom_compile.template_probe import ProbeFailed, find_parts, probe_template
from transom_compile.tokenizers import convert_tokenizer

LLAMA_3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
THINKING = CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}")
# The system message becomes the opening of the first user turn.
GEMMA_LIKE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}"
    "{% set role = 'model' if message['role'] == 'assistant' else 'user' %}"
    "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') + message['content']"
    " + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ALWAYS_A_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "{{ '[SYS]Knowledge: 2023\n' + system + '[/SYS]' }}{% for message in messages %}"
    "{{ '[' + message['role'] + ']' + message['content'] + '[/]' }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_smollm2_gets_its_prompt_pieces_and_its_own_system_message(smollm2: Path) -> None:
    template = open_checkpoint(smollm2).metadata["tokenizer.chat_template"]
    parts = probe_template(str(template), "<|im_start|>", "<|im_end|>")
    assert parts.system_template == "<|im_start|>system\n{system_message}<|im_end|>\n"
    assert parts.system_message.startswith("You are a helpful AI assistant named SmolLM")
    assert (parts.user_role, parts.user_suffix) == ("<|im_start|>user\n", "<|im_end|>\n")
    assert parts.assistant_role == "<|im_start|>assistant\n"
    assert not parts.starts_with_bos


def test_chatml_without_a_system_message_writes_none() -> None:
    parts = find_parts(CHATML, "", "")
    assert (parts.system_message, parts.render_empty_system) == ("", False)
    assert parts.prompt([{"role": "user", "content": "hi"}]) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_llama_3_sends_bos_as_an_id() -> None:
    parts = find_parts(LLAMA_3, "<|begin_of_text|>", "<|eot_id|>")
    assert parts.starts_with_bos
    assert parts.system_template.startswith("<|start_header_id|>system")


def test_a_reply_header_longer_than_a_past_reply_s_is_kept() -> None:
    parts = find_parts(THINKING, "", "")
    assert parts.assistant_role == "<|im_start|>assistant\n"
    assert parts.reply_suffix == "<think>\n"


def test_a_system_message_inside_the_first_user_turn() -> None:
    parts = find_parts(GEMMA_LIKE, "<bos>", "<eos>")
    assert not parts.role_after_system
    assert parts.system_template == "<start_of_turn>user\n{system_message}\n\n"
    assert parts.starts_with_bos


def test_an_empty_system_message_that_is_always_written() -> None:
    parts = find_parts(ALWAYS_A_SYSTEM, "", "")
    assert (parts.system_message, parts.render_empty_system) == ("", True)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% if", "TemplateSyntaxError"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("fixed text", "changes, drops or moves"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "repeats"),
        (CHATML.replace("message['content']", "message['content'] | upper"), "changes, drops"),
        (CHATML.replace("'\n' + message", "loop.index ~ '\n' + message"), "depends|fixed"),
        ("{% for m in messages %}{{ m.nothing.more }}{% endfor %}", "UndefinedError"),
    ],
)
def test_a_template_that_cannot_be_said_gives_the_reason(template: str, reason: str) -> None:
    with pytest.raises(ProbeFailed, match=reason):
        probe_template(template, "", "")


def test_a_template_that_loops_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "TIMEOUT_SECONDS", 2)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ProbeFailed, match="longer than 2 s"):
        probe_template(loop, "", "")


def test_a_template_that_eats_memory_is_stopped() -> None:
    double = "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
    with pytest.raises(ProbeFailed, match=r"MemoryError|too much memory"):
        probe_template(double + "{% endfor %}{{ n.x }}", "", "")


def test_a_huge_template_is_not_tried() -> None:
    with pytest.raises(ProbeFailed, match="longer than"):
        probe_template(" " * (template_sandbox.MAX_TEMPLATE_BYTES + 1), "", "")


@dataclass(frozen=True)
class TinyConfig:
    vocab_size: int = 264


def document(**changes: Any) -> dict[str, Any]:
    metadata = tokenizer_metadata()
    metadata |= {key.replace("__", "."): value for key, value in changes.items()}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    tokenizer = convert_tokenizer(metadata)
    settings = ChatSettings(
        "llama", TinyConfig(), 256, 64, "q4_1", {"name": "Tiny"},
        template=lint_template(metadata, tokenizer),
    )  # fmt: skip
    chat = build_chat_config(metadata, tokenizer, settings)
    loaded: dict[str, Any] = json.loads(chat.json_bytes)
    return loaded


def test_the_config_has_what_webllm_reads() -> None:
    config = document()
    assert config["tokenizer_files"] == ["tokenizer.json"]
    assert config["tokenizer_info"]["token_postproc_method"] == "byte_level"
    assert (config["context_window_size"], config["sliding_window_size"]) == (256, -1)
    assert (config["vocab_size"], config["prefill_chunk_size"]) == (264, 64)
    conversation = config["conv_template"]
    assert conversation["roles"] == {
        "user": "<|im_start|>user\n",
        "assistant": "<|im_start|>assistant\n",
    }
    assert conversation["seps"] == ["<|im_end|>\n", "<|im_end|>\n"]
    assert (conversation["role_content_sep"], conversation["role_empty_sep"]) == ("", "")
    assert config["transom"]["conv_template"] == "exact"
    assert config["transom"]["chat_template"] == "chat_template.jinja"
    assert "system_prefix_token_ids" not in conversation


def test_tokenizer_info_says_how_bytes_are_written() -> None:
    spaced = document(**sentence_piece_keys(adds_space=True))["tokenizer_info"]
    assert spaced == {
        "token_postproc_method": "byte_fallback",
        "prepend_space_in_encode": True,
        "strip_space_in_decode": True,
    }
    bare = document(**sentence_piece_keys(adds_space=False))["tokenizer_info"]
    assert (bare["prepend_space_in_encode"], bare["strip_space_in_decode"]) == (False, False)


def sentence_piece_keys(adds_space: bool) -> dict[str, Any]:
    """A tiny SentencePiece vocabulary in place of the byte-level one."""
    keys = {
        key: item
        for key, item in vocabularies.sentence_piece(adds_space).items()
        if key.startswith("tokenizer.")
    }
    return {key: None for key in tokenizer_metadata() if key != "tokenizer.chat_template"} | keys


def test_what_the_template_does_is_said() -> None:
    said = document()["transom"]["template"]
    assert said == {"system": "supported", "tools": "none", "problems": [], "notes": []}


def test_stops_are_eos_and_every_end_of_turn() -> None:
    # eos is <|im_end|> (2); llama.cpp also stops at <|endoftext|> (0).
    assert document()["conv_template"]["stop_token_ids"] == [0, 2]
    assert document()["eos_token_id"] == [2, 0], "the first is what templates call eos_token"
    other = document(tokenizer__ggml__eos_token_id=0)
    assert other["conv_template"]["stop_token_ids"] == [0, 2], "the template's own end of turn"
    assert other["eos_token_id"] == [0, 2]


def test_bos_travels_as_an_id_when_the_tokenizer_adds_it() -> None:
    config = document(tokenizer__ggml__add_bos_token=True)
    assert config["conv_template"]["system_prefix_token_ids"] == [1]


def test_without_a_template_the_config_says_so() -> None:
    config = document(tokenizer__chat_template=None)
    assert config["transom"]["conv_template"].startswith("unavailable: the checkpoint has no chat")
    assert config["transom"]["chat_template"] is None
    assert config["conv_template"]["roles"] == {"user": "", "assistant": ""}


def test_unknown_ids_are_left_out_because_webllm_tests_for_undefined() -> None:
    config = document(tokenizer__ggml__bos_token_id=None)
    assert "bos_token_id" not in config
    assert "pad_token_id" not in config


@pytest.mark.parametrize(
    ("given", "found"), [(0.20000000298023224, 0.2), (None, 0.8), (-1.0, 0.8), ("hot", 0.8)]
)
def test_sampling_defaults_come_from_the_checkpoint(given: object, found: float) -> None:
    assert document(general__sampling__temp=given)["temperature"] == found
