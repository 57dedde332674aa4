"""pytest tests/pyserver/test_show_memory.py: `transom show NAME --memory`, without any load."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tiny_bert import tiny_bert
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import put_native
from transom_cli.main import run
from transom_server.engines import budget, memory_view
from transom_server.engines.budget import free_bytes
from transom_server.store import Store

Shown = Callable[..., dict[str, Any]]
# Keys and values of one token: two heads of 16 each, two bytes a number, two layers.
TOKEN_BYTES = 2 * 2 * 16 * 2 * 2


@pytest.fixture
def shown(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shown:
    long = tiny_llama(metadata={"llama.context_length": 1_000_000}).to_bytes()
    put_native(store, "long", long, parameters={"num_ctx": 2048})
    put_native(store, "bert", tiny_bert().to_bytes(), parameters={})
    put_native(store, "junk", b"GGUF" + bytes(64))
    monkeypatch.setenv("TRANSOM_MODELS", str(store.location))
    monkeypatch.setattr(memory_view, "free_bytes", lambda: 10**9)

    def show(*arguments: str) -> dict[str, Any]:
        assert run(["show", *arguments, "--memory", "--json"]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    return show


def test_as_the_model_would_be_loaded(shown: Shown) -> None:
    told = shown("long")
    assert (told["context_tokens"], told["parallel"], told["kv_type"]) == (2048, 4, "f16")
    assert told["bytes"]["kv_cache"] == 4 * 2048 * TOKEN_BYTES
    assert told["total_bytes"] == sum(told["bytes"].values())
    assert (told["fits"], told["fits_now"]) == (True, True)
    assert (told["trained_tokens"], told["asked_tokens"]) == (1_000_000, None)
    larger = shown("long", "--ctx", "8192")
    assert larger["bytes"]["kv_cache"] == 2 * 8192 * TOKEN_BYTES
    assert shown("bert")["task"] == "embed"


def test_more_than_it_was_trained_for(shown: Shown) -> None:
    told = shown("long", "--ctx", "2000000")
    assert (told["context_tokens"], told["asked_tokens"]) == (1_000_000, 2_000_000)


def test_what_does_not_fit_and_what_would(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_MEMORY", "200M")
    told = shown("long", "--ctx", "900000")
    assert (told["fits"], told["fits_now"]) == (False, False)
    largest = told["largest_context_tokens"]
    assert 100_000 < largest < 900_000
    assert shown("long", "--ctx", str(largest))["fits"]
    assert not shown("long", "--ctx", str(largest + 20_000))["fits"]
    monkeypatch.setattr(memory_view, "free_bytes", lambda: 60_000_000)
    told = shown("long", "--ctx", str(largest))
    assert (told["fits"], told["fits_now"]) == (True, False)
    assert told["largest_context_tokens"] < largest
    monkeypatch.setenv("TRANSOM_MEMORY", "1M")
    assert shown("long")["largest_context_tokens"] is None


def test_settings_count(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_PARALLEL", "3")
    monkeypatch.setenv("TRANSOM_KV_TYPE", "q8_0")
    told = shown("long")
    assert (told["parallel"], told["kv_type"]) == (3, "q8_0")
    assert told["bytes"]["kv_cache"] == 3 * 2048 * TOKEN_BYTES // 64 * 34


def test_for_people(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del shown
    monkeypatch.setenv("TRANSOM_MEMORY", "20M")
    assert run(["show", "long", "--memory", "--ctx", "2000000"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "context 1000000 tokens, of 1000000 trained; asked for 2000000" in lines
    assert "requests at once 1" in lines
    assert "keys and values as f16" in lines
    assert "fits no" in lines
    assert "largest context none fits" in lines


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("long", "--ctx", "5"), "--ctx belongs to --memory"),
        (("long", "--memory", "--template"), "--memory is printed alone"),
        (("none", "--memory"), "no model none"),
        (("junk", "--memory"), "error: "),
    ],
)
def test_what_is_refused(
    shown: Shown, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    del shown
    assert run(["show", *arguments]) == 2
    assert problem in capsys.readouterr().err


def test_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 4000 kB\nMemAvailable: 1000 kB\n")
    assert free_bytes(tmp_path) == 1000 * 1024
    (tmp_path / "proc/meminfo").write_text("MemTotal: 500 kB\nMemAvailable: 1000 kB\n")
    assert free_bytes(tmp_path) == 500 * 1024
    assert budget.free_bytes(tmp_path / "none") is None
