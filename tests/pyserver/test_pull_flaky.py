"""pytest tests/pyserver/test_pull_flaky.py: pulls from a server that does everything wrong.

Every pull ends right, or with one clear error and a valid store; a flipped bit is never kept.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import flaky_server as flaky
from tests.fakes.flaky_server import Asked, Fault, FlakyServer, Plan
from tests.pyserver.pulling import (
    PIECE_BYTES,
    QUICK,
    SHORT,
    SIZES,
    STUBBORN,
    Heard,
    blobs_of,
    options,
    put_model,
)
from transom_models.errors import TransomError
from transom_models.manifest import Index
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.store import Store
from transom_server.transfer.pull import pull


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store behind the server that is pulled from."""
    return Store(tmp_path_factory.mktemp("origin") / "models")


@pytest.fixture(scope="module")
def index(origin: Store) -> Index:
    return put_model(origin, "many")


@pytest.fixture(scope="module")
def upstream(origin: Store, index: Index) -> Iterator[int]:
    config = Config.read({}, models=str(origin.root), port="0")
    with serving(create_app(config), config) as server:
        yield server.port


@pytest.fixture
def fake(upstream: int) -> Iterator[FlakyServer]:
    with flaky.flaky_server(upstream) as fake:
        yield fake


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def name_at(fake: FlakyServer) -> ModelName:
    return ModelName.parse(f"{fake.place}/library/many")


def pull_all(fake: FlakyServer, target: Store, **changes: object) -> None:
    pull(target, name_at(fake), options(**changes), Heard(), registry="")


def assert_pulled(target: Store, origin: Store, index: Index) -> None:
    assert target.verify().problems == ()
    assert blobs_of(target, index) == blobs_of(origin, index)
    assert [model.index for model in target.list_models()] == [index]
    assert list((target.scratch / "downloads").glob("*")) == []


def assert_clear(error: TransomError, fake: FlakyServer) -> None:
    text = str(error)
    assert fake.place in text
    assert "\n" not in text
    assert len(text) < 400


def in_pieces(asked: Asked) -> bool:
    """Whether this is for a piece of the largest blob, not for something small."""
    return asked.first is not None


def once(fault: Fault) -> Plan:
    """The first request for a piece goes wrong, and no other."""
    left = [fault]

    def plan(asked: Asked) -> Fault | None:
        return left.pop() if in_pieces(asked) and left else None

    return plan


def always(fault: Fault) -> Plan:
    return lambda asked: fault if in_pieces(asked) else None


