"""Models on their way into a real browser: visits cut short, storage that rots, shared bytes.

Between the browser and the server is a proxy that remembers what was asked for.
"""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from tests import waiting
from tests.e2e.bad_network import BadNetwork, between
from tests.e2e.browser import open_chromium
from tests.e2e.commands import Compiled, Server, serve, transom

PIECE_BYTES = 4 * 1024 * 1024
CONNECTIONS = 4
# Of the model's bytes, where a visit ends; the last one by the death of the whole browser.
CUTS = (0.02, 0.1, 0.25, 0.3, 0.31, 0.5, 0.65, 0.8, 0.95)
MODELFILE = "FROM smollm2\nSYSTEM You are a pirate.\n"

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def own_server(
    compiled: Compiled, web_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The session's model and one made from it, on a server of this file's own."""
    folder = tmp_path_factory.mktemp("downloads")
    modelfile = folder / "Modelfile"
    modelfile.write_text(MODELFILE)
    done = transom("create", "pirate", "-f", modelfile, store=compiled.store)
    assert done.returncode == 0, done.stderr
    with serve(compiled.store, folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def network(own_server: Server) -> Iterator[BadNetwork]:
    """A good one, to that server."""
    with between(BadNetwork(own_server.address, seed=1)) as network:
        yield network


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


def load(context: BrowserContext, network: BadNetwork, model: str = "smollm2") -> dict[str, Any]:
    page = context.new_page()
    page.goto(f"{network.address}/?model={model}")
    report: dict[str, Any] = page.evaluate("() => window.transom.ready")
    print(f"\n{model}: {json.dumps(report)}")
    page.close()
    return report


def wait_for(page: Page, share: float) -> int:
    """Wait until so much of the model is there; gives the bytes."""
    while True:
        progress = page.evaluate("() => window.transom?.progress() ?? null")
        if progress and progress["totalBytes"]:
            if progress["doneBytes"] >= share * progress["totalBytes"]:
                return int(progress["doneBytes"])
        time.sleep(0.01)


def test_a_visit_goes_on_where_the_last_one_was_cut(
    network: BadNetwork, playwright: Playwright, chromium: str, profile: Path
) -> None:
    done = 0
    with open_chromium(playwright, chromium, profile) as context:
        for share in CUTS[:-1]:
            page = context.new_page()
            page.goto(f"{network.address}/?model=smollm2")
            done = wait_for(page, share)
            page.close()
    with open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        page.goto(f"{network.address}/?model=smollm2")
        done = wait_for(page, CUTS[-1])
        kill_browser(profile)
    with open_chromium(playwright, chromium, profile) as context:
        report = load(context, network)
    # What was on its way: a piece of each connection.
    assert report["bytesFromCache"] >= done - CONNECTIONS * PIECE_BYTES
    assert report["bytesFromCache"] + report["bytesDownloaded"] >= 90e6
    assert report["isKept"] is True


def kill_browser(profile: Path) -> None:
    listed = subprocess.run(
        ["pgrep", "--full", f"user-data-dir={profile}"], capture_output=True, text=True, check=True
    )
    for pid in map(int, listed.stdout.split()):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # its parent took it along


def test_a_model_that_shares_blobs_brings_only_its_own(
    own_server: Server, network: BadNetwork, playwright: Playwright, chromium: str, profile: Path
) -> None:
    before = len(network.sent)
    with open_chromium(playwright, chromium, profile) as context:
        report = load(context, network, "pirate")
    own = blobs_of(own_server, "pirate")
    shared = blobs_of(own_server, "smollm2")
    missing = {digest: size for digest, size in own.items() if digest not in shared}
    # It notes what it sent after the last byte.
    waiting.wait_for(lambda: len(network.sent) - before >= len(missing))
    sent = [(each.digest, each.first, each.last + 1) for each in network.sent[before:]]
    # Whoever asked: the page, its workers or the service worker. Each once, as a whole.
    assert sorted(sent) == sorted((digest, 0, size) for digest, size in missing.items())
    assert report["bytesDownloaded"] == sum(missing.values())
    assert report["bytesDownloaded"] < 100_000


def blobs_of(server: Server, model: str) -> dict[str, int]:
    """Sizes of what the page reads of a model, by digest."""
    base = f"{server.address}/v2/library/{model}/manifests"
    index = read_json(f"{base}/latest")
    row = next(each for each in index["manifests"] if each["platform"].get("variant") == "f32")
    manifest = read_json(f"{base}/{row['digest']}")
    kinds = ("license", "+wasm")
    layers = [each for each in manifest["layers"] if not each["mediaType"].endswith(kinds)]
    return {each["digest"]: each["size"] for each in [manifest["config"], *layers]}


def read_json(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_rotten_storage_is_noticed_and_mended(
    network: BadNetwork, playwright: Playwright, chromium: str, profile: Path
) -> None:
    with open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        page.goto(f"{network.address}/healthz")
        flipped = page.evaluate(
            """async () => {
                const origin = await navigator.storage.getDirectory();
                const root = await origin.getDirectoryHandle("transom");
                const blobs = await root.getDirectoryHandle("blobs");
                let largest = null;
                let size = 0;
                for await (const handle of blobs.values()) {
                    const file = await handle.getFile();
                    if (file.size > size) {
                        largest = handle;
                        size = file.size;
                    }
                }
                const bytes = new Uint8Array(await (await largest.getFile()).arrayBuffer());
                bytes[1000] ^= 1;
                const stream = await largest.createWritable();
                await stream.write(bytes);
                await stream.close();
                return bytes.byteLength;
            }"""
        )
        report = load(context, network)
    assert report["bytesDownloaded"] == flipped
