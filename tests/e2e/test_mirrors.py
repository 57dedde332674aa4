"""`transom export --mirror`: a site whose own host loses models, or has them damaged, still loads.

The site lies in a fake bucket, its mirror on a fake GitHub Pages, each on a port of its own
(`static_hosts.py`). A fresh Chromium without a graphics adapter loads tiny random llamas; the
hosts' logs are the witness.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Playwright

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium
from tests.e2e.commands import transom
from tests.fakes import static_hosts
from tests.fakes.static_hosts import Asked
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import put_native
from transom_server.store import Store

MIB = 1024 * 1024
# More than two pieces of a download, so that there is something to ask both hosts for.
PADDING = 9 * MIB
SITE, COPY = "site", "copy"
START = "index.html"

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Hosts:
    """A site and its mirror."""

    address: str
    folder: Path
    asked: list[Asked]
    mirror: str
    asked_of_mirror: list[Asked]

    def gguf(self, model: bytes) -> Path:
        """The site's own file of a model's weights."""
        blobs = (self.folder / "blobs" / "sha256").iterdir()
        return next(path for path in blobs if path.read_bytes() == model)


def model(number: int) -> bytes:
    """A GGUF; what follows its last tensor is nobody's."""
    return tiny_llama().to_bytes() + bytes([number]) * PADDING


@pytest.fixture(scope="module")
def hosts(web_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    del web_build
    folder = tmp_path_factory.mktemp("mirrors")
    for number, name in enumerate(("lost", "damaged", "gone")):
        put_native(Store(folder / "models"), name, model(number))
    own, other = folder / "own", folder / "other"
    (own / SITE).parent.mkdir()
    other.mkdir()
    log: list[Asked] = []
    mirror_log: list[Asked] = []
    with static_hosts.github_pages(other, mirror_log) as mirror_origin:
        mirror = f"{mirror_origin}/{COPY}/"
        exported = ("export", own / SITE, "--mirror", mirror)
        done = transom(*exported, store=folder / "models")
        assert done.returncode == 0, done.stderr
        checked = transom("export", "--check", own / SITE, store=folder / "models")
        assert checked.returncode == 0, checked.stdout
        shutil.copytree(own / SITE, other / COPY)
        with static_hosts.amazon_s3(own, log) as origin:
            address = f"{origin}/{SITE}/"
            yield Hosts(address, own / SITE, log, mirror, mirror_log)


def load(context: BrowserContext, hosts: Hosts, name: str) -> dict[str, Any]:
    page = context.new_page()
    page.goto(f"{hosts.address}{START}?model={name}")
    report: dict[str, Any] = page.evaluate("() => window.transom.ready")
    answer = page.evaluate(
        "(text) => window.transom.ask(text, { temperature: 0, maxTokens: 8 })", "Hello"
    )
    assert answer["text"] != ""
    page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    page.close()
    print(f"\n{name}: {report}")
    return report


def test_a_site_that_loses_its_models_has_them_from_its_mirror(
    hosts: Hosts, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context:
        # Without a service worker, under the page's own policy.
        lost = hosts.gguf(model(0))
        lost.unlink()
        report = load(context, hosts, "lost")
        assert report["bytesDownloaded"] > PADDING
        name = f"/{COPY}/blobs/sha256/{lost.name}"
        pieces = [asked for asked in hosts.asked_of_mirror if asked.path == name]
        assert {asked.status for asked in pieces} == {206}
        # Asked for simple ranges, browsers ask nobody's leave: each piece is one request.
        assert (
            len({asked.range for asked in pieces}) == len(pieces) == -(-len(model(0)) // (4 * MIB))
        )

        # Under the service worker's policy, too; a byte is damaged on the host's disk.
        damaged = hosts.gguf(model(1))
        content = bytearray(model(1))
        content[3 * MIB] ^= 1
        damaged.write_bytes(content)
        load(context, hosts, "damaged")
        # The first piece came from the site's own host, and then, alone, from the other one.
        name = f"/blobs/sha256/{damaged.name}"
        first = f"bytes=0-{4 * MIB - 1}"
        assert Asked(f"/{SITE}{name}", 206, first) in hosts.asked
        pieces = [asked for asked in hosts.asked_of_mirror if asked.path == f"/{COPY}{name}"]
        assert Asked(f"/{COPY}{name}", 206, first) == pieces[-1]
        both = [asked for asked in hosts.asked if asked.path == f"/{SITE}{name}"] + pieces
        assert len(both) == -(-len(model(1)) // (4 * MIB)) + 1

        # What was mended is what is kept.
        assert load(context, hosts, "damaged")["bytesDownloaded"] == 0

        # The host is away but for the page, which the service worker has.
        index = (hosts.folder / "index.json").rename(hosts.folder / "index.gone")
        blobs = (hosts.folder / "blobs").rename(hosts.folder / "blobs.gone")
        load(context, hosts, "gone")
        assert f"/{COPY}/index.json" in {asked.path for asked in hosts.asked_of_mirror}
        index.rename(hosts.folder / "index.json")
        blobs.rename(hosts.folder / "blobs")
        # Nothing else of the mirror's is asked for.
        allowed = (f"/{COPY}/blobs/sha256/", f"/{COPY}/index.json")
        assert all(asked.path.startswith(allowed) for asked in hosts.asked_of_mirror)
        assert urlsplit(hosts.mirror).netloc != urlsplit(hosts.address).netloc
