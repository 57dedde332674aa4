"""pytest tests/pyserver/test_shared_bucket.py: the verbs and two servers over one S3 bucket.

Everything is a process of its own: moto's server, two of `transom serve` with caches of their own
as two machines have, and each verb.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from tests.pyserver.bundles import TinyBundle, write_bundle
from tests.pyserver.native_models import put_native
from tests.pyserver.s3_server import s3_server
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import Store
from transom_server.transfer.pull import pull
from transom_server.transfer.push import push
from transom_server.transfer.status import TransferOptions

RUN = "from transom_cli.main import main; main()"


@dataclass(frozen=True)
class Machine:
    """Runs verbs on the bucket."""

    environ: dict[str, str]
    port: int = 0

    def run(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN, *map(str, words)],
            env=self.environ,
            capture_output=True,
            text=True,
        )

    def json(self, *words: object) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def names(self) -> set[str]:
        """Models that the server of this machine lists."""
        status, _, body = self.get("/v1/models")
        assert status == 200
        return {model["id"] for model in json.loads(body)["data"]}

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        for name, value in headers.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()


@dataclass(frozen=True)
class Shared:
    """One bucket, two servers on it."""

    a: Machine
    b: Machine
    bucket: str
    endpoint: str


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    caches = tmp_path_factory.mktemp("caches")
    with s3_server() as s3, ExitStack() as stack:
        url = f"{s3.new_bucket()}/transom"
        machines = []
        for name in ("a", "b"):
            environ = {**os.environ, **s3.environ, "TRANSOM_MODELS": url}
            environ |= {"TRANSOM_CACHE": str(caches / name), "TRANSOM_PORT": "0"}
            machines.append(Machine(environ, _serve(stack, environ)))
        yield Shared(*machines, bucket=url, endpoint=s3.url)


def _serve(stack: ExitStack, environ: dict[str, str]) -> int:
    """Start a server; gives its port."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", RUN, "serve"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    return int(process.stdout.readline().rpartition(":")[2])


