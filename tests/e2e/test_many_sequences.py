"""Several answers at once, on the page's engine in Node: each is what it would be alone.

Kernels for several rows add in another order than those for one, so a greedy answer may leave what
it is alone at a tie. What two processes say is compared: the one in company, the other alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import node_engine
from tests.e2e.commands import Prompt

PROGRAM = "program-f32-fallback.json"
TIE = 1e-2
"""Log-probabilities this near are a coin toss for f32 sums in another order."""
TOKENS = 12
LONG_TOKENS = 620
STREAM_TOKENS = 40
ON_THEIR_WAY = 12
"""Tokens of a stream that may be decided when somebody else comes: two groups of six steps."""
SEEDS = (1, 2, 3, 4)
WINDOW = 64

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(1800)]

Ask = Mapping[str, Any]
Ids = list[int]


@dataclass
class Company:
    """Two processes' answers to the same requests."""

    run: Callable[[Sequence[Sequence[Ask]]], tuple[node_engine.Scene, ...]]
    scenes: dict[str, node_engine.Scene] = field(default_factory=dict)
    alone: dict[str, Ids] = field(default_factory=dict)
    asks: dict[str, Sequence[Ask]] = field(default_factory=dict)

    def begin(self, scenes: Mapping[str, Sequence[Ask]]) -> None:
        self.asks = dict(scenes)
        self.scenes = dict(zip(scenes, self.run(list(scenes.values())), strict=True))
        single = {_key(ask): [_alone(ask)] for scene in scenes.values() for ask in scene}
        found = self.run(list(single.values()))
        self.alone = {
            key: scene.answers[0].get("tokenIds", [])
            for key, scene in zip(single, found, strict=True)
        }

    def assert_as_alone(self, scene: str, *, among: Sequence[int] | None = None) -> None:
        for number, answer in enumerate(self.scenes[scene].answers):
            if among is None or number in among:
                ask = self.asks[scene][number]
                self.assert_same(ask, answer["tokenIds"], self.alone[_key(ask)])

    def assert_same(self, ask: Ask, ours: Ids, expected: Ids) -> None:
        """Or another token at a tie; what comes after that has no part in it."""
        step = next((i for i, pair in enumerate(zip(ours, expected, strict=False))
                     if pair[0] != pair[1]), None)  # fmt: skip
        if step is None:
            assert len(ours) == len(expected), ask
            return
        asked = {**_alone(ask), "answeredTokenIds": expected[:step], "topLogprobs": 20}
        (scene,) = self.run([[{**asked, "maxTokens": step + 1}]])
        top = {row["tokenId"]: row["logprob"] for row in scene.answers[0]["logprobs"][0]["top"]}
        gap = top[expected[step]] - top.get(ours[step], -float("inf"))
        print(f"\nanother token at step {step}, {gap:.1e} less likely")
        assert ask.get("sampling") is None, f"a draw differs at step {step}"
        assert abs(gap) < TIE, (step, ours, expected)


def _alone(ask: Ask) -> dict[str, Any]:
    """The same request, when there is nobody to wait for."""
    return {key: value for key, value in ask.items() if key not in ("after", "abortAfter")}


def _key(ask: Ask) -> str:
    return dumps(_alone(ask), sort_keys=True)


def ids(prompt: Prompt, **more: Any) -> dict[str, Any]:
    return {"promptTokenIds": list(prompt.token_ids), "maxTokens": TOKENS, **more}


def draw(seed: int) -> dict[str, Any]:
    return {"sampling": {"temperature": 0.8, "topP": 1, "seed": seed}}


def repetitive(prompt: Prompt) -> list[int]:
    """What was said so often will be said again."""
    return list(prompt.token_ids[-12:]) * 6


def long_prompt(prompts: list[Prompt]) -> list[int]:
    whole = [token for prompt in prompts for token in prompt.token_ids]
    return (whole * 2)[:LONG_TOKENS]


@pytest.fixture(scope="module")
def company(
    bundle: Path,
    web_build: Path,
    llvmpipe: dict[str, str],
    prompts: list[Prompt],
    tmp_path_factory: pytest.TempPathFactory,
) -> Company:
    del web_build
    folder = tmp_path_factory.mktemp("company")

    def run(scenes: Sequence[Sequence[Ask]]) -> tuple[node_engine.Scene, ...]:
        return node_engine.together(bundle, scenes, folder, llvmpipe, PROGRAM)[1]

    eight = [*prompts[:4], *prompts[5:9]]
    stream = ids(prompts[0], maxTokens=STREAM_TOKENS, stopTokenIds=[])
    long = {"promptTokenIds": long_prompt(prompts), "maxTokens": 2}
    company = Company(run)
    company.begin(
        {
            "eight": [ids(prompt) for prompt in eight],
            "seeds": [ids(prompts[4], **draw(seed)) for seed in SEEDS],
            "long": [stream, {**long, "after": {"ask": 0, "tokens": 4}}],
            "abort": [ids(prompts[1]), ids(prompts[2], abortAfter=3), ids(prompts[3])],
        }
    )
    return company


def test_eight_at_once_say_what_each_says_alone(company: Company) -> None:
    scene = company.scenes["eight"]
    company.assert_as_alone("eight")
    # They took turns: nobody had to wait for another's last token.
    firsts = [scene.order.index(number) for number in range(8)]
    lasts = [max(i for i, who in enumerate(scene.order) if who == number) for number in range(8)]
    assert max(firsts) < max(lasts)
    assert min(lasts) > 8 or len(scene.answers[0]["tokenIds"]) < TOKENS


