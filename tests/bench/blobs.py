"""What a blob costs: bytes a second of the blob route over nginx's `sendfile`, on loopback.

    .ci/apt nginx-light
    python -m tests.bench.blobs [--megabytes 1024] [--rounds 5] [--streams 1,4,16]

The same file, in the page cache, by both; clients are processes of their own that read into one
buffer. The rounds take turns, so that a busy machine slows both alike, and each figure is the best
of the rounds. The last row asks for ranges of 16 MiB, as pulls do, on one connection. While the
most streams run, the time to the first byte of `/healthz` is told too.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from transom_models.digest import Digest
from transom_server.store import Store

RANGE_BYTES: Final = 16 * 1024 * 1024
NGINX: Final = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
SERVER: Final = """
import os, sys
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.http.serving import serving
config = Config.read(os.environ, port="0")
with serving(create_app(config), config) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""
# Reads `count` answers of one connection, and says when it is through.
CLIENT: Final = """
import socket, sys
port, path, size, part = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sock = socket.create_connection(("127.0.0.1", port))
buffer = bytearray(1 << 20)
sys.stdin.readline()
for first in range(0, size, part):
    last = min(first + part, size) - 1
    head = f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\nRange: bytes={first}-{last}\\r\\n\\r\\n"
    sock.sendall(head.encode())
    left, seen = last - first + 1, b""
    while b"\\r\\n\\r\\n" not in seen:
        seen += sock.recv(4096)
    assert b" 206 " in seen.splitlines()[0], seen[:200]
    left -= len(seen.partition(b"\\r\\n\\r\\n")[2])
    while left:
        got = sock.recv_into(buffer)
        assert got
        left -= got
print("read", flush=True)
"""


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[int]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("no nginx; install it with: .ci/apt nginx-light")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        # Its worker may be another user.
        Path(folder).chmod(0o755)
        settings = Path(folder) / "nginx.conf"
        text = NGINX.format(folder=folder, port=port, root=root)
        settings.write_text(("user root;" if os.getuid() == 0 else "") + text)
        process = subprocess.Popen([program, "-p", folder, "-c", str(settings)])
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextlib.contextmanager
def transom(folder: Path) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**os.environ, "TRANSOM_MODELS": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()


def megabytes_a_second(
    port: int, path: str, size: int, streams: int, part: int, waits: list[float] | None = None
) -> float:
    """Of all streams together; `waits` gets seconds to the first byte of short requests."""
    command = [sys.executable, "-c", CLIENT, str(port), path, str(size), str(part)]
    clients = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(streams)
    ]
    time.sleep(0.5)  # all have begun, and are connected
    started = time.perf_counter()
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("\n")
        client.stdin.flush()
    if waits is not None:
        while all(client.poll() is None for client in clients):
            waits.append(short_request(port))
            time.sleep(0.02)
    for client in clients:
        out, _ = client.communicate()
        assert out == "read\n"
    return streams * size / 1e6 / (time.perf_counter() - started)


def short_request(port: int) -> float:
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        connection.recv(1)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", default="1,4,16", help="connections at once, by comma")
    given = parser.parse_args()
    rows = [(int(streams), given.megabytes * 10**6) for streams in given.streams.split(",")]
    rows.append((1, RANGE_BYTES))
    best: dict[tuple[str, int, int], float] = {}
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        store = Store(Path(name) / "models")
        data = os.urandom(1 << 20) * (given.megabytes * 10**6 // (1 << 20) + 1)
        data = data[: given.megabytes * 10**6]
        digest = store.put_bytes(data)
        (path,) = store.root.rglob(f"*{Digest.of(data).hex}")
        with nginx(store.root) as theirs, transom(store.root) as ours:
            places = {
                "nginx": (theirs, f"/{path.relative_to(store.root)}"),
                "transom": (ours, f"/v2/bench/blobs/{digest}"),
            }
            for _ in range(given.rounds):
                for streams, part in rows:
                    for place, (port, address) in places.items():
                        size = len(data) // min(streams, 4)
                        heard = waits if place == "transom" and streams == max(rows)[0] else None
                        speed = megabytes_a_second(port, address, size, streams, part, heard)
                        key = (place, streams, part)
                        best[key] = max(best.get(key, 0.0), speed)
    print(f"{'streams':>8}  {'of':>9} {'nginx MB/s':>11} {'transom MB/s':>13}  ratio")
    for streams, part in rows:
        theirs_speed, ours_speed = (best[place, streams, part] for place in ("nginx", "transom"))
        of = "16 MiB" if part == RANGE_BYTES else "the blob"
        ratio = ours_speed / theirs_speed
        print(f"{streams:>8}  {of:>9} {theirs_speed:>11.0f} {ours_speed:>13.0f}  {ratio:.2f}")
    waits.sort()
    if waits:
        middle, last = waits[len(waits) // 2], waits[-1]
        print(
            f"\n/healthz beside {max(rows)[0]} streams: median {middle * 1000:.1f} ms,"
            f" longest {last * 1000:.1f} ms of {len(waits)}"
        )


if __name__ == "__main__":
    main()