@pytest.fixture(scope="module")
def tiny(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """A bundle that machine A imported as `tiny`."""
    bundle = write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    (source,) = bundle.files.values()
    done = shared.a.run("import", bundle.folder, "--name", "tiny", "--source", source)
    assert done.returncode == 0, done.stderr
    return bundle


def test_what_one_machine_imports_all_have(shared: Shared, tiny: TinyBundle) -> None:
    (row,) = shared.b.json("list")
    assert row["name"] == "tiny"
    assert row["digest"] == str(Digest.of(tiny.index.to_bytes()))
    for machine in (shared.a, shared.b):
        assert machine.names() == {"tiny"}
        status, _, body = machine.get("/v2/library/tiny/manifests/latest")
        assert (status, body) == (200, tiny.index.to_bytes())


def test_files_by_title_whole_in_part_and_not_at_all(shared: Shared, tiny: TinyBundle) -> None:
    data = tiny.contents["params_shard_0.bin"]
    digest = Digest.of(data)
    path = f"/v2/library/tiny/blobs/{digest}"
    for machine in (shared.a, shared.b):
        status, headers, body = machine.get(path)
        assert (status, body) == (200, data)
        assert headers["ETag"] == f'"{digest}"'
        status, headers, body = machine.get(path, "HEAD")
        assert (status, headers["Content-Length"], body) == (200, str(len(data)), b"")
        for first, last in ((0, 0), (17, 1000), (len(data) - 5, len(data) - 1)):
            status, headers, body = machine.get(path, Range=f"bytes={first}-{last}")
            assert (status, body) == (206, data[first : last + 1])
            assert headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
            wanted = {"Range": f"bytes={first}-{last}", "Want-Content-Digest": "sha-256=1"}
            status, headers, again = machine.get(path, **wanted)
            assert (status, again) == (206, body)
            sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
            assert headers["Content-Digest"] == f"sha-256=:{sha256}:"
        assert machine.get(path, Range=f"bytes={len(data)}-")[0] == 416
        assert machine.get(f"/v2/library/tiny/blobs/{Digest.of(b'none')}")[0] == 404
        title = "/webllm/tiny/latest/resolve/main/tensor-cache.json"
        assert machine.get(title)[2] == tiny.contents["tensor-cache.json"]


def test_push_to_one_pull_from_the_other(shared: Shared, tmp_path: Path) -> None:
    source, target = Store(tmp_path / "source"), Store(tmp_path / "target")
    large = os.urandom(3_000_000)
    bundle = write_bundle(tmp_path / "bundle", seed=large)
    name = ModelName.parse("team/mo.del_-2:v1.0_x")
    import_bundle(source, bundle.folder, name, bundle.files)
    options = TransferOptions(piece_bytes=1_000_000)
    a, b = (f"127.0.0.1:{machine.port}" for machine in (shared.a, shared.b))
    push(source, name, options, lambda status: None, target=None, registry=a)
    pull(target, name, options, lambda status: None, registry=b)
    assert target.get_index(name).data == source.get_index(name).data
    assert target.verify().sound
    assert "team/mo.del_-2:v1.0_x" in shared.b.names()
    # The other way round, by the verb: into the bucket, under a name with a port.
    done = shared.a.run("pull", f"{b}/{name}")
    assert done.returncode == 0, done.stderr
    assert f"{b}/{name}" in shared.b.names()
    done = shared.b.run("rm", name, f"{b}/{name}")
    assert done.returncode == 0, done.stderr
    assert shared.a.get(f"/v2/team/mo.del_-2/manifests/{name.tag}")[0] == 404
    assert shared.a.run("verify").returncode == 0


def test_many_downloads_at_once_do_not_wait_for_each_other(shared: Shared, tmp_path: Path) -> None:
    """A client that stops reading holds up nobody."""
    data = os.urandom(20_000_000)
    path = tmp_path / "large"
    path.write_bytes(data)
    digest = _push_blob(shared.a, data)
    stalled = urllib.request.urlopen(
        f"http://127.0.0.1:{shared.b.port}/v2/library/tiny/blobs/{digest}"
    )
    with stalled, ThreadPoolExecutor(6) as pool:
        assert stalled.read(1000) == data[:1000]
        path_of = f"/v2/library/tiny/blobs/{digest}"
        ranges = [(number * 3_000_000, number * 3_000_000 + 2_999_999) for number in range(6)]
        answers = pool.map(
            lambda pair: shared.b.get(path_of, Range=f"bytes={pair[0]}-{pair[1]}"), ranges
        )
        for (first, last), (status, _, body) in zip(ranges, answers, strict=True):
            assert status == 206
            assert body == data[first : last + 1]


def _push_blob(machine: Machine, data: bytes) -> Digest:
    digest = Digest.of(data)
    base = f"http://127.0.0.1:{machine.port}"
    with urllib.request.urlopen(
        urllib.request.Request(
            f"{base}/v2/library/tiny/blobs/uploads/?digest={digest}",
            data=data,
            method="POST",
            headers={"Content-Type": "application/octet-stream"},
        )
    ) as response:
        assert response.status == 201
    return digest


def test_care_by_url(shared: Shared, tiny: TinyBundle) -> None:
    assert "tiny" in json.dumps(shared.a.json("du"))
    assert shared.b.run("gc").returncode == 0
    assert shared.a.run("cp", "tiny", "twin").returncode == 0
    assert shared.b.names() >= {"tiny", "twin"}


def test_a_model_runs_from_a_copy_of_the_bucket(shared: Shared, tmp_path: Path) -> None:
    local = Store(tmp_path / "local")
    put_native(local, "native")
    name, options = ModelName.parse("native"), TransferOptions()
    host = f"127.0.0.1:{shared.a.port}"
    push(local, name, options, lambda status: None, target=None, registry=host)
    asked = {"model": "native", "prompt": "hello", "stream": False, "options": {"num_predict": 3}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{shared.b.port}/api/generate", json.dumps(asked).encode()
    )
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    assert answer["done"]
    assert answer["eval_count"] == 3
    (copy,) = Path(shared.b.environ["TRANSOM_CACHE"]).glob("stores/*/copies/blobs/sha256/*")
    assert Digest.of_file(copy).hex == copy.name


def test_a_cdn_may_serve_the_blobs(shared: Shared, tiny: TinyBundle) -> None:
    """The bucket answers for a blob itself, with the headers that a page's cache wants.

    By a signed link, as a CDN asks its bucket; a bucket may also be open to all.
    """
    data = tiny.contents["params_shard_0.bin"]
    bucket, _, folder = shared.bucket.removeprefix("s3://").partition("/")
    s3 = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=shared.endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    names = {"Bucket": bucket, "Key": f"{folder}/blobs/sha256/{Digest.of(data).hex}"}
    url = s3.generate_presigned_url("get_object", Params=names)
    s3.close()
    request = urllib.request.Request(url, headers={"Range": "bytes=17-1000"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 206
        assert response.read() == data[17:1001]
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["Content-Type"] == "application/octet-stream"


def test_a_wrong_bucket_is_said(shared: Shared) -> None:
    lost = Machine({**shared.a.environ, "TRANSOM_MODELS": "s3://no-such-bucket/x"})
    for words in (("list",), ("gc",), ("serve", "--port", "0")):
        done = lost.run(*words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "there is no such bucket; make it, or correct TRANSOM_MODELS" in done.stderr
