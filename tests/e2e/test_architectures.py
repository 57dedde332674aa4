"""Every architecture in every kind of weights, against `transformers` in f32; makes docs/models.md.

A tiny random checkpoint goes the whole way: Hugging Face folder, GGUF, quantizer, shards,
program, the page's engine in Node on Mesa's llvmpipe. The oracle computes in f32 on what `gguf`
dequantizes from the same file, so a block type costs no accuracy here: what differs are sums.
llama.cpp must load each file, and speak as the oracle does on the F32 one.

    pytest tests/e2e/test_architectures.py --write-models-table

puts what was measured into the table. Without it fewer cells run (CI has an hour): every block type
on llama, and on each architecture F32 weights and a K-quant mix, the mix in all programs. What is
measured then must keep what the table says. Of three the library for other runtimes runs
as well, by TVM's virtual machine.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import llama_cpp, node_engine, tiny_checkpoints
from tests.e2e.commands import ROOT
from tests.e2e.tiny_checkpoints import MODELS, PROMPT_TOKENS, STEPS
from transom_compile import libraries
from transom_compile.hub.convert import convert_folder
from transom_compile.pipeline import CompileOptions, compile_bundle
from transom_compile.progress import Silent
from transom_compile.quantize import quantize_gguf

DOCUMENT = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
HEADER = (
    "| architecture | weights | program | block types of the matrices | max logit difference "
    "| greedy agreement | file | |"
)
RULE = "|---|---|---|---|---|---|---|---|"
LIMIT_F32 = 1e-3
"""The issue's, for F32 weights; our f32 programs keep it for every block type."""
NOISE = LIMIT_F32 / 10
"""What another CPU's order of sums may add before a bound of the table counts as passed."""
LIMIT_F16 = 0.15
"""Logits reach 5 to 20 here; each of some hundred f16 sums and roundings costs about 1e-3 of it."""
F16_MAY_LEAVE = 2
"""Of STEPS greedy tokens in f16; each must have been closer than LIMIT_F16 to the best."""
TIE_F32 = 1e-2

# Every block type on one architecture, the common ones on each. Scheme of the quantizer -> its row.
COMMON = ("f32", "f16", "q8_0", "q4_0", "q4_k_m")
ALL = (
    *COMMON, "bf16", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q5_k_m", "q6_k",
    "iq4_nl", "iq4_xs", "mxfp4",
)  # fmt: skip
# The one scheme whose fallback and f16 programs run as well.
EVERY_PROGRAM = "q4_k_m"
DAILY = ("f32", EVERY_PROGRAM)

# Files whose library runs as well, without a row in the table: plain attention, capped scores,
# windows with ropes of their own.
WITH_LIBRARY = {("llama", "f32"), ("gemma2", "f32"), ("gemma3", "f32")}

PROGRAMS = ("f32", "f32-fallback", "f16")
LIBRARY = "library"
FILES = {**{name: f"program-{name}.json" for name in PROGRAMS}, LIBRARY: "library-f32.wasm"}
Key = tuple[str, str, str]
"""Checkpoint, scheme, program."""

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Row:
    """One cell of the table: a library of one file against the oracle."""

    checkpoint: str
    scheme: str
    library: str
    block_types: str
    difference: float
    agreeing: int

    @property
    def key(self) -> Key:
        return self.checkpoint, self.scheme, self.library

    @property
    def limit(self) -> float:
        return LIMIT_F16 if self.library == "f16" else LIMIT_F32

    @property
    def verdict(self) -> str:
        least = STEPS - (F16_MAY_LEAVE if self.library == "f16" else 0)
        return "ok" if self.difference <= self.limit and self.agreeing >= least else "differs"


class Results:
    """What this run has measured, and the checkpoints that it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[Key, Row] = {}
        self._bases: dict[str, tuple[Any, Path]] = {}

    def base(self, checkpoint: str) -> tuple[Any, Path]:
        """The `transformers` model and the F32 GGUF that our converter makes of its folder."""
        if checkpoint not in self._bases:
            folder = self.folder / checkpoint
            folder.mkdir()
            model = tiny_checkpoints.make_checkpoint(checkpoint, folder / "hub")
            path = convert_folder(folder / "hub", folder / "f32.gguf", progress=Silent())
            self._bases[checkpoint] = model, path
        return self._bases[checkpoint]

    def file(self, checkpoint: str, scheme: str) -> Path:
        base = self.base(checkpoint)[1]
        path = base.with_name(f"{scheme}.gguf")
        if not path.exists():
            quantize_gguf(base, path, scheme, progress=Silent())
        return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(tmp_path_factory.mktemp("architectures"))


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Compile what the cell runs and nothing else."""
    cell = request.node.callspec.params
    files = {FILES[name] for name in _names(cell["checkpoint"], cell["scheme"])}
    for variant, kinds in libraries.LIBRARY_KINDS.items():
        wanted = tuple(kind for kind in kinds if kind.file_name in files)
        monkeypatch.setitem(libraries.LIBRARY_KINDS, variant, wanted)  # type: ignore[arg-type]


def _names(checkpoint: str, scheme: str) -> tuple[str, ...]:
    """What runs of a file."""
    if scheme == EVERY_PROGRAM:
        return PROGRAMS
    return (PROGRAMS[0], LIBRARY) if (checkpoint, scheme) in WITH_LIBRARY else PROGRAMS[:1]


def _cells(schemes: Sequence[str] = COMMON) -> Iterator[tuple[str, str]]:
    for checkpoint in MODELS:
        for scheme in ALL if checkpoint == "llama" else schemes:
            yield checkpoint, scheme


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scheme" in metafunc.fixturenames:
        every = metafunc.config.getoption("--write-models-table")
        metafunc.parametrize(("checkpoint", "scheme"), list(_cells(COMMON if every else DAILY)))


