"""Speaks the library worker's protocol and compiles nothing: a library is three words.

`FAKE_COMPILER` in the environment changes its manners: "refuse" answers with an error, "crash" ends
without an answer, "hang" never answers.
"""

import json
import os
import pickle
import sys
import time

FAKE_COMPILER = (sys.executable, __file__)


def answer(body: dict[str, object]) -> None:
    print(json.dumps(body), flush=True)


def main() -> None:
    manners = os.environ.get("FAKE_COMPILER", "")
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer({"phase": "graph"})
        if manners == "refuse":
            answer({"error": "no linker here"})
            continue
        if manners == "crash":
            sys.exit("tvm: an internal error")
        if manners == "hang":
            time.sleep(600)
        request = job.request
        job.out.write_text(f"{request.compute_dtype} {request.schedule} {request.context_window}")
        answer({"phase": "link"})
        answer({"seconds": {"codegen": 0.5}, "peak_rss_bytes": 1000})


if __name__ == "__main__":
    main()
