"""transom_verify without its engines: verdicts, the F32 file, the folder, errors of the command."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

from tests.fakes.tiny_gguf import tiny_llama
from transom_cli import verify_model
from transom_cli.main import run
from transom_models.manifest import Index
from transom_server.exchange.bundle_export import link_bundle
from transom_server.store import Store
from transom_verify import browser_engine, figures
from transom_verify.errors import VerifyError
from transom_verify.f32_gguf import is_f32, write_f32_gguf
from transom_verify.figures import LIMITS, Departure
from transom_verify.verification import bundled_prompts, bundled_text

EXACT = LIMITS["float32"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [([], [], None), ([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1], [1, 2], 1), ([1], [], 0)],
)
def test_first_difference(ours: list[int], theirs: list[int], expected: int | None) -> None:
    assert figures.first_difference(ours, theirs) == expected


def test_ids_that_differ_are_named() -> None:
    check = figures.check_ids("text", [1, 2, 9], [1, 2, 3])
    assert check.passed is False
    assert check.found == "id 2: ours [9], llama.cpp [3]"
    assert figures.check_ids("text", [1], [1]).passed


@pytest.mark.parametrize(
    ("departures", "dtype", "passed"),
    [
        ([Departure(None)], "float32", True),
        ([Departure(3, 9e-3)], "float32", True),
        ([Departure(3, 2e-2)], "float32", False),
        ([Departure(3, 2e-2)], "float16", True),
        ([Departure(3, 1.0)] + [Departure(None)] * 4, "float16", True),
        ([Departure(3, 1.0)] * 2 + [Departure(None)] * 3, "float16", False),
        ([Departure(64, math.inf)], "float32", False),
    ],
)
def test_a_tie_is_no_difference(departures: list[Departure], dtype: str, passed: bool) -> None:
    assert figures.check_greedy("f", departures, LIMITS[dtype]).passed is passed


def test_logits_are_compared_up_to_a_constant() -> None:
    logits = np.random.default_rng(0).normal(size=64).astype(np.float32)
    theirs = figures.log_softmax(logits)
    assert math.isclose(float(np.exp(theirs.astype(np.float64)).sum()), 1, rel_tol=1e-6)
    assert figures.check_logits("f", [logits + 5], [theirs], EXACT).passed
    logits[np.argsort(logits)[-11]] += 0.1
    assert figures.check_logits("f", [logits], [theirs], EXACT).passed is False


def test_a_perplexity_is_held_to_its_limit() -> None:
    ours = [-1.0, -2.0, -3.0]
    assert math.isclose(figures.perplexity(ours), math.e**2)
    near = figures.check_perplexity("f", "F32", ours, [value - 4e-3 for value in ours], 5e-3)
    assert (near.passed, near.figures["tokens"]) == (True, 3)
    assert math.isclose(near.figures["ratio"], math.exp(-4e-3))
    far = figures.check_perplexity("f", "F32", ours, [value - 6e-3 for value in ours], 5e-3)
    assert far.passed is False


def test_rounded_activations_may_miss_by_their_own_error_and_no_more() -> None:
    ours = [-1.0, -2.0, -3.0, -4.0]
    for shift, passed in ((6e-3, True), (1.2e-2, False)):
        # A standard error of 5e-3: two tokens 1e-2 above the mean, two below.
        theirs = [
            value - shift + sign * 1e-2 for value, sign in zip(ours, (1, -1, 1, -1), strict=True)
        ]
        check = figures.check_perplexity("f", "file", ours, theirs, 5e-3, rounded=True)
        assert math.isclose(check.figures["standard_error"], 5e-3, rel_tol=1e-6)
        assert check.passed is passed
        assert figures.check_perplexity("f", "F32", ours, theirs, 5e-3).passed is False


def test_the_f32_file_holds_the_same_weights_and_words(tmp_path: Path) -> None:
    source, out = tmp_path / "q.gguf", tmp_path / "f32.gguf"
    kinds = {"blk.0.ffn_up.weight": GGMLQuantizationType.Q8_0}
    source.write_bytes(tiny_llama(kinds=kinds).to_bytes())
    told: list[int] = []
    write_f32_gguf(source, out, told.append)
    before, after = GGUFReader(source), GGUFReader(out)
    assert (is_f32(source), is_f32(out)) == (False, True)
    words = [field.name for field in before.fields.values() if not field.name.startswith("GGUF.")]
    assert set(words) <= set(after.fields)
    for name in words:
        assert after.fields[name].contents() == before.fields[name].contents(), name
    rows = zip(before.tensors, after.tensors, strict=True)
    for old, new in rows:
        assert (old.name, list(old.shape)) == (new.name, list(new.shape))
        np.testing.assert_array_equal(
            dequantize(old.data, old.tensor_type).ravel(), np.asarray(new.data).ravel()
        )
    assert sum(told) == sum(4 * int(tensor.n_elements) for tensor in before.tensors)


def test_a_stored_model_becomes_a_folder_of_links(filled: Store, tmp_path: Path) -> None:
    (model,) = filled.list_models()
    link_bundle(filled, model, tmp_path)
    index = Index.from_bytes((tmp_path / "index.json").read_bytes())
    assert index == model.index
    for row in index.manifests:
        assert (tmp_path / "manifests" / f"{row.digest.hex}.json").is_file()
        if row.platform is not None and row.platform.os == "browser":
            for part in filled.get_manifest(row).descriptors:
                assert part.title is not None
                assert (tmp_path / part.title).stat().st_size == part.size


def test_the_bundled_text_has_many_scripts() -> None:
    text = bundled_text()
    for piece in ("transom", "Свет", "φως", "光", "门", "النور", "दरवाज़ा", "🙂", "def lit"):
        assert piece in text
    assert all(row[-1]["role"] == "user" for row in bundled_prompts())


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the engine for Node were built."""
    monkeypatch.setattr(verify_model, "engine_path", lambda: Path("generate.mjs"))


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "no model"),
        (["."], "name it: --gguf"),
        (["nobody", "--text", "missing.txt"], "does not exist"),
        (["nobody", "--adapter", "abacus"], "is not one of"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify-model", *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert words in printed
    assert printed.count("\n") == 1


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str, path: str | None) -> Callable[[], Path]:
        monkeypatch.setattr(browser_engine.shutil, "which", lambda _: path)
        monkeypatch.setattr(browser_engine.Path, "is_file", lambda _: name == "built")
        return browser_engine.engine_path

    with pytest.raises(VerifyError, match=r"npm run build:node"):
        found("nothing", "/bin/node")()
    with pytest.raises(VerifyError, match=r"no Node\.js"):
        found("built", None)()
    assert found("built", "/bin/node")().name == "generate.mjs"
