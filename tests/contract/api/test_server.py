"""pytest tests/contract/api/test_server.py: every case, asked of the server."""

import pytest
from flask import Flask

from tests.contract.api.asking import (
    Case,
    Request,
    endless,
    read_cases,
    requested,
    run,
)
from tests.contract.api.checking import check
from tests.contract.api.conftest import Ask
from tests.fakes.scripted_engine import ScriptedLoader

SECONDS = 20
CASES = [case for case in read_cases() if case.only != "browser"]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, ask_server: Ask) -> None:
    answers = run(case, ask_server)
    for number, (step, answer) in enumerate(zip(case.steps, answers, strict=True)):
        check(case, step, requested(step, answers[:number]), answer)


@pytest.mark.parametrize("request_", endless(stream=True), ids=lambda request: request.path)
def test_who_leaves_ends_the_work(request_: Request, app: Flask, loader: ScriptedLoader) -> None:
    response = app.test_client().open(
        request_.path, method=request_.method, data=request_.body, buffered=False
    )
    assert next(response.iter_encoded())
    response.close()
    assert loader.cancelled.acquire(timeout=SECONDS)
