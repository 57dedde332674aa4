"""llama.cpp's own tokenizer over one GGUF, as a child process: native code may die.

`python -m tests.compile.llama_tokenizer MODEL` reads one JSON object a line on stdin and answers on
stdout. {"lines": […], "special": bool, "surround": bool} -> {"ids": [[…], …]};
{"decode": [[…], …]} -> {"texts": […]}; {"stops": true} -> {"ids": […]}. Only the vocabulary is
loaded, so the file needs no tensors. Calls the C functions that xllamacpp's module exports; knows
nothing of Transom.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Where llama_model_params has `vocab_only` in xllamacpp 2026.10.11549. A file without tensors only
# loads with that set, so a wrong place cannot go unnoticed.
VOCAB_ONLY_OFFSET = 72


class ModelParams(ctypes.Structure):
    """More than the real struct holds; it travels by value, and what is left over is not read."""

    _fields_ = (("bytes", ctypes.c_uint8 * 512),)


class Llama:
    """The vocabulary of one GGUF file."""

    def __init__(self, model: Path) -> None:
        spec = importlib.util.find_spec("xllamacpp")
        assert spec is not None
        assert spec.origin is not None
        library = ctypes.CDLL(str(next(Path(spec.origin).parent.glob("*.so"))))
        library.llama_model_default_params.restype = ModelParams
        library.llama_model_load_from_file.restype = ctypes.c_void_p
        library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParams]
        library.llama_model_get_vocab.restype = ctypes.c_void_p
        library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
        ints = ctypes.POINTER(ctypes.c_int32)
        library.llama_tokenize.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ints, ctypes.c_int32,
            ctypes.c_bool, ctypes.c_bool,
        ]  # fmt: skip
        library.llama_detokenize.argtypes = [
            ctypes.c_void_p, ints, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int32,
            ctypes.c_bool, ctypes.c_bool,
        ]  # fmt: skip
        library.llama_vocab_n_tokens.argtypes = [ctypes.c_void_p]
        library.llama_vocab_is_eog.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        library.llama_vocab_is_eog.restype = ctypes.c_bool
        params = library.llama_model_default_params()
        params.bytes[VOCAB_ONLY_OFFSET] = 1
        loaded = library.llama_model_load_from_file(str(model).encode(), params)
        if not loaded:
            raise SystemExit(f"llama.cpp does not load {model}")
        self._library = library
        self._vocab = library.llama_model_get_vocab(loaded)

    def encode(self, text: str, special: bool, surround: bool) -> list[int]:
        data = text.encode()
        room = len(data) * 2 + 8
        ids = (ctypes.c_int32 * room)()
        count = self._library.llama_tokenize(
            self._vocab, data, len(data), ids, room, surround, special
        )
        assert count >= 0, text
        return list(ids[:count])

    def decode(self, ids: Sequence[int]) -> str:
        """Special tokens say nothing; bytes that are no UTF-8 become U+FFFD."""
        room = 256 * len(ids) + 8
        text = ctypes.create_string_buffer(room)
        array = (ctypes.c_int32 * len(ids))(*ids)
        count = self._library.llama_detokenize(
            self._vocab, array, len(ids), text, room, False, False
        )
        assert count >= 0, ids
        return text.raw[:count].decode("utf-8", "replace")

    def stops(self) -> list[int]:
        count = self._library.llama_vocab_n_tokens(self._vocab)
        return [i for i in range(count) if self._library.llama_vocab_is_eog(self._vocab, i)]


class LlamaProcess:
    """The same, asked from outside."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, "llama.cpp died"
        loaded: dict[str, Any] = json.loads(answer)
        return loaded

    def encode(
        self, lines: Sequence[str], *, special: bool = True, surround: bool = False
    ) -> list[list[int]]:
        question = {"lines": list(lines), "special": special, "surround": surround}
        ids: list[list[int]] = self._ask(question)["ids"]
        return ids

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        texts: list[str] = self._ask({"decode": [list(row) for row in ids]})["texts"]
        return texts

    def stops(self) -> list[int]:
        ids: list[int] = self._ask({"stops": True})["ids"]
        return ids


@contextmanager
def llama_tokenizer(model: Path) -> Iterator[LlamaProcess]:
    """llama.cpp over `model` for the length of the block."""
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.compile.llama_tokenizer", str(model)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, encoding="utf-8", cwd=root,
    )  # fmt: skip
    try:
        yield LlamaProcess(child)
    finally:
        child.kill()
        child.communicate()


def main(model: str) -> None:
    llama = Llama(Path(model))
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any]
        if "lines" in question:
            special, surround = question["special"], question["surround"]
            answer = {"ids": [llama.encode(row, special, surround) for row in question["lines"]]}
        elif "decode" in question:
            answer = {"texts": [llama.decode(row) for row in question["decode"]]}
        else:
            answer = {"ids": llama.stops()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
