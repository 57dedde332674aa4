"""How a token is chosen, in NumPy with float64: what the kernels have to do, and what
`sampler.ts`, `candidates.ts` and `random.ts` of the page's worker do."""

from dataclasses import dataclass

import numpy as np

from tests.compile.kernel_runner import Array

LOWEST = float(np.finfo(np.float32).min)
FIELDS = 16
WORD = 2**32
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)


@dataclass(frozen=True)
class Asked:
    """One row of `samplers`."""

    temperature: float = 1
    top_k: int = 0
    top_p: float = 1
    min_p: float = 0
    typical_p: float = 1
    repeat_penalty: float = 1
    presence_penalty: float = 0
    frequency_penalty: float = 0
    last_n: int = 64
    seed: int = 0
    biases: int = 0
    has_mask: bool = False

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0 or self.top_p == 0 or self.top_k == 1

    @property
    def seed_words(self) -> tuple[int, int]:
        return self.seed % WORD, self.seed // WORD % WORD

    def fields(self) -> Array:
        row = np.zeros(FIELDS, np.int32)
        floats = row.view(np.float32)
        floats[0], floats[2:5] = self.temperature, [self.top_p, self.min_p, self.typical_p]
        floats[5:8] = [self.repeat_penalty, self.presence_penalty, self.frequency_penalty]
        row[1], row[8], row[11], row[12] = self.top_k, self.last_n, self.biases, self.has_mask
        row[9:11] = np.array(self.seed_words, np.uint32).view(np.int32)
        return row


def philox(counter: tuple[Array | int, ...], key: tuple[int, int]) -> Array:
    """Philox 4x32-10: four words for each counter, uint32 (..., 4)."""
    c: list[Array] = [word.astype(np.uint64) for word in np.broadcast_arrays(*counter)]
    k = list(key)
    for _ in range(10):
        first, second = (c[i] * np.uint64(m) for i, m in zip((0, 2), MULTIPLIERS, strict=True))
        mixed = [(second >> 32) ^ c[1] ^ np.uint64(k[0]), (first >> 32) ^ c[3] ^ np.uint64(k[1])]
        c = [mixed[0], second % WORD, mixed[1], first % WORD]
        k = [(word + step) % WORD for word, step in zip(k, KEY_STEPS, strict=True)]
    return np.stack(c, -1).astype(np.uint32)


def gumbel(asked: Asked, position: Array | int, tokens: Array) -> Array:
    """-log(-log(1 - v)), v made of each token's word; for positions that broadcast."""
    words = philox((tokens // 4, position, 0, 0), asked.seed_words)
    lanes = np.broadcast_to(tokens % 4, words.shape[:-1])[..., None]
    word = np.take_along_axis(words, lanes, -1)[..., 0]
    noise: Array = -np.log(-np.log1p(-(word.astype(np.float64) + 0.5) / WORD))
    return noise


def candidates(logits: Array, asked: Asked) -> Array:
    """Ids that pass the filters, the likeliest first."""
    weights = np.exp(logits - logits.max())
    ids = np.argsort(-logits, kind="stable")
    if asked.top_k > 0:
        ids = ids[: asked.top_k]
    if asked.typical_p < 1:
        share = weights[ids] / weights[ids].sum()
        known = share > 0
        surprise = np.full(len(ids), np.inf)
        surprise[known] = -np.log(share[known])
        distance = abs(surprise - (share[known] * surprise[known]).sum())
        near = np.argsort(distance, kind="stable")
        before = np.cumsum(share[near]) - share[near]
        kept = near[: max(1, int(np.count_nonzero(before < asked.typical_p)))]
        ids = ids[np.sort(kept)]
    share = weights[ids] / weights[ids].sum()
    before = np.cumsum(share) - share
    passes = share >= asked.min_p * share[0]
    if asked.top_p < 1:
        passes &= before < asked.top_p
    passes[0] = True
    return ids[: len(ids) if passes.all() else int(np.argmin(passes))]


def scores(logits: Array, asked: Asked, position: int) -> tuple[Array, Array]:
    """Ids that may be drawn, and what the chosen one has most of."""
    exact = logits.astype(np.float64)
    if asked.is_greedy:
        return np.arange(len(logits)), exact
    ids = candidates(exact, asked)
    return ids, exact[ids] / np.float64(asked.temperature) + gumbel(asked, position, ids)


def choose(logits: Array, asked: Asked, position: int) -> tuple[int, float]:
    """The token at a position, and by how much its score is ahead of the next."""
    ids, ranks = scores(logits, asked, position)
    best = int(ranks.argmax())
    lead = ranks[best] - np.delete(ranks, best).max(initial=-np.inf)
    return int(ids[best]), float(lead)


def adjust(
    logits: Array,
    asked: Asked,
    said: Array,
    bias: dict[int, float],
    mask: Array | None,
) -> Array:
    """Logits after bias, penalties on the last of `said`, and mask (true: allowed)."""
    made = logits.astype(np.float64)
    for token, value in bias.items():
        if token < len(made):
            made[token] += value
    window = said if asked.last_n < 0 else said[max(0, len(said) - asked.last_n) :]
    for token, count in zip(*np.unique(window, return_counts=True), strict=True):
        value = made[token]
        value = value * asked.repeat_penalty if value <= 0 else value / asked.repeat_penalty
        made[token] = value - count * asked.frequency_penalty - asked.presence_penalty
    if mask is not None and asked.has_mask:
        made[~mask] = -np.inf
    return np.maximum(made, LOWEST)
