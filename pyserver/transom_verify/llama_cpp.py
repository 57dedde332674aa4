"""llama.cpp on one GGUF file: tokens, greedy answers, log-probabilities.

llama.cpp comes as `xllamacpp`, whose server runs in a child process (`llama_cpp_child.py`): native
code that dies must not take us along. We speak HTTP with it. Everything that would round is off:
keys and values are f32, flash attention (which makes them f16 on a CPU) does not run.

How likely a given token is: the server tells the probability of the token that it chooses, by the
raw logits over the whole vocabulary, so a bias that no logit can outweigh makes it choose the
token that we ask about. One request a token, each a prefix that is in its cache but for one token.
This needs no C structure by value, whose layout changes with every release of llama.cpp. A token
that ends inside a character is held back together with its figures; for it another one is chosen,
and the list of the most likely ones tells.
"""

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from transom_verify.errors import VerifyError

# More than any logit lies above any other.
_FORCING_BIAS: Final = 1e9
# A token of a text is nearly always among so many; the whole vocabulary takes a second.
_LIKELY_TOKENS: Final = 1000
REQUEST_TIMEOUT_SECONDS: Final = 600

_MISSING: Final = "llama.cpp is missing; install it with: pip install 'transom[verify]'"


class LlamaCpp:
    """A running llama.cpp; a context manager that ends it."""

    def __init__(self, model: Path, context_tokens: int) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise VerifyError(_MISSING)
        self._model = model
        # A file, not a pipe: the child logs every request, and nobody reads along.
        self._log = tempfile.TemporaryFile()
        command = [sys.executable, "-m", "transom_verify.llama_cpp_child"]
        self._process = subprocess.Popen(
            [*command, str(model), str(context_tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        self._address = self._process.stdout.readline().strip()
        if not self._address:
            self._process.communicate()
            words = self._last_words()
            self.close()
            raise VerifyError(f"llama.cpp cannot load {model.name}: {words}")
        self.vocabulary = int(self._get("/v1/models")["data"][0]["meta"]["n_vocab"])
        self._plain_token = self.tokenize("a", special=False)[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child; it ends by itself when our side of its stdin is gone."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Ids of a text. `special`: with the tokens that the model puts around any text."""
        body = {"content": text, "add_special": special, "parse_special": True}
        ids: list[int] = self._post("/tokenize", body)["tokens"]
        return ids

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """A conversation as its chat template writes it, ready for the answer."""
        prompt: str = self._post("/apply-template", {"messages": list(messages)})["prompt"]
        return prompt

    def greedy(self, prompt: Sequence[int], tokens: int) -> list[int]:
        """The most likely continuation; a stop token is part of it."""
        body = {"prompt": list(prompt), "n_predict": tokens, "temperature": 0}
        ids: list[int] = self._complete({**body, "return_tokens": True})["tokens"]
        return ids

    def log_probability(self, prefix: Sequence[int], token_id: int) -> float:
        """How likely `token_id` is after `prefix`: a natural logarithm."""
        chosen = self._choose(prefix, token_id, 1)
        if chosen is not None:
            return float(chosen["logprob"])
        for count in (_LIKELY_TOKENS, self.vocabulary):
            for row in self._most_likely(prefix, count):
                if row["id"] == token_id:
                    return float(row["logprob"])
        raise VerifyError(f"llama.cpp on {self._model.name} knows no token {token_id}")

    def log_probabilities(self, prefix: Sequence[int]) -> npt.NDArray[np.float32]:
        """[vocabulary]: how likely every token is after `prefix`, as natural logarithms."""
        values = np.full(self.vocabulary, -math.inf, np.float32)
        for row in self._most_likely(prefix, self.vocabulary):
            values[row["id"]] = row["logprob"]
        return values

    def _most_likely(self, prefix: Sequence[int], count: int) -> list[dict[str, Any]]:
        chosen = self._choose(prefix, self._plain_token, count)
        if chosen is None:
            raise VerifyError(f"llama.cpp on {self._model.name} tells no probabilities")
        rows: list[dict[str, Any]] = chosen["top_logprobs"]
        return rows

    def _choose(self, prefix: Sequence[int], token_id: int, count: int) -> dict[str, Any] | None:
        """The figures of `token_id` and of the `count` most likely ones; None when held back."""
        body = {
            "prompt": list(prefix),
            "n_predict": 1,
            "n_probs": count,
            "temperature": 0,
            "samplers": [],
            "logit_bias": [[token_id, _FORCING_BIAS]],
        }
        rows = self._complete(body).get("completion_probabilities")
        if not rows:
            return None
        if rows[0]["id"] != token_id:
            raise VerifyError(f"llama.cpp chose token {rows[0]['id']}, though told {token_id}")
        row: dict[str, Any] = rows[0]
        return row

    def _complete(self, body: dict[str, Any]) -> Any:
        return self._post("/completion", {**body, "cache_prompt": True})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._ask(
            urllib.request.Request(
                self._address + path,
                json.dumps(body).encode(),
                {"content-type": "application/json"},
            )
        )

    def _get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self._address + path))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            words = error.read(500).decode(errors="replace")
            raise VerifyError(
                f"llama.cpp on {self._model.name} refuses {request.selector}: {words}"
            ) from error
        except OSError as error:
            raise VerifyError(f"llama.cpp on {self._model.name} stopped: {error}") from error

    def _last_words(self) -> str:
        """What a child that ended wrote: lines of llama.cpp's log that say why."""
        self._log.seek(0)
        log = self._log.read().decode(errors="replace")
        lines = [line.strip() for line in log.splitlines() if "error" in line.lower()]
        return (lines or log.splitlines() or ["it says nothing"])[0][:300]
