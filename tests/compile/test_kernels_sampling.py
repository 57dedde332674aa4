"""From logits to a token against NumPy, on llvmpipe: the functions of the library, as the engine
and WebLLM call them."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import pytest
import tvm

from tests.compile import kernel_runner
from tests.compile.kernel_runner import Answers, Array, Case, InOut, Out
from transom_compile.kernels import sampling
from transom_compile.passes.attach_samplers import AttachSamplers

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

VOCABULARIES = [49152, 1000, 97]
"""SmolLM2's; one that is no multiple of a chunk, a sorted run or a mask word; fewer than chunks."""
TEMPERATURES = [1.0, 0.1, 1e-6]
LOGITS = ["random", "ties", "flat", "masked"]
JUST_BELOW_ONE = 1 - 2.0**-24
UNIFORMS = [0.0, 1e-7, 0.3, 0.9, JUST_BELOW_ONE, 1.0]
"""1.0 too: a random number in f64 can round to it."""
TOP_PS = [1e-6, 0.5, 0.95, 1.0]
SEQUENCES = 2


def logits(kind: str, vocab: int) -> Array:
    random = np.random.default_rng(vocab)
    made = random.normal(0, 4, vocab)
    if kind == "ties":
        made = np.round(made)
        made[[vocab // 3, vocab // 2, vocab - 1]] = made.max() + 1
    elif kind == "flat":
        made = np.zeros(vocab)
    elif kind == "masked":
        # As after a bitmask: all but two tokens are at the lowest float.
        made[:] = sampling.LOWEST
        made[[5, vocab - 2]] = [1.0, 2.0]
    return made.astype(np.float32)


def probabilities(kind: str, vocab: int) -> Array:
    exact = softmax(logits(kind, vocab), 1.0)
    return exact.astype(np.float32)


def softmax(values: Array, temperature: float) -> Array:
    shifted = (values.astype(np.float64) - values.max()) / np.float64(np.float32(temperature))
    weights = np.exp(shifted)
    return weights / weights.sum()


def sorted_pair(kind: str, vocab: int) -> tuple[Array, Array]:
    probs = probabilities(kind, vocab)
    order = np.argsort(-probs, kind="stable").astype(np.int32)
    return probs[order], order


def one(value: float, dtype: str = "float32") -> Array:
    return np.array([value], dtype)


def integers(values: Sequence[int]) -> Array:
    return np.asarray(values, np.int32)


def batch_logits(vocab: int) -> Array:
    return np.random.default_rng(4).normal(0, 4, (SEQUENCES, vocab)).astype(np.float32)


def bias_arguments(vocab: int) -> list[Array]:
    """pos2seq_id, token_ids, logit_bias."""
    tokens = [0, vocab - 1, 7, 64]
    biases = np.array([-100, 100, 0.5, -3.4e38], np.float32)
    return [integers([0, 1, 1, 0]), integers(tokens), biases]


def penalty_arguments(vocab: int) -> list[Array]:
    """seq_ids, pos2seq_id, token_ids, token_cnt, penalties (presence, frequency, repetition)."""
    penalties = np.array([[0.5, 0.25, 1.5], [0.0, 0.0, 2.0]], np.float32)
    tokens = [0, 3, vocab - 1, 3, 8, 9]
    return [
        integers([1, 0]),
        integers([0, 0, 0, 1, 1, 1]),
        integers(tokens),
        integers([1, 2, 7, 1, 1, 3]),
        penalties,
    ]


def bitmask(vocab: int) -> Array:
    words = -(-vocab // 32)
    bits = np.random.default_rng(6).integers(0, 2**32, (SEQUENCES, words), dtype=np.uint32)
    return bits.view(np.int32)


def cases_of(vocab: int) -> list[Case]:
    cases = []
    row, pair = (1, vocab), [Out((1, vocab)), Out((1, vocab), "int32")]
    for kind in LOGITS:
        values = logits(kind, vocab).reshape(1, 1, vocab)
        cases.append(Case(f"argmax {kind}", "argmax_logits", [values], [Out((1,), "int32")]))
        for temperature in TEMPERATURES:
            name = f"softmax {kind} {temperature}"
            arguments = [values, one(temperature)]
            cases.append(Case(name, "softmax_with_temperature", arguments, [Out((1, 1, vocab))]))
        probs = probabilities(kind, vocab).reshape(row)
        cases.append(Case(f"argsort {kind}", "argsort_probs", [probs], pair))
        ordered, order = sorted_pair(kind, vocab)
        for uniform in UNIFORMS:
            for top_p in TOP_PS:
                arguments = [ordered.reshape(row), order.reshape(row), one(uniform)]
                arguments += [one(0, "int32"), one(top_p)]
                name = f"top_p {kind} {uniform} {top_p}"
                cases.append(Case(name, "sample_with_top_p", arguments, [Out((1,), "int32")]))
    start = InOut(batch_logits(vocab))
    cases.append(Case("bias", "apply_logit_bias_inplace", [start, *bias_arguments(vocab)]))
    cases.append(Case("penalty", "apply_penalty_inplace", [start, *penalty_arguments(vocab)]))
    mask = [integers([1, 0]), bitmask(vocab)]
    cases.append(Case("bitmask", "apply_bitmask_inplace", [start, *mask]))
    one_row = [integers([1]), bitmask(vocab)]
    cases.append(Case("bitmask of one", "apply_bitmask_inplace", [start, *one_row]))
    return cases


@pytest.fixture(scope="module", params=VOCABULARIES)
def vocab(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture(scope="module")
def answers(
    vocab: int,
    missing_tool: Callable[[str], NoReturn],
    tmp_path_factory: pytest.TempPathFactory,
) -> Answers:
    module: Any = AttachSamplers(vocab)(tvm.IRModule())
    folder = tmp_path_factory.mktemp("sampling")
    return kernel_runner.run(module, cases_of(vocab), folder, missing_tool)


@pytest.mark.parametrize("kind", LOGITS)
def test_argmax_takes_the_lowest_of_equals(answers: Answers, vocab: int, kind: str) -> None:
    (found,) = answers.of(f"argmax {kind}")
    assert found[0] == np.argmax(logits(kind, vocab))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("kind", LOGITS)
def test_softmax(answers: Answers, vocab: int, kind: str, temperature: float) -> None:
    (found,) = answers.of(f"softmax {kind} {temperature}")
    expected = softmax(logits(kind, vocab), temperature)
    # A quotient x is good to 2.5 units and so exp(x) to about 3 + 4.5|x| of them: |x| < 70 here, as
    # exp(-70) is 4e-31.
    assert np.isfinite(found).all()
    assert (abs(found[0, 0] - expected) <= 4e-5 * expected + 1e-30).all()
    assert abs(float(found.sum(dtype=np.float64)) - 1) < 1e-5


@pytest.mark.parametrize("kind", LOGITS)
def test_argsort_is_stable(answers: Answers, vocab: int, kind: str) -> None:
    values, indices = answers.of(f"argsort {kind}")
    ordered, order = sorted_pair(kind, vocab)
    assert np.array_equal(values[0], ordered)
    assert np.array_equal(indices[0], order)


@pytest.mark.parametrize("top_p", TOP_PS)
@pytest.mark.parametrize("uniform", UNIFORMS)
@pytest.mark.parametrize("kind", LOGITS)
def test_top_p(answers: Answers, vocab: int, kind: str, uniform: float, top_p: float) -> None:
    (found,) = answers.of(f"top_p {kind} {uniform} {top_p}")
    ordered, order = sorted_pair(kind, vocab)
    # np.cumsum adds one by one in f32, as the kernel does.
    mass = np.cumsum(ordered, dtype=np.float32)
    enough = np.flatnonzero(mass >= np.float32(top_p))
    nucleus = int(enough[0]) + 1 if len(enough) else vocab
    passed = np.flatnonzero(mass[:nucleus] > np.float32(uniform) * mass[nucleus - 1])
    # At the very end nothing is greater: it is the last token that added to the mass.
    last = int(np.flatnonzero(mass[:nucleus] == mass[nucleus - 1])[0])
    place = int(passed[0]) if len(passed) else last
    assert found[0] == order[place]
    assert ordered[place] > 0


def test_logit_bias(answers: Answers, vocab: int) -> None:
    (found,) = answers.of("bias")
    expected = batch_logits(vocab)
    sequences, tokens, biases = bias_arguments(vocab)
    expected[sequences, tokens] += biases
    assert np.array_equal(found, expected)


def test_penalty(answers: Answers, vocab: int) -> None:
    (found,) = answers.of("penalty")
    expected = batch_logits(vocab).astype(np.float64)
    rows, which, tokens, counts, penalties = penalty_arguments(vocab)
    for i, token in enumerate(tokens):
        presence, frequency, repetition = penalties[which[i]]
        value = expected[rows[which[i]], token] - presence - counts[i] * frequency
        value = value * repetition if value < 0 else value / repetition
        expected[rows[which[i]], token] = value
    assert (abs(found - expected) <= 1e-6 * abs(expected)).all()
    touched = found != batch_logits(vocab)
    assert np.count_nonzero(touched) == len(tokens)


@pytest.mark.parametrize(("name", "rows"), [("bitmask", [1, 0]), ("bitmask of one", [1])])
def test_bitmask(answers: Answers, vocab: int, name: str, rows: list[int]) -> None:
    """Row r of the mask is for row r of the logits; seq_ids says which rows to mask."""
    (found,) = answers.of(name)
    expected = batch_logits(vocab)
    for row in rows:
        words = bitmask(vocab)[row].view(np.uint32)
        bits = (words[:, None] >> np.arange(32, dtype=np.uint32) & 1).reshape(-1)[:vocab]
        expected[row, bits == 0] = np.float32(sampling.LOWEST)
    assert np.array_equal(found, expected)
