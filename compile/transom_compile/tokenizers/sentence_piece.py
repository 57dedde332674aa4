"""SentencePiece BPE (GGUF's "llama"): Llama 2, Mistral, Gemma 2 and 3, Phi-3.

The file has a score for each token and no merges: llama.cpp joins the two neighbours whose joint
text has the highest score, leftmost first. A BPE model with merges ordered by score does the same,
and needs one merge a token: whatever stands around a token, its own characters are joined in the
order in which they would be alone, so its last merge is always the same one. `_last_merge` finds it
by joining the token's characters.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transom_compile.tokenizers.byte_level import bos_and_eos, bpe_model
from transom_compile.tokenizers.document import (
    Json,
    replace,
    sentence_piece_decoder,
    sequence,
    write_document,
)
from transom_compile.tokenizers.vocabulary import (
    PREFIX,
    TokenType,
    UnsupportedTokenizer,
    Vocabulary,
    flag,
)

SPACE = "▁"
# Joining a token's characters is quadratic in their number; the longest published are below 100.
MAX_TOKEN_CHARACTERS = 1024


def convert(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[bytes, bool, bool, bool]:
    """(tokenizer.json, adds bos, adds eos, adds a space). Raises `UnsupportedTokenizer`."""
    adds_bos = flag(metadata, "add_bos_token", True)
    adds_eos = flag(metadata, "add_eos_token", False)
    adds_space = flag(metadata, "add_space_prefix", True)
    steps: list[Json] = [replace(" ", SPACE)]
    if adds_space:
        steps.insert(0, {"type": "Prepend", "prepend": SPACE})
    _require_bytes(vocabulary)
    data = write_document(
        vocabulary,
        bpe_model(vocabulary.ids(), list(_merges(vocabulary)), byte_fallback=True),
        normalizer=sequence("normalizers", steps),
        pre_tokenizer=None,
        decoder=sentence_piece_decoder(strip_space=adds_space),
        around=bos_and_eos(vocabulary, adds_bos, adds_eos),
        strip_after=frozenset(_phi_3_strips(metadata, vocabulary)),
    )
    return data, adds_bos, adds_eos, adds_space


def _require_bytes(vocabulary: Vocabulary) -> None:
    ids = vocabulary.ids()
    missing = [f"<0x{byte:02X}>" for byte in range(256) if f"<0x{byte:02X}>" not in ids]
    if missing:
        raise UnsupportedTokenizer(
            f"the SentencePiece vocabulary has no byte token {missing[0]} "
            f"({len(missing)} of 256 are missing), so not every text can be encoded"
        )


def _merges(vocabulary: Vocabulary) -> Iterator[str]:
    """Best first. Raises where llama.cpp would go by something that merges cannot say."""
    if not vocabulary.scores:
        raise UnsupportedTokenizer(f"the checkpoint has no list of numbers {PREFIX}scores")
    scores = {
        token: vocabulary.scores[index]
        for index, token in enumerate(vocabulary.tokens)
        # User-defined strings are cut out before, and spaces are written ▁: neither is ever joined.
        if vocabulary.types[index] != TokenType.USER_DEFINED and " " not in token
    }
    kinds = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    plain = {token for token in scores if kinds[token] == TokenType.NORMAL}
    parts = {token for token in scores if kinds[token] != TokenType.BYTE}
    merges = [
        (token, merge)
        for token in scores
        if len(token) > 1 and (merge := _last_merge(token, scores)) is not None
    ]
    merges.sort(key=lambda row: -scores[row[0]])
    last: tuple[str, float] | None = None
    for token, (left, right) in merges:
        if not {left, right} <= parts:
            # Readers turn a character without a token into byte tokens first, and would join those.
            raise UnsupportedTokenizer(
                f"token {token!r} is joined from {left!r} and {right!r}, "
                "which are not both tokens for text"
            )
        if token in plain:
            if last is not None and last[1] == scores[token]:
                raise UnsupportedTokenizer(
                    f"tokens {last[0]!r} and {token!r} have the same score, which a list of merges "
                    "cannot say"
                )
            last = (token, scores[token])
        yield f"{left} {right}"


def _last_merge(token: str, scores: Mapping[str, float]) -> tuple[str, str] | None:
    """The two parts that are joined to `token` at the end; None when it never comes to that."""
    parts = list(token)
    if len(parts) > MAX_TOKEN_CHARACTERS:
        raise UnsupportedTokenizer(
            f"token {token[:40]!r}… is longer than {MAX_TOKEN_CHARACTERS} characters"
        )
    while len(parts) > 2:
        at = _best_pair(parts, scores)
        if at is None:
            return None
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def _best_pair(parts: Sequence[str], scores: Mapping[str, float]) -> int | None:
    """Where the neighbours with the highest joint score begin, leftmost of equals."""
    best: int | None = None
    best_score = -float("inf")
    for at in range(len(parts) - 1):
        score = scores.get(parts[at] + parts[at + 1])
        if score is not None and score > best_score:
            best, best_score = at, score
    return best


def _phi_3_strips(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Iterator[int]:
    """llama.cpp knows Phi-3 by its name: white space after its control tokens vanishes."""
    name = metadata.get("general.name")
    if not isinstance(name, str) or not any(part in name.lower() for part in ("phi-3", "phi3")):
        return
    found = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
    for index, kind in enumerate(vocabulary.types):
        kept = vocabulary.tokens[index] in ("<unk>", "<s>", "<|endoftext|>")
        if kind in found and not kept:
            yield index