def test_one_prompt_with_four_seeds_runs_once(company: Company) -> None:
    answers = company.scenes["seeds"].answers
    first, *others = [answer["cachedTokens"] for answer in answers]
    # Of a prompt that is known its last token alone runs, for its logits.
    known = answers[0]["promptTokens"] - 1
    assert first < known
    assert others == [known] * 3
    assert len({answer["text"] for answer in answers}) == len(SEEDS)


def test_a_seed_gives_the_same_text_in_company_and_in_another_process(company: Company) -> None:
    """Of these prompts and seeds no draw is a tie."""
    company.assert_as_alone("seeds")


def test_a_stream_goes_on_while_a_long_prompt_runs(company: Company) -> None:
    scene = company.scenes["long"]
    before = scene.order.index(1)
    print(f"\n{before} tokens of the stream before the long prompt's first")
    # All that was on its way when the prompt came, and more.
    assert before > 4 + ON_THEIR_WAY
    company.assert_as_alone("long")


def test_an_abort_harms_nobody_else(company: Company) -> None:
    answers = company.scenes["abort"].answers
    assert answers[1]["finishReason"] == "abort"
    assert len(answers[1]["tokenIds"]) == 3
    company.assert_as_alone("abort", among=[0, 2])


def test_drafts_change_no_token_and_save_steps(company: Company, prompts: list[Prompt]) -> None:
    ask = {"promptTokenIds": repetitive(prompts[5]), "maxTokens": 24, "stopTokenIds": []}
    # The first one runs the prompt.
    _, off, on = company.run([[{**ask, "drafts": drafts}] for drafts in ("off", "off", "on")])
    company.assert_same(ask, on.answers[0]["tokenIds"], off.answers[0]["tokenIds"])
    print(f"\n{off.dispatches} dispatches without drafts, {on.dispatches} with them")
    # A step that judges several tokens has about twice as many as one of one token.
    assert on.dispatches < 0.7 * off.dispatches


def small_window(bundle: Path, folder: Path) -> Path:
    """The same bundle by a publisher who wants a smaller window."""
    folder.mkdir()
    for path in bundle.iterdir():
        if path.name not in ("manifests", "index.json", "mlc-chat-config.json"):
            (folder / path.name).symlink_to(path)
    config = loads((bundle / "mlc-chat-config.json").read_bytes())
    config["context_window_size"] = WINDOW
    (folder / "mlc-chat-config.json").write_text(dumps(config))
    (folder / "manifests").mkdir()
    moved = {}
    for path in (bundle / "manifests").iterdir():
        manifest = loads(path.read_bytes())
        if manifest["config"].get("annotations", {}).get(TITLE) == "mlc-chat-config.json":
            manifest["config"] |= describe(folder / "mlc-chat-config.json")
        (folder / "manifests" / path.name).write_text(dumps(manifest))
        moved[describe(path)["digest"]] = describe(folder / "manifests" / path.name)
    index = loads((bundle / "index.json").read_bytes())
    for row in index["manifests"]:
        row |= moved[row["digest"]]
    (folder / "index.json").write_text(dumps(index))
    return folder


TITLE = "org.opencontainers.image.title"


def describe(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"digest": f"sha256:{sha256(content).hexdigest()}", "size": len(content)}


def test_a_full_window_is_an_error_or_a_policy(
    bundle: Path,
    company: Company,
    llvmpipe: dict[str, str],
    prompts: list[Prompt],
    tmp_path: Path,
) -> None:
    short, long = prompts[0], prompts[4]
    assert len(short.token_ids) < WINDOW < len(long.token_ids)
    endless = {"stopTokenIds": [], "maxTokens": WINDOW}
    keep = {"keepTokens": 8}
    load, scenes = node_engine.together(
        small_window(bundle, tmp_path / "small"),
        [
            [
                ids(long, overflow="error"),
                ids(long, overflow="truncate", **keep),
                {**ids(short, overflow="error"), **endless},
                {**ids(short, overflow="shift", **keep), **endless},
            ]
        ],
        tmp_path,
        llvmpipe,
        PROGRAM,
    )
    assert load["contextWindowSize"] == WINDOW
    refused, truncated, full, shifted = scenes[0].answers
    assert refused["error"] == "context-overflow"
    assert truncated["truncatedTokens"] > 0
    # Whoever fills the window stops there, and says why.
    assert full["finishReason"] == "length"
    assert len(full["tokenIds"]) == WINDOW + 1 - len(short.token_ids)
    assert "truncatedTokens" not in full
    assert len(shifted["tokenIds"]) == WINDOW
    assert shifted["truncatedTokens"] > 0
    # Until the window was full nothing was forgotten.
    company.assert_same(ids(short), shifted["tokenIds"][: len(full["tokenIds"])], full["tokenIds"])


def test_log_probabilities_come_in_order(company: Company, prompts: list[Prompt]) -> None:
    """Their values are held by test_draws.py."""
    (scene,) = company.run([[ids(prompts[0], topLogprobs=20, maxTokens=4), ids(prompts[1])]])
    for token, row in zip(scene.answers[0]["tokenIds"], scene.answers[0]["logprobs"], strict=True):
        top = row["top"]
        assert len({one["tokenId"] for one in top}) == 20
        assert all(one["logprob"] >= other["logprob"] for one, other in pairwise(top))
        # Greedy: what was chosen is the likeliest.
        assert (token, row["logprob"]) == (top[0]["tokenId"], pytest.approx(top[0]["logprob"]))
    assert scene.answers[1]["logprobs"] == []
