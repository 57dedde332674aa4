"""pytest tests/pyserver/test_sounds.py: sounds in a conversation, with a tiny random encoder."""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.pictures import png
from tests.fakes.sounds import flac, mp3, wav
from tests.fakes.tiny_audio_projector import VECTORS, tiny_audio_projector
from tests.fakes.tiny_gguf import tiny_llama
from tests.fakes.tiny_projector import tiny_projector
from tests.pyserver.native_models import OPTIONS, put_native
from transom_api.fields import Fields, InvalidField
from transom_api.sound_files import MAX_SECONDS, read_sound
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

# What is short is mostly silence.
LONG = 29


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("sounds") / "models"
    store = Store(folder)
    weights = tiny_llama(metadata={"llama.context_length": 4096}).to_bytes()
    options = {**OPTIONS, "num_predict": 12}
    put_native(store, "deaf", weights, parameters=options)
    hears = tiny_audio_projector().to_bytes()
    put_native(store, "hears", weights, parameters=options, projector=hears)
    sees = tiny_projector().to_bytes()
    put_native(store, "sees", weights, parameters=options, projector=sees)
    app = create_app(Config.read({"TRANSOM_MODELS": str(folder)}))
    yield app.test_client()
    app.extensions["transom_close"]()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def part(data: bytes, kind: str = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": in_base64(data), "format": kind}}


def ask(client: FlaskClient, *parts: dict[str, Any], model: str = "hears") -> Any:
    content = [*parts, {"type": "text", "text": "hello"}]
    messages = [{"role": "user", "content": content}]
    return client.post("/v1/chat/completions", json={"model": model, "messages": messages})


def said(client: FlaskClient, *parts: dict[str, Any]) -> tuple[str, int]:
    answer = ask(client, *parts)
    assert answer.status_code == 200, answer.text
    found = answer.get_json()
    return found["choices"][0]["message"]["content"], found["usage"]["prompt_tokens"]


def test_what_is_heard_counts(client: FlaskClient) -> None:
    without, before = said(client)
    low, tokens = said(client, part(wav(200, LONG)))
    assert tokens == before + VECTORS
    assert low != without
    assert low != said(client, part(wav(3000, LONG)))[0]
    assert low == said(client, part(wav(200, LONG)))[0]
    assert said(client, part(wav(200)), part(wav(3000)))[1] == before + 2 * VECTORS


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (wav(rate=44_100), "wav"),
        (wav(seconds=31), "wav"),
        (mp3(), "mp3"),
        (b"ID3\4\0\0\0\0\0\12" + bytes(10) + mp3() + b"TAG" + bytes(125), "mp3"),
        (flac(3), "flac"),
    ],
    ids=["another rate", "two windows", "mp3", "mp3 with tags", "flac"],
)
def test_each_format_is_heard(client: FlaskClient, data: bytes, kind: str) -> None:
    before = said(client)[1]
    assert said(client, part(data, kind))[1] in (before + VECTORS, before + 2 * VECTORS)


def test_what_can_be_heard_is_told(client: FlaskClient) -> None:
    def abilities(model: str) -> list[str]:
        found: list[str] = client.post("/api/show", json={"model": model}).get_json()[
            "capabilities"
        ]
        return found

    assert abilities("hears") == ["completion", "audio"]
    assert abilities("sees") == ["completion", "vision"]
    assert abilities("deaf") == ["completion"]


def test_who_cannot_is_not_asked(client: FlaskClient) -> None:
    for model in ("deaf", "sees"):
        answer = ask(client, part(wav()), model=model)
        assert (answer.status_code, "hears no sound" in answer.text) == (400, True)
    url = f"data:image/png;base64,{in_base64(png(0))}"
    answer = ask(client, {"type": "image_url", "image_url": {"url": url}})
    assert (answer.status_code, "sees no images" in answer.text) == (400, True)
    together = ask(client, *[part(flac(130, 65_536), "flac")] * 2)
    assert (together.status_code, "seconds together" in together.text) == (400, True)


def changed(data: bytes, at: int, form: str, *values: int) -> bytes:
    new = struct.pack(form, *values)
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "kind", "problem"),
    [
        (b"junk" * 99, "wav", "does not begin as one"),
        (mp3(), "wav", "does not begin as one"),
        (wav(), "mp3", "does not begin as one"),
        (wav(), "flac", "does not begin as one"),
        (wav()[:30], "wav", "breaks off"),
        (wav()[:44], "wav", "says 16000 bytes of sound, and has 0"),
        (wav(seconds=0), "wav", "lasts 0 seconds"),
        (wav(rate=8)[:60], "wav", "8 samples a second are not from 8000"),
        (changed(wav(), 24, "<I", 1), "wav", "1 samples a second"),
        (changed(wav(), 24, "<I", 2**31), "wav", "2147483648 samples a second"),
        (changed(wav(), 40, "<I", 2**31), "wav", "says 2147483648 bytes of sound, and has 16000"),
        (changed(wav(), 20, "<H", 2), "wav", r"kind 2, 16 bits\) cannot"),
        (changed(wav(), 22, "<H", 99), "wav", "99 channels"),
        (changed(wav(), 32, "<H", 0), "wav", "cannot be read"),
        (mp3(23_000), "mp3", f"lasts 601 seconds; a sound may last up to {MAX_SECONDS}"),
        (mp3(3) + bytes(5000), "mp3", "byte 312 begins no frame"),
        (b"ID3" + bytes(500), "mp3", "does not begin as one"),
        (flac(0), "flac", "does not say how long"),
        (flac(1, rate=100), "flac", "100 samples a second"),
        # 20 minutes in 5 KB, and a header that says nothing of it.
        (flac(300, 65_536), "flac", "lasts 1229 seconds"),
        (flac(300, 65_536, said=4096), "flac", "lasts 1229 seconds"),
        (flac(2, said=2**36 - 1), "flac", "it says 68719476735 samples, and has 8192"),
        (b"fLaC" + bytes(5), "flac", "does not begin as one"),
    ],
)
def test_what_lies_is_refused_before_any_engine(data: bytes, kind: str, problem: str) -> None:
    with pytest.raises(InvalidField, match=problem):
        read_sound(Fields({"data": in_base64(data)}), "data", kind)


def test_how_long_they_are() -> None:
    def seconds(data: bytes, kind: str) -> float:
        return read_sound(Fields({"data": in_base64(data)}), "data", kind).seconds

    assert seconds(wav(seconds=2.5, rate=44_100), "wav") == 2.5
    assert seconds(mp3(100), "mp3") == pytest.approx(100 * 1152 / 44_100)
    assert seconds(flac(200), "flac") == pytest.approx(200 * 4096 / 16_000)