# Faults that another try gets over, and what every try with them ends in.
FAULTS: dict[str, tuple[Fault, str]] = {
    "drops at once": (flaky.drop(0), "closed the connection too early"),
    "drops": (flaky.drop(1000), "closed the connection too early"),
    "drops before the last byte": (flaky.drop(PIECE_BYTES - 1), "closed the connection too early"),
    "is silent": (flaky.silent, "closed the connection too early"),
    "is no HTTP": (flaky.babble, "too early|not HTTP"),
    "truncates": (flaky.truncate(5), "wants to send"),
    "sends nothing": (flaky.truncate(PIECE_BYTES), "wants to send 0 bytes"),
    "sends more": (flaky.lengthen(5), "wants to send"),
    "promises more": (flaky.promise(5), "wants to send"),
    "promises less": (flaky.promise(-5), "wants to send"),
    "stalls at once": (flaky.stall(0), "sent nothing for 0.3 s"),
    "stalls": (flaky.stall(1000), "sent nothing for 0.3 s"),
    "stalls, or nearly": (flaky.trickle(0, 0.02), r"sent (\d+ bytes in|nothing for) 0.3 s"),
    "sends another range": (flaky.other_range(), "when asked for bytes"),
    "knows another size": (flaky.other_total("999"), "has 999 bytes, not"),
    "tells no range": (flaky.header("Content-Range", None), "when asked for bytes"),
    "sends 416": (flaky.status(416), "says that it has no bytes"),
    "is busy": (flaky.status(503, Retry_After="3600"), r"is busy \(status 503\)"),
    "is asked too often": (flaky.status(429, Retry_After="0"), r"is busy \(status 429\)"),
    "fails": (flaky.status(500), r"failed \(status 500\)"),
    "has a bad gateway": (flaky.status(502), r"failed \(status 502\)"),
    "flips a bit": (flaky.flip(10), "Content-Digest"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_got_over(
    kind: str, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    stalls = kind.startswith("stalls")
    fake.plan = once(FAULTS[kind][0])
    pull_all(fake, target, patience=STUBBORN if stalls else QUICK)
    assert_pulled(target, origin, index)
    # Nothing but the piece with the fault came twice; a busy machine may stall as well.
    assert stalls or fake.blob_bytes() <= sum(SIZES) + 23 + 2 * PIECE_BYTES


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_that_stays_is_one_error(
    kind: str, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fault, reason = FAULTS[kind]
    fake.plan = always(fault)
    patience = SHORT if kind.startswith("stalls") else QUICK
    with pytest.raises(TransomError, match=reason) as caught:
        pull_all(fake, target, connections=1, patience=patience)
    assert_clear(caught.value, fake)
    assert "6 tries" in str(caught.value)
    assert target.verify().problems == ()
    assert target.list_models() == []
    fake.plan = lambda asked: None
    pull_all(fake, target)
    assert_pulled(target, origin, index)


# Faults that no other try would get over.
FINAL: dict[str, tuple[Fault, str]] = {
    "gzip": (flaky.packed, r"packed its answer \(gzip\)"),
    "no such blob": (flaky.status(404), "has no blob"),
    "no longer": (flaky.status(410), "has no blob"),
    "no": (flaky.status(403), r"does not let us have .* \(status 403\)"),
    "who": (flaky.status(401), r"does not let us have .* \(status 401\)"),
    "teapot": (flaky.status(418), "answered status 418"),
    "nowhere": (flaky.status(302), "redirects to nowhere"),
    "javascript": (flaky.redirect("javascript:alert(1)"), "no address"),
    "file": (flaky.redirect("file:///etc/passwd"), "no address"),
    "http elsewhere": (flaky.redirect("http://registry.example/x"), "plain http"),
    "with a password": (flaky.redirect("http://a:b@127.0.0.1/x"), "user name"),
}


@pytest.mark.parametrize("kind", FINAL)
def test_an_answer_that_is_final(kind: str, fake: FlakyServer, target: Store) -> None:
    fault, reason = FINAL[kind]
    fake.plan = always(fault)
    with pytest.raises(TransomError, match=reason) as caught:
        pull_all(fake, target, connections=1)
    assert "\n" not in str(caught.value)
    assert len([row for row in fake.requests if "range" in row]) == 1
    assert target.verify().problems == ()
    assert target.list_models() == []


def test_redirects_in_a_circle(fake: FlakyServer, target: Store) -> None:
    fake.plan = lambda asked: flaky.redirect(asked.path) if asked.is_blob else None
    with pytest.raises(TransomError, match="redirects in a circle"):
        pull_all(fake, target)


def test_redirects_without_end(fake: FlakyServer, target: Store) -> None:
    fake.plan = lambda asked: (
        flaky.redirect(f"{asked.path.partition('?')[0]}?{asked.number}") if asked.is_blob else None
    )
    with pytest.raises(TransomError, match="redirects more than 5 times"):
        pull_all(fake, target, connections=1)


def test_blobs_may_lie_at_another_host(
    fake: FlakyServer, upstream: int, target: Store, origin: Store, index: Index
) -> None:
    with flaky.flaky_server(upstream) as cdn:
        fake.plan = lambda asked: (
            flaky.redirect(f"http://localhost:{cdn.port}{asked.path}") if asked.is_blob else None
        )
        pull_all(fake, target)
        assert cdn.blob_bytes() == sum(SIZES) + 23
    assert_pulled(target, origin, index)


# Flipped bits


def one_flip(origin: Store, index: Index, number: int) -> Plan:
    """A bit flips in the piece of this number of the largest blob, once."""
    largest = origin.get_manifest(index.manifests[0]).layers[0].digest
    left = [flaky.flip(1234)]

    def plan(asked: Asked) -> Fault | None:
        is_it = largest.hex in asked.path and asked.first == number * PIECE_BYTES
        return left.pop() if is_it and left else None

    return plan


@pytest.mark.parametrize("number", range(4))
def test_a_flipped_bit_costs_one_piece(
    number: int, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.plan = one_flip(origin, index, number)
    pull_all(fake, target)
    assert_pulled(target, origin, index)
    again = fake.blob_bytes() - (sum(SIZES) + 23)
    assert again == (PIECE_BYTES if number < 3 else 77)


@pytest.mark.parametrize("number", range(4))
def test_a_flipped_bit_is_found_without_digests_of_pieces(
    number: int, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.digests = False
    fake.plan = one_flip(origin, index, number)
    pull_all(fake, target)
    assert_pulled(target, origin, index)
    # Compared with the host's from the first piece on, until the one that differs.
    again = fake.blob_bytes() - (sum(SIZES) + 23)
    assert again == min((number + 1) * PIECE_BYTES, SIZES[0])


@pytest.mark.parametrize("digests", [True, False])
def test_a_flipped_bit_in_a_small_blob(
    digests: bool, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.digests = digests
    flipped = []

    def plan(asked: Asked) -> Fault | None:
        # Small blobs come whole, without a range. The empty one has no bit to flip.
        if not asked.is_blob or asked.first is not None or asked.path in flipped:
            return None
        flipped.append(asked.path)
        return flaky.flip(500)

    fake.plan = plan
    pull_all(fake, target)
    assert_pulled(target, origin, index)
    assert fake.blob_bytes() == sum(SIZES) + 23 + PIECE_BYTES + 1000 + 1 + 23


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_bit_that_always_flips_is_never_kept(
    digests: bool, ranges: bool, fake: FlakyServer, target: Store
) -> None:
    """As where the registry's own disk is bad: each try gives the same wrong bytes."""
    fake.digests, fake.ranges = digests, ranges
    fake.plan = lambda asked: flaky.flip(40) if asked.is_blob else None
    with pytest.raises(TransomError, match=r"other bytes than|Content-Digest"):
        pull_all(fake, target, connections=1)
    assert target.verify().problems == ()
    assert target.list_models() == []


def test_two_flips_of_one_blob(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.digests = False
    left = {0: flaky.flip(0), 3 * PIECE_BYTES: flaky.flip(9)}
    fake.plan = lambda asked: left.pop(asked.first, None) if asked.first is not None else None
    pull_all(fake, target)
    assert_pulled(target, origin, index)


# Servers without ranges


def test_a_server_without_ranges(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.ranges = False
    pull_all(fake, target)
    assert_pulled(target, origin, index)


def test_a_server_without_ranges_that_drops(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.ranges = False
    at = iter([10, PIECE_BYTES, 2 * PIECE_BYTES - 1, 2 * PIECE_BYTES + 1, SIZES[0] - 1])
    fake.plan = lambda asked: flaky.drop(next(at, SIZES[0])) if asked.is_blob else None
    pull_all(fake, target)
    assert_pulled(target, origin, index)


def test_a_server_that_forgets_how_ranges_go(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    def plan(asked: Asked) -> None:
        fake.ranges = asked.number < 5

    fake.plan = plan
    pull_all(fake, target)
    assert_pulled(target, origin, index)


def test_a_flip_without_ranges(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.ranges = False
    left = [flaky.flip(2 * PIECE_BYTES)]
    size = str(SIZES[0])

    def plan(asked: Asked) -> Fault | None:
        def change(answer: flaky.Answer) -> None:
            if len(answer.body) == int(size) and left:
                left.pop()(answer)

        return change

    fake.plan = plan
    pull_all(fake, target, connections=2)
    assert not left
    assert_pulled(target, origin, index)


def test_a_short_answer_is_gone_on_with(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    """Without digests of pieces what came is kept: even a server that always drops ends it."""
    fake.digests = False
    fake.plan = lambda asked: flaky.drop(50_000) if asked.is_blob else None
    pull_all(fake, target)
    assert_pulled(target, origin, index)
    assert fake.blob_bytes() < 1.2 * sum(SIZES)


def test_a_short_answer_makes_the_next_question_smaller(
    fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    """With digests of ranges only whole answers are kept, so they are asked for in parts."""
    fake.plan = lambda asked: flaky.drop(100_000) if asked.is_blob else None
    pull_all(fake, target, piece_bytes=1_000_000)
    assert_pulled(target, origin, index)


# Manifests


MANIFEST_FAULTS: dict[str, Fault] = {
    "drops": flaky.drop(10),
    "truncates": flaky.truncate(5),
    "flips": flaky.flip(3),
    "stalls": flaky.stall(3),
    "is busy": flaky.status(503),
    "lies about its digest": flaky.header("Docker-Content-Digest", "sha256:" + "0" * 64),
}


@pytest.mark.parametrize("kind", MANIFEST_FAULTS)
@pytest.mark.parametrize("number", [0, 1])
def test_a_manifest_comes_again(
    kind: str, number: int, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    left = [MANIFEST_FAULTS[kind]]

    def plan(asked: Asked) -> Fault | None:
        return left.pop() if asked.number == number and left else None

    fake.plan = plan
    pull_all(fake, target, patience=STUBBORN)
    assert not left
    assert_pulled(target, origin, index)


# All at once


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_many_faults_at_once(
    seed: int, digests: bool, fake: FlakyServer, target: Store, origin: Store, index: Index
) -> None:
    fake.digests = digests
    fake.plan = flaky.random_faults(seed, 0.3)
    for _ in range(10):
        try:
            pull_all(fake, target, patience=SHORT)
        except TransomError as error:
            text = str(error)
            assert "\n" not in text
            assert target.verify().problems == ()
            assert target.list_models() == []
        else:
            break
    else:
        pytest.fail("ten pulls in a row gave up")
    assert_pulled(target, origin, index)