def test_the_converter_keeps_every_weight(results: Results) -> None:
    """Read back by others, the F32 file holds the folder's weights to the bit."""
    import torch

    for checkpoint in MODELS:
        model, path = results.base(checkpoint)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        tiny_checkpoints.load_weights(model, checkpoint, path)
        for key, value in model.state_dict().items():
            # Gemma's file keeps 1 + w, and that sum rounds.
            near = 1e-7 if checkpoint.startswith("gemma") and "norm" in key else 0.0
            torch.testing.assert_close(value, before[key], rtol=0, atol=near)


@pytest.mark.usefixtures("cells")
def test_the_browser_computes_what_the_weights_say(
    checkpoint: str,
    scheme: str,
    results: Results,
    runtime: Path,
    web_build: Path,
    llvmpipe: dict[str, str],
    tmp_path: Path,
) -> None:
    model, _ = results.base(checkpoint)
    path = results.file(checkpoint, scheme)
    tiny_checkpoints.load_weights(model, checkpoint, path)
    reading = tiny_checkpoints.read_greedily(model)
    variants = ("f16", "f32") if scheme == EVERY_PROGRAM else ("f32",)
    compile_bundle(
        path, tmp_path / "bundle", CompileOptions(runtime_dir=runtime, variants=variants), Silent()
    )
    types = tiny_checkpoints.block_types(path)
    for name in _names(checkpoint, scheme):
        logits = node_engine.score(
            tmp_path / "bundle",
            FILES[name],
            reading.token_ids,
            PROMPT_TOKENS,
            tmp_path,
            {**llvmpipe, **node_engine.QUICKLY},
        )
        row = Row(
            checkpoint,
            scheme,
            name,
            " ".join(f"{kind}:{count}" for kind, count in types.items()),
            float(np.abs(logits - reading.logits).max()),
            tiny_checkpoints.agreement(logits, reading),
        )
        if name in PROGRAMS:
            results.rows[row.key] = row
        print(f"\n{row} largest logit {np.abs(reading.logits).max():.1f}", end="")
        assert row.verdict == "ok", row
        gaps = tiny_checkpoints.gaps(logits, reading)
        assert max(gaps) < (row.limit if name == "f16" else TIE_F32), (row, gaps)


@pytest.mark.parametrize("checkpoint", MODELS)
def test_llama_cpp_speaks_as_the_oracle_does(checkpoint: str, results: Results) -> None:
    """The files that we make are right natively too: greedily on F32, and every mix loads."""
    model, base = results.base(checkpoint)
    tiny_checkpoints.load_weights(model, checkpoint, base)
    reading = tiny_checkpoints.read_greedily(model)
    prompt = reading.token_ids[:PROMPT_TOKENS]
    schemes = [
        scheme
        for scheme in (ALL if checkpoint == "llama" else COMMON)
        if (checkpoint, scheme, "f32") in results.rows
    ]
    files = [base, *(results.file(checkpoint, scheme) for scheme in schemes)]
    answers = [answer for (answer,) in llama_cpp.ask_each(files, [prompt], STEPS)]
    assert answers[0]
    assert tiny_checkpoints.gap(reading, answers[0]) < TIE_F32
    assert all(answers), schemes


def test_the_table_in_the_documents(results: Results, pytestconfig: pytest.Config) -> None:
    """Last of this file: what was measured is what docs/models.md says."""
    measured = results.rows
    if pytestconfig.getoption("--write-models-table"):
        _write(measured)
    written = _written()
    cells = {key[:2] for key in written}
    assert cells == set(_cells()), "docs/models.md is not whole: --write-models-table"
    for key, row in measured.items():
        found = written[key]
        assert found.verdict == row.verdict, row
        # In f16 a tie may fall otherwise on another CPU; the verdict counts how many.
        assert row.library == "f16" or row.agreeing >= found.agreeing, row
        assert row.difference <= max(found.bound, NOISE), row


@dataclass(frozen=True)
class Written:
    """A row of the document."""

    line: str
    bound: float
    agreeing: int
    verdict: str


def _bound(difference: float) -> float:
    """A power of ten that three times the difference keeps: another CPU adds in another order."""
    return float(f"1e{math.ceil(math.log10(3 * difference))}")


def _write(rows: dict[Key, Row]) -> None:
    """Put the rows into the document's table, among those that were there and still belong."""
    lines = {
        key: found.line for key, found in _written().items() if (key[0], key[1]) in set(_cells())
    }
    for row in rows.values():
        lines[row.key] = (
            f"| {row.checkpoint} | {row.scheme} | {row.library} | {row.block_types} "
            f"| <= {_bound(row.difference):.0e} | {row.agreeing} of {STEPS} "
            f"| {row.checkpoint}/{row.scheme}.gguf | {row.verdict} |"
        )
    order = {cell: number for number, cell in enumerate(_cells())}
    sorted_keys = sorted(lines, key=lambda key: (order[key[0], key[1]], PROGRAMS.index(key[2])))
    table = [HEADER, RULE, *(lines[key] for key in sorted_keys)]
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(before + BEGIN + "\n" + "\n".join(table) + "\n" + END + after)


def _written() -> dict[Key, Written]:
    pattern = re.compile(
        r"\| (\S+) \| (\S+) \| (\S+) \| [^|]+ \| <= (\S+) \| (\d+) of \d+ \| \S+ \| (\w+) \|"
    )
    table = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]
    found = (pattern.fullmatch(line) for line in table.splitlines())
    return {
        (row[1], row[2], row[3]): Written(row[0], float(row[4]), int(row[5]), row[6])
        for row in found
        if row is not None
    }
