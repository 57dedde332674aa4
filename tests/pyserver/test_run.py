"""pytest tests/pyserver/test_run.py: `transom run`, `ps`, `stop`, as people and pipes use them.

llama.cpp answers with a tiny random model, whose words mean nothing; with a seed of nothing but
likeliest tokens they are the same each time.
"""

import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import OPTIONS, put_native
from tests.pyserver.terminal import CTRL_C, CTRL_D, UP, terminal
from transom_cli.main import run
from transom_cli.ps import until_text
from transom_cli.talk import BadImage, Typed, figures, find_images
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.http.serving import Server, serving
from transom_server.model.model_details import look_at
from transom_server.settings.config import Config
from transom_server.store import Store

Run = Callable[..., tuple[int, str, str]]
PROMPT = ">>>"
# Its answers are JSON of one word: the only ones of a random model that can be read.
WORD = '{"enum": ["yes"]}'


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A tiny model; no server where the settings say."""
    store = Store(tmp_path / "models")
    put_native(store, "tiny", system="be brief", parameters={**OPTIONS, "num_predict": 6})
    monkeypatch.setenv("TRANSOM_PORT", "1")
    monkeypatch.delenv("TRANSOM_REGISTRY", raising=False)
    return store


@pytest.fixture
def command(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command line with text on stdin; exit code and both streams."""

    def run_it(*arguments: str, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        code = run(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_it


@pytest.fixture
def server(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server where the settings say."""
    config = Config.read(os.environ, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        monkeypatch.setenv("TRANSOM_PORT", str(running.port))
        yield running


# One answer


def test_one_answer(command: Run) -> None:
    code, out, err = command("run", "tiny", "hello")
    assert code == 0, err
    assert out.endswith("\n")
    assert len(out) > 1
    assert "num_predict or num_ctx is reached" in err
    assert command("run", "tiny", "hello")[1] == out


def test_stdin_comes_first_and_the_prompt_after_it(command: Run) -> None:
    def tokens(*prompt: str, piped: str = "") -> int:
        code, out, err = command("run", "tiny", *prompt, "--json", piped=piped)
        assert code == 0, err
        count: int = json.loads(out)["prompt_eval_count"]
        return count

    together = tokens("hello", "hello", piped="w")
    assert together == tokens("w hello hello")
    assert together == tokens(piped="w hello hello")


def test_nothing_asked_is_nothing_said(command: Run) -> None:
    assert command("run", "tiny") == (0, "", "")


def test_form_and_figures(command: Run) -> None:
    code, out, err = command("run", "tiny", "hello", "--format", WORD, "--verbose")
    assert (code, out) == (0, '"yes"\n')
    assert "eval rate:" in err
    assert command("run", "tiny", "hello", "--format", "yaml")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none", "hello"], "no model none in the store"),
        (["../x", "hello"], "model name"),
        (["tiny", "hello", "--think", "often"], "'--think'"),
        (["tiny", "hello", "--keepalive", "soon"], "keep_alive: 'soon'"),
        (["tiny", "hello" * 2000], "num_ctx"),
    ],
)
def test_errors_are_one_line(command: Run, arguments: list[str], reason: str) -> None:
    code, out, err = command("run", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert reason in err
    assert err.count("\n") == 1


def test_a_picture_for_a_model_that_sees_none(command: Run, tmp_path: Path) -> None:
    picture = tmp_path / "a b.png"
    picture.write_bytes(b"GIF89a\1\0\1\0")
    code, _, err = command("run", "tiny", f"what is in '{picture}'")
    assert (code, err) == (2, "error: messages: tiny sees no images; leave them out\n")


def test_a_model_that_is_missing_is_pulled_first(
    server: Server, tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the registry that the settings name: here our own other store."""
    registry = f"127.0.0.1:{server.port}"
    monkeypatch.setenv("TRANSOM_PORT", "1")
    monkeypatch.setenv("TRANSOM_MODELS", str(tmp_path / "other"))
    monkeypatch.setenv("TRANSOM_REGISTRY", registry)
    code, out, err = command("run", "tiny", "hello", "--format", WORD)
    assert code == 0, err
    assert out == '"yes"\n'
    assert "pulling manifest" in err
    assert Store(tmp_path / "other").resolve(ModelName.parse("tiny")) is not None


# ps and stop


def test_ps_and_stop(server: Server, command: Run) -> None:
    assert command("ps") == (0, "", "no model is loaded; load one with: transom run\n")
    assert command("run", "tiny", "hello", "--keepalive", "90m")[0] == 0
    code, out, _ = command("ps")
    assert code == 0
    heading, row = out.splitlines()
    assert heading.split() == ["NAME", "ID", "SIZE", "CONTEXT", "UNTIL"]
    assert row.startswith("tiny:latest")
    assert "1 h 29 min from now" in row or "1 h 30 min from now" in row
    (model,) = json.loads(command("ps", "--json")[1])
    assert model["context_length"] == 256
    assert command("stop", "tiny") == (0, "", "")
    assert json.loads(command("stop", "tiny", "--json")[1]) == {"name": "tiny"}
    assert json.loads(command("ps", "--json")[1]) == []
    code, _, err = command("stop", "none")
    assert code == 2
    assert "no model none" in err


def test_without_a_server_nothing_is_loaded(command: Run) -> None:
    assert command("ps", "--json") == (0, "[]\n", "")
    code, _, err = command("stop", "tiny")
    assert (code, err.split(";")[0]) == (2, "error: no server answers at http://127.0.0.1:1")


def test_when_it_is_let_go_of() -> None:
    assert until_text(1e10) == "forever"
    assert until_text(150) == "2 min 30 s from now"
    assert until_text(-1) == "now"


# At a terminal


@pytest.fixture
def environment(store: Store, tmp_path: Path) -> dict[str, str]:
    return {
        "TRANSOM_MODELS": str(store.root),
        "TRANSOM_PORT": "1",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def test_a_conversation(environment: dict[str, str], tmp_path: Path, store: Store) -> None:
    with terminal(["run", "tiny", "--format", WORD], environment) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for('"yes"', PROMPT)
        # History, and the line before in it.
        screen.type(UP)
        screen.wait_for("hello")
        screen.type("\r")
        screen.wait_for('"yes"', PROMPT)
        # A message of two lines.
        screen.type('"""one\r')
        screen.wait_for("...")
        screen.type('two"""\r')
        screen.wait_for('"yes"', PROMPT)
        screen.type("/set parameter temperature 0.5\r")
        screen.wait_for("parameter is set", PROMPT)
        screen.type("/set parameter temperature hot\r")
        screen.wait_for("error: temperature must be a number", PROMPT)
        screen.type("/set system talk\r")
        screen.wait_for("system is set", PROMPT)
        screen.type("/set verbose\r")
        screen.wait_for("verbose is set", PROMPT)
        screen.type("hello\r")
        screen.wait_for('"yes"', "eval rate:", PROMPT)
        screen.type("/show parameters\r")
        screen.wait_for("num_predict", "set in this conversation:\ntemperature 0.5", PROMPT)
        screen.type("/show system\r")
        screen.wait_for("talk", PROMPT)
        screen.type("/show info\r")
        screen.wait_for("architecture:     llama", "context length:   256", PROMPT)
        screen.type("/show template\r")
        screen.wait_for("<|im_start|>", PROMPT)
        screen.type("/nonsense\r")
        screen.wait_for("/nonsense is no command", PROMPT)
        screen.type("/? set\r")
        screen.wait_for("/set nothink", PROMPT)
        screen.type("/load none\r")
        screen.wait_for("error: no model none", PROMPT)
        screen.type("/save mine\r")
        screen.wait_for("saved as mine", PROMPT)
        screen.type("/clear\r")
        screen.wait_for("is forgotten", PROMPT)
        screen.type("/load mine\r")
        screen.wait_for("talking with mine", PROMPT)
        screen.type(CTRL_C)
        screen.wait_for("(Ctrl-D or /bye ends)", PROMPT)
        screen.type("/bye\r")
        assert screen.wait_for_end() == 0
    history = tmp_path / "state" / "transom" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "+hello\n" in history.read_text()
    saved = look_at(store, ModelName.parse("mine")).texts
    assert saved.system == "talk"
    assert saved.parameters["temperature"] == 0.5
    assert saved.messages[-2:] == (("user", "hello"), ("assistant", '"yes"'))


def test_ctrl_c_stops_the_answer_and_ctrl_d_ends(environment: dict[str, str], store: Store) -> None:
    """The model would go on for minutes."""
    endless = tiny_llama(seed=1, metadata={"llama.context_length": 65536}).to_bytes()
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    put_native(store, "endless", endless, template=plain, parameters={**OPTIONS, "num_ctx": 65536})
    with terminal(["run", "endless", "--nowordwrap"], environment) as screen:
        screen.wait_for(PROMPT)
        screen.type("/set nohistory\r")
        screen.wait_for("nohistory is set", PROMPT)
        screen.type("hello w\r")
        screen.wait_for("hello w\n", "\N{REPLACEMENT CHARACTER}")
        screen.type(CTRL_C)
        screen.wait_for("\n", PROMPT)
        screen.type("/set parameter num_predict 1\r")
        screen.wait_for("parameter is set", PROMPT)
        screen.type("hello\r")
        screen.wait_for("is reached)", PROMPT)
        screen.type(CTRL_D)
        assert screen.wait_for_end() == 0


# Words


def typed(wrap: bool, width: int | None, *pieces: str) -> str:
    written: list[str] = []
    shown = Typed(wrap, width, written.append)
    for piece in pieces:
        shown.show(piece)
    shown.end()
    return "".join(written)


def test_words_do_not_break_at_the_edge() -> None:
    assert typed(True, 11, "one two th", "ree four") == "one two \nthree four"
    assert typed(True, 10, "a" * 12, " b\n\nc") == "a" * 12 + "\nb\n\nc"
    assert typed(False, 11, "one two th", "ree four") == "one two three four"


def test_a_model_cannot_steer_the_terminal_but_may_fill_a_pipe() -> None:
    assert typed(True, 80, "a\x1b[2J\tb") == "a\N{REPLACEMENT CHARACTER}[2J\tb"
    assert typed(True, None, "a\x1b[2J\tb") == "a\x1b[2J\tb"


def test_pictures_in_a_message(tmp_path: Path) -> None:
    for name in ("a.png", "b c.JPG"):
        (tmp_path / name).write_bytes(b"PNG")
    one, two = f"{tmp_path}/a.png", f"{tmp_path}/b\\ c.JPG"
    assert find_images(f"look {one}") == ("look", ["UE5H"])
    assert find_images(f"{one} and {two} too") == ("and  too", ["UE5H", "UE5H"])
    assert find_images(f'see "{tmp_path}/b c.JPG"') == ("see", ["UE5H"])
    assert find_images("no /nowhere/a.png here") == ("no /nowhere/a.png here", [])
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(40 * 1024 * 1024)
    with pytest.raises(BadImage, match="bytes"):
        find_images(str(huge))


def test_figures() -> None:
    text = figures({"eval_count": 10, "eval_duration": 2_000_000_000, "total_duration": 3e9})
    assert "eval rate:            5.00 tokens/s" in text
    assert "total duration:       3.0 s" in text
