"""pytest tests/contract/api/test_page_host.py: every case, asked of what answers in the page, but
without a page: `transom_pyodide` under CPython. `test_browser.py` asks the same in a browser.
"""

import pytest

from tests.contract.api.asking import Case, read_cases, requested, run
from tests.contract.api.checking import check_same
from tests.contract.api.conftest import Ask

CASES = [case for case in read_cases() if case.only != "server"]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, ask_server: Ask, ask_page: Ask) -> None:
    answers, same = run(case, ask_page), run(case, ask_server)
    for number, (step, answer) in enumerate(zip(case.steps, answers, strict=True)):
        check_same(case, step, requested(step, answers[:number]), same[number], answer)
