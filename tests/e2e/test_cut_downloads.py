"""Fifty visits cut at random instants, on a network that fails: the next visit always goes on.

Two downloads of 25 visits each: 24 times the tab is closed, the last time the whole browser is
killed. Then a visit that may end, on the same network. Everything is thrown by one seed.
"""

import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from tests.e2e.bad_network import BadNetwork, Fault, between
from tests.e2e.browser import open_chromium
from tests.e2e.commands import Server
from tests.e2e.test_downloads import CONNECTIONS, PIECE_BYTES, kill_browser

SEED = 20261121
DOWNLOADS = 2
CUTS = 25
LAST_SHARE = 0.97
"""After that a visit may be over before it is cut."""
FAULTS: tuple[Fault, ...] = ("drop", "truncate", "flip", "stall")
FAULT_SHARE = 0.25
PATIENCE_SECONDS = 1
"""Without a byte; then the network stalls, and the visit ends here."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.mark.parametrize("download", range(DOWNLOADS))
def test_the_next_visit_goes_on(
    download: int, server: Server, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED + download)
    shares = sorted(chance.uniform(0, LAST_SHARE) for _ in range(CUTS))
    network = BadNetwork(server.address, SEED + download)
    profile = tmp_path / "profile"
    with between(network):
        with open_chromium(playwright, chromium, profile) as context:
            for share in shares[:-1]:
                page = visit(context, network)
                wait_for(page, share)
                time.sleep(chance.uniform(0, 0.1))
                page.close()
        with open_chromium(playwright, chromium, profile) as context:
            wait_for(visit(context, network), shares[-1])
            kill_browser(profile)
        with open_chromium(playwright, chromium, profile) as context:
            page = visit(context, network, stalls=False)
            page.wait_for_function("() => window.transom !== undefined")
            report: dict[str, Any] = page.evaluate("() => window.transom.ready")
            kept = read_storage(page)
    print(f"\n{download}: {json.dumps(figures(network))} {json.dumps(report)}")
    assert report["isKept"] is True
    assert kept["wrong"] == []
    assert kept["pieces"] == []
    assert kept["bytes"] >= report["bytesFromCache"] + report["bytesDownloaded"]
    for pieces in lost(network).values():
        assert len(pieces) <= CONNECTIONS, pieces


def visit(context: BrowserContext, network: BadNetwork, stalls: bool = True) -> Page:
    """Open the page. Stalls are for visits that are cut: noticing one takes half a minute."""
    network.visit += 1
    network.faults = FAULTS if stalls else FAULTS[:-1]
    network.fault_share = FAULT_SHARE
    page = context.new_page()
    page.goto(f"{network.address}/?model=smollm2&pipelines=lazy", wait_until="commit")
    return page


def wait_for(page: Page, share: float) -> None:
    """Wait until so much of the model is there, or nothing has moved for a moment (a stall)."""
    before, moved_at = -1, time.monotonic()
    while time.monotonic() - moved_at < PATIENCE_SECONDS:
        progress = page.evaluate("() => window.transom?.progress() ?? null")
        done = progress["doneBytes"] if progress else -1
        if done != before:
            before, moved_at = done, time.monotonic()
        if progress and progress["totalBytes"] and done >= share * progress["totalBytes"]:
            return
        time.sleep(0.01)


def lost(network: BadNetwork) -> dict[int, set[tuple[str, int]]]:
    """By visit: pieces that it was sent whole and well, and a later one asked for again."""
    arrived: dict[tuple[str, int], int] = {}
    again: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for sent in sorted(network.sent, key=lambda each: each.visit):
        piece = (sent.digest, sent.first // PIECE_BYTES)
        before = arrived.get(piece, sent.visit)
        if before < sent.visit:
            again[before].add(piece)
        if sent.is_whole:
            arrived[piece] = sent.visit
    return again


def figures(network: BadNetwork) -> dict[str, int]:
    faults: dict[str, int] = defaultdict(int)
    for sent in network.sent:
        faults[sent.fault or "well"] += 1
    again = sum(len(pieces) for pieces in lost(network).values())
    return {"visits": network.visit, "again": again, **faults}


def read_storage(page: Page) -> dict[str, Any]:
    """Hash all that is stored: blobs with a wrong digest, files that are no blob, pieces left. What
    goes while it is looked at has the looking begin again."""
    found: dict[str, Any] = page.evaluate(
        """async () => {
            async function walk() {
                const origin = await navigator.storage.getDirectory();
                const root = await origin.getDirectoryHandle("transom");
                const wrong = [];
                let bytes = 0;
                const blobs = await root.getDirectoryHandle("blobs");
                for await (const [name, handle] of blobs.entries()) {
                    const content = await (await handle.getFile()).arrayBuffer();
                    // Being written: the store takes it for none, too.
                    if (content.byteLength === 0) {
                        continue;
                    }
                    bytes += content.byteLength;
                    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
                    const hex = [...hash].map((byte) => byte.toString(16).padStart(2, "0"));
                    if (hex.join("") !== name) {
                        wrong.push(name);
                    }
                }
                const pieces = [];
                const folders = await root.getDirectoryHandle("pieces");
                for await (const folder of folders.values()) {
                    for await (const name of folder.keys()) {
                        pieces.push(`${folder.name}/${name}`);
                    }
                }
                return { wrong, bytes, pieces };
            }
            for (let tries = 5; ; tries--) {
                try {
                    return await walk();
                } catch (error) {
                    const gone = ["NotFoundError", "NotReadableError"];
                    if (!gone.includes(error.name) || tries === 0) {
                        throw error;
                    }
                }
            }
        }"""
    )
    return found
