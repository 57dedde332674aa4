"""A small vocabulary of each kind, trained on the spot, as GGUF metadata.

Trained by the `tokenizers` package on lines like those that are compared later, so that most
tokens get used; seeds are fixed. Knows GGUF's form of each kind from llama.cpp's converter.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.compile.tokenizer_lines import tricky_lines

TRAINING_LINES, TRAINING_SEED = 3000, 1234
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_STRINGS = ["<tool>", "</tool>", "==>", "\t\t", "   "]


def byte_level(pre: str) -> dict[str, Any]:
    """Byte-level BPE; `pre` only names how llama.cpp is to cut."""
    model = _trained_bytes()
    trained = sorted(model["vocab"], key=model["vocab"].get)
    tokens = [*CONTROLS, *trained, *USER_STRINGS]
    types = [CONTROL] * 3 + [NORMAL] * len(trained) + [USER_DEFINED] * len(USER_STRINGS)
    return _metadata(
        "gpt2",
        tokens,
        types,
        pre=pre,
        merges=[" ".join(merge) for merge in model["merges"]],
        bos_token_id=1,
        eos_token_id=2,
    )


def sentence_piece(adds_space: bool, *, name: str | None = None) -> dict[str, Any]:
    """Scores say the order of merges, as SentencePiece writes them: 0, -1, -2, …

    `name`: of the model; llama.cpp knows Phi-3 by it, which has no strings of white space.
    """
    user_strings = [text for text in USER_STRINGS if name is None or text.strip()]
    model = _trained_pieces()
    joined = list(dict.fromkeys(left + right for left, right in model["merges"]))
    characters = [token for token in model["vocab"] if len(token) == 1]
    tokens, types, scores = _sentence_piece_head()
    taken = {*tokens, *user_strings}
    for number, token in enumerate([*joined, *characters]):
        if token not in taken:
            tokens.append(token)
            types.append(NORMAL)
            scores.append(-float(number))
    _add(tokens, types, scores, [(CONTROL, CONTROLS), (USER_DEFINED, user_strings)])
    _add(tokens, types, scores, [(UNUSED, ["[PAD0]", "[PAD1]"])])
    metadata = _metadata("llama", tokens, types, scores=scores, add_space_prefix=adds_space)
    return metadata if name is None else metadata | {"general.name": name}


def unigram(adds_space: bool, joins_spaces: bool) -> dict[str, Any]:
    """Log-probabilities, as f32."""
    trained: list[tuple[str, float]] = _trained_likelihoods()
    tokens = ["<pad>", "</s>", "<unk>"]
    taken = {*tokens, "<tool>", "==>", "<0x0A>", "<0xE2>"}
    types = [CONTROL, CONTROL, UNKNOWN]
    scores = [0.0, 0.0, 0.0]
    for token, score in trained:
        if token not in taken:
            tokens.append(token)
            types.append(NORMAL)
            scores.append(struct.unpack("<f", struct.pack("<f", score))[0])
    _add(tokens, types, scores, [(CONTROL, CONTROLS), (USER_DEFINED, ["<tool>", "==>"])])
    _add(tokens, types, scores, [(BYTE, ["<0x0A>", "<0xE2>"]), (UNUSED, ["[PAD0]"])])
    return _metadata(
        "t5",
        tokens,
        types,
        scores=scores,
        add_space_prefix=adds_space,
        remove_extra_whitespaces=joins_spaces,
    )


def word_piece(**options: bool) -> dict[str, Any]:
    """BERT's vocabulary with ▁ before the first token of a word and nothing before the others."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = list(special)
    for token in _trained_words():
        # BERT has no ▁ of its own: it would be taken for the mark.
        if token not in special and "▁" not in token:
            tokens.append(token[2:] if token.startswith("##") else "▁" + token)
    types = [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL] + [NORMAL] * (len(tokens) - 5)
    ids = {"padding": 0, "unknown": 1, "bos": 2, "seperator": 3, "mask": 4}
    keys: dict[str, Any] = {f"{role}_token_id": number for role, number in ids.items()}
    keys |= {f"normalizer.{name}": value for name, value in options.items()}
    return _metadata("bert", tokens, types, scores=[0.0] * len(tokens), **keys)


def _metadata(
    model: str, tokens: Sequence[str], types: Sequence[int], **keys: Any
) -> dict[str, Any]:
    fields = {"model": model, "tokens": list(tokens), "token_type": list(types)} | keys
    return {
        "general.architecture": "llama",
        "llama.context_length": 256,
        "llama.embedding_length": 64,
        "llama.block_count": 1,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    } | {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


def _sentence_piece_head() -> tuple[list[str], list[int], list[float]]:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return tokens, [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256], [0.0] * len(tokens)


def _add(
    tokens: list[str], types: list[int], scores: list[float], rows: list[tuple[int, list[str]]]
) -> None:
    for kind, texts in rows:
        tokens += texts
        types += [kind] * len(texts)
        scores += [-1000.0] * len(texts)


def _lines() -> Iterator[str]:
    for line in tricky_lines(TRAINING_LINES, (), TRAINING_SEED):
        # llama.cpp cannot read a token with a NUL; no vocabulary joins the names of bytes.
        yield line.replace("\0", "").replace("<0x", "")


def _train(tokenizer: Tokenizer, trainer: Any) -> dict[str, Any]:
    tokenizer.train_from_iterator(_lines(), trainer)
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return model


@cache
def _trained_bytes() -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=3000, initial_alphabet=alphabet, show_progress=False)
    return _train(tokenizer, trainer)


@cache
def _trained_pieces() -> dict[str, Any]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    # Rare characters are left out, so that some fall back to bytes.
    return _train(
        tokenizer, trainers.BpeTrainer(vocab_size=3000, limit_alphabet=500, show_progress=False)
    )


@cache
def _trained_likelihoods() -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=2500, unk_token="<unk>", show_progress=False)
    rows: list[tuple[str, float]] = _train(tokenizer, trainer)["vocab"]
    return rows


@cache
def _trained_words() -> list[str]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=3000, limit_alphabet=600, special_tokens=["[UNK]"], show_progress=False
    )
    vocabulary: dict[str, int] = _train(tokenizer, trainer)["vocab"]
    return sorted(vocabulary, key=vocabulary.__getitem__)
