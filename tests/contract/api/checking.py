"""What a case expects of an answer, and what every answer of a dialect has to be besides."""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from tests.contract.api.answers import NDJSON, SSE, Answer, at, said_in
from tests.contract.api.asking import Case, Request, Step

# Statuses to the words of errors, from the makers' documents.
OPENAI_TYPES: Final = {403: "permission_error", 429: "rate_limit_error", 500: "server_error",
                       501: "server_error"}  # fmt: skip
ANTHROPIC_TYPES: Final = {400: "invalid_request_error", 404: "not_found_error",
                          413: "request_too_large", 500: "api_error",
                          501: "api_error"}  # fmt: skip

# Beside the body. Others are about the connection, or about who is asked.
SAME_HEADERS: Final = ("content-type", "cache-control", "x-accel-buffering")


def check(case: Case, step: Step, request: Request, answer: Answer) -> None:
    """Raises `AssertionError` that says the case and shows the answer."""
    try:
        check_answer(step.expected, request, answer)
    except (AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
        asked = f"{request.method} {request.path:.200}\n{(request.body or '')[:2000]}"
        shown = f"{answer.status} {answer.type}\n{answer.text[:4000]}"
        reason = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{case.name}: {reason}\n\n{asked}\n\n{shown}") from error


def check_same(case: Case, step: Step, request: Request, server: Answer, page: Answer) -> None:
    """The page answers as the server, but for what is another each time. Where a browser has to
    differ, the case says how. Raises `AssertionError` that shows both."""
    asked = f"{request.method} {request.path:.200}\n{(request.body or '')[:2000]}"
    if step.in_browser is not None:
        try:
            check_answer(step.in_browser, request, page)
        except (AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
            shown = f"{page.status} {page.type}\n{page.text[:4000]}"
            reason = f"{type(error).__name__}: {error}"
            raise AssertionError(f"{case.name}: {reason}\n\n{asked}\n\n{shown}") from error
        return
    for name, value in step.expected.get("head", {}).items():
        _equal(f"{case.name}: header {name} of the page", page.headers.get(name), value)
    ours, theirs = _summary(server), _summary(page)
    if ours != theirs:
        lines = difflib.unified_diff(ours, theirs, "server", "page", n=1, lineterm="")
        shown = "\n".join(line[:3000] for line in lines)
        raise AssertionError(f"{case.name}: the page answers otherwise\n\n{asked}\n\n{shown}")


def _summary(answer: Answer) -> list[str]:
    """All that has to be equal, a line each."""
    heads = [f"{name}: {answer.headers.get(name)}" for name in SAME_HEADERS]
    # In any order.
    heads.append(f"allow: {sorted(answer.headers.get('allow', '').split(', '))}")
    return [str(answer.status), *heads, *answer.normal.split("\n")]


def check_answer(expected: Mapping[str, Any], request: Request, answer: Answer) -> None:
    """`expected` are checks by their words; see README.md."""
    refuses = expected.get("refuses")
    status = expected.get("status", 400 if refuses else 200)
    assert answer.status == status, f"status {answer.status}, not {status}"
    for name, value in expected.get("head", {}).items():
        _equal(f"header {name}", answer.headers.get(name), value)
    if "type" in expected:
        _equal("content type", answer.type, expected["type"])
    if refuses:
        _equal("content type", answer.type, "application/json")
        _equal("error", _without_request_id(answer.value), error_body(request, status, *refuses))
    elif status == 200 and request.method == "POST":
        check_form(request, answer)
    for path, value in expected.get("is", {}).items():
        _equal(path, at(answer.value, path), value)
    for path in expected.get("missing", ()):
        before, _, name = path.rpartition(".")
        assert name not in at(answer.value, before), f"{path} is there"
    if "kinds" in expected:
        _equal("kinds of frames", kinds(answer), expected["kinds"])
    _check_said(expected, request, answer)


def _check_said(expected: Mapping[str, Any], request: Request, answer: Answer) -> None:
    if not expected.keys() & {"text", "thought", "calls", "finish", "told"}:
        return
    said = said_in(request.path, answer)
    if "told" in expected:
        # Before it may be what was written for the model.
        told = json.loads(said.text[said.text.index("{") :])
        for path, value in expected["told"].items():
            _equal(f"told {path}", at(told, path), value)
    for word, found in (
        ("text", said.text),
        ("thought", said.thought),
        ("calls", [list(call) for call in said.calls]),
        ("finish", said.finish[0] if len(said.finish) == 1 else said.finish),
    ):
        if word in expected:
            _equal(word, found, expected[word])


def error_body(
    request: Request, status: int, param: str | None, message: str, code: str | None = None
) -> dict[str, Any]:
    """The whole error of the dialect that was asked."""
    text = (
        message if param is None or code not in (None, "invalid_value") else f"{param}: {message}"
    )
    if request.path.startswith("/api/"):
        return {"error": text}
    if request.path.startswith("/v1/messages") or "anthropic-version" in request.headers:
        return {"type": "error", "error": {"type": ANTHROPIC_TYPES[status], "message": text}}
    kind = OPENAI_TYPES.get(status, "invalid_request_error")
    known = code or ("invalid_value" if param is not None else None)
    return {"error": {"message": text, "type": kind, "param": param, "code": known}}


def _without_request_id(body: Any) -> Any:
    # Anthropic's errors have it; which one, nobody can foretell.
    if isinstance(body, dict) and body.get("type") == "error":
        return {key: value for key, value in body.items() if key != "request_id"}
    return body


def kinds(answer: Answer) -> list[str]:
    """What frames are, in their order; those of a kind that follow each other count once."""
    found: list[str] = []
    for frame in answer.value:
        for kind in _kinds_of(frame):
            if not found or found[-1] != kind:
                found.append(kind)
    return found


def _kinds_of(frame: Any) -> list[str]:
    if frame == "[DONE]":
        return ["[DONE]"]
    if "type" in frame:
        return [frame["type"]]
    if "error" in frame:
        return ["error"]
    if "choices" in frame:
        if not frame["choices"]:
            return ["usage"]
        (row,) = frame["choices"]
        if row["finish_reason"] is not None:
            return ["finish"]
        return [word for word in row.get("delta", {"text": ""}) if word != "refusal"][:1]
    if frame.get("done"):
        return ["done"]
    part = frame.get("message", frame)
    return [word for word in ("thinking", "tool_calls") if word in part] or ["words"]


def check_form(request: Request, answer: Answer) -> None:
    """What each answer of this route has to be, whatever it says."""
    body = json.loads(request.body) if request.body else {}
    wants_stream = isinstance(body, dict) and body.get("stream")
    if request.path in ("/api/chat", "/api/generate"):
        wants_stream = body.get("stream") is not False and answer.type != "application/json"
        _equal("content type", answer.type, NDJSON if wants_stream else "application/json")
        _check_ollama(body, answer)
    elif request.path in ("/v1/chat/completions", "/v1/completions"):
        _check_type(answer, bool(wants_stream))
        _check_openai(request.path == "/v1/completions", body, answer)
    elif request.path == "/v1/messages":
        _check_type(answer, bool(wants_stream))
        _check_anthropic(body, answer)
    elif request.path == "/v1/responses":
        _check_type(answer, bool(wants_stream))
        _check_responses(body, answer)


def _check_type(answer: Answer, wants_stream: bool) -> None:
    wanted = f"{SSE}; charset=utf-8" if wants_stream else "application/json"
    _equal("content type", answer.type, wanted)
    _equal("cache-control", answer.headers.get("cache-control"), "no-store")


def _check_openai(is_text: bool, body: Mapping[str, Any], answer: Answer) -> None:
    frames = answer.value if answer.is_stream else [answer.value]
    if answer.is_stream and "error" in frames[-1]:
        frames = frames[:-1]
    elif answer.is_stream:
        _equal("the last frame", frames[-1], "[DONE]")
        frames = frames[:-1]
    kind = "text_completion" if is_text else "chat.completion"
    kind += ".chunk" if answer.is_stream and not is_text else ""
    heads = {(frame["id"], frame["object"], frame["created"], frame["model"]) for frame in frames}
    assert len(heads) <= 1, f"frames differ in their heads: {heads}"
    for name, found, _, model in heads:
        assert re.fullmatch(("cmpl" if is_text else "chatcmpl") + r"-[0-9a-f]{24}", name), name
        _equal("object", found, kind)
        _equal("model", model, body["model"])
    if answer.is_stream:
        wants_usage = (body.get("stream_options") or {}).get("include_usage")
        usages = [frame for frame in frames if frame.get("usage") and not frame["choices"]]
        _equal("frames with usage alone", len(usages), 1 if wants_usage and frames else 0)
    for frame in frames:
        if frame.get("usage"):
            usage = frame["usage"]
            total = usage["prompt_tokens"] + usage["completion_tokens"]
            _equal("total tokens", usage["total_tokens"], total)
            assert usage["prompt_tokens_details"]["cached_tokens"] <= usage["prompt_tokens"]


def _check_ollama(body: Mapping[str, Any], answer: Answer) -> None:
    frames = answer.value if answer.is_stream else [answer.value]
    if "error" in frames[-1]:
        return
    _equal("frames that are the end", [frame["done"] for frame in frames].count(True), 1)
    last = frames[-1]
    _equal("done", last["done"], True)
    _equal("model", last["model"], body.get("model") or body.get("name"))
    for name in ("total_duration", "load_duration", "prompt_eval_count", "eval_count"):
        assert last["done_reason"] in ("load", "unload") or isinstance(last[name], int), name


def _check_anthropic(body: Mapping[str, Any], answer: Answer) -> None:
    if not answer.is_stream:
        message = answer.value
        _equal(
            "keys",
            list(message),
            "id type role model content stop_reason stop_sequence usage".split(),
        )
        return
    frames = answer.value
    order = [frame["type"] for frame in frames]
    _equal("the first events", order[:2], ["message_start", "ping"])
    if order[-1] == "error":
        return
    _equal("the last events", order[-2:], ["message_delta", "message_stop"])
    is_open, count = False, 0
    for frame in frames[2:-2]:
        _equal("index", frame["index"], count)
        if frame["type"] == "content_block_start":
            assert not is_open, "a block begins in another one"
            is_open = True
        else:
            assert is_open, f"{frame['type']} outside of a block"
        if frame["type"] == "content_block_stop":
            is_open, count = False, count + 1
    assert not is_open, "a block never ends"
    _equal("model", frames[0]["message"]["model"], body["model"])


def _check_responses(body: Mapping[str, Any], answer: Answer) -> None:
    response = answer.value
    if answer.is_stream:
        frames = answer.value
        _equal("numbers", [f["sequence_number"] for f in frames], list(range(len(frames))))
        _equal(
            "the first events",
            [frame["type"] for frame in frames[:2]],
            ["response.created", "response.in_progress"],
        )
        response = frames[-1]["response"]
        done = [f["item"] for f in frames if f["type"] == "response.output_item.done"]
        if response["status"] != "failed":
            _equal("items that were done", done, response["output"])
    assert re.fullmatch(r"resp_[0-9a-f]{48}", response["id"]), response["id"]
    _equal("model", response["model"], body["model"])
    if response["usage"]:
        total = response["usage"]["input_tokens"] + response["usage"]["output_tokens"]
        _equal("total tokens", response["usage"]["total_tokens"], total)


def _equal(what: str, found: Any, expected: Any) -> None:
    if isinstance(expected, dict) and expected.keys() == {"~"}:
        assert isinstance(found, str), f"{what} is {found!r:.300}, no text"
        assert re.search(expected["~"], found), f"{what} is {found!r:.300}, not {expected['~']!r}"
        return
    # 1 is True to Python, and 1.0.
    assert json.dumps(_sorted(found)) == json.dumps(_sorted(expected)), (
        f"{what} is {json.dumps(found, ensure_ascii=False)[:3000]}, "
        f"not {json.dumps(expected, ensure_ascii=False)[:3000]}"
    )


def _sorted(value: Any) -> Any:
    """Names of objects in one order, whole floats as whole numbers."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
