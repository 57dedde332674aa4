"""Image layouts and tars that lie: each lie beside the smallest truth, and never a path of theirs.

The classes: CVE-2021-21272 and its kin (tar and zip slip: names that leave, links that lead out),
CVE-2021-41190 (one document, two readings), devices and FIFOs, bombs (compressed, sparse, headers
that promise gigabytes), lies about digests and sizes, names that differ in case only.
"""

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest
from transom_server.exchange import layout_tar
from transom_server.exchange.oci_layout import import_layout, layout_at, names_of, read_layout
from transom_server.store import Store
from transom_server.transfer.status import Status

WEIGHTS = b"GGUF and what follows"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
Files = dict[str, bytes]


def blob(data: bytes) -> str:
    return f"blobs/sha256/{Digest.of(data).hex}"


def row(media_type: str, data: bytes, **annotations: str) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data), annotations)


def truth(title: str | None = "model.gguf") -> Files:
    """The smallest layout: one model of one layer."""
    titled = {} if title is None else {media_types.ANNOTATION_TITLE: title}
    layer = Descriptor(media_types.OLLAMA_MODEL, Digest.of(WEIGHTS), len(WEIGHTS), titled)
    manifest = Manifest(row(media_types.OLLAMA_CONFIG, b"{}"), (layer,)).to_bytes()
    named = {media_types.ANNOTATION_REF_NAME: "tiny:latest"}
    index = Index((row(media_types.OCI_MANIFEST, manifest, **named),)).to_bytes()
    return {
        "oci-layout": VERSION,
        "index.json": index,
        blob(manifest): manifest,
        blob(b"{}"): b"{}",
        blob(WEIGHTS): WEIGHTS,
    }


def manifest_of(files: Files) -> str:
    (found,) = json.loads(files["index.json"])["manifests"]
    return "blobs/sha256/" + str(found["digest"]).removeprefix("sha256:")


def with_manifest(files: Files, data: bytes) -> Files:
    """The same with other bytes for the manifest, and an index that is true of them."""
    changed = {name: body for name, body in files.items() if name != manifest_of(files)}
    index = json.loads(files["index.json"])
    index["manifests"][0] |= {"digest": str(Digest.of(data)), "size": len(data)}
    return {**changed, "index.json": json.dumps(index).encode(), blob(data): data}


def as_folder(path: Path, files: Files) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def as_tar(path: Path, files: Files, *extra: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member, data in extra:
            tar.addfile(member, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def bring(tmp_path: Path, path: Path) -> Store:
    """Import as the verb does. The store lies beside what a traversal would hit."""
    store = Store(tmp_path / "store")

    def quiet(status: Status) -> None:
        del status

    with layout_at(path) as source:
        models = read_layout(source)
        names = names_of(models, None, source.where)
        import_layout(store, source, list(zip(names, models, strict=True)), quiet)
    return store


def refused(tmp_path: Path, path: Path, message: str) -> None:
    before = sorted(str(one) for one in tmp_path.rglob("*"))
    with pytest.raises(TransomError, match=message) as caught:
        bring(tmp_path, path)
    assert "\n" not in str(caught.value)
    assert sorted(str(one) for one in tmp_path.rglob("*")) == before, "nothing was written anywhere"


# The truth


def test_the_truth_is_taken(tmp_path: Path) -> None:
    store = bring(tmp_path, as_folder(tmp_path / "a", truth()))
    assert store.verify().sound
    assert store.has_blob(Digest.of(WEIGHTS))


def test_the_truth_in_a_tar_is_taken_with_folders_dots_and_times(tmp_path: Path) -> None:
    files = {f"./{name}": data for name, data in truth().items()}
    folders = [(member(name, tarfile.DIRTYPE), b"") for name in ("./blobs", "./blobs/sha256/")]
    timed = member("./README", size=2, pax_headers={"mtime": "1.5", "comment": "x" * 300})
    path = as_tar(tmp_path / "a.tar", files, *folders, (timed, b"hi"))
    assert bring(tmp_path, path).verify().sound


def test_a_long_name_that_is_nobody_s_business_is_passed_over(tmp_path: Path) -> None:
    long = "notes/" + "n" * 300
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w", format=form) as tar:
            for name, data in {**truth(), long: b"x"}.items():
                made = tarfile.TarInfo(name)
                made.size = len(data)
                tar.addfile(made, io.BytesIO(data))
        assert bring(tmp_path, path).verify().sound
        with layout_tar.TarReader(path) as reader:
            assert long in reader.members


# Tars


LEAVING = ["../outside", "a/../../outside", "/etc/outside", "a\\..\\b", "a\x00b", "a\nb", "\u202eb"]


@pytest.mark.parametrize("name", LEAVING)
def test_a_name_that_leaves_the_tar(tmp_path: Path, name: str) -> None:
    # By an extended header, which can hold any text.
    made = member("plain", size=1, pax_headers={"path": name})
    refused(tmp_path, as_tar(tmp_path / "a.tar", truth(), (made, b"x")), "is no path below the tar")


def test_a_name_that_leaves_in_the_plain_header(tmp_path: Path) -> None:
    made = member("../outside", size=1)
    refused(tmp_path, as_tar(tmp_path / "a.tar", truth(), (made, b"x")), "is no path below the tar")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device or FIFO"),
        (tarfile.BLKTYPE, "a device or FIFO"),
        (tarfile.FIFOTYPE, "a device or FIFO"),
        (b"Z", "something special"),
    ],
)
@pytest.mark.parametrize("name", ["notes", blob(WEIGHTS)])
def test_links_and_devices(tmp_path: Path, kind: bytes, word: str, name: str) -> None:
    files = {key: data for key, data in truth().items() if key != name}
    made = member(name, kind, linkname="index.json")
    refused(tmp_path, as_tar(tmp_path / "a.tar", files, (made, b"")), f"which is {word}, no file")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    made = member("./index.json", size=2)
    path = as_tar(tmp_path / "a.tar", truth(), (made, b"{}"))
    refused(tmp_path, path, "holds both 'index.json' and 'index.json'")


def test_two_names_that_differ_in_case_only(tmp_path: Path) -> None:
    made = member(blob(WEIGHTS).upper(), size=1)
    refused(tmp_path, as_tar(tmp_path / "a.tar", truth(), (made, b"x")), "holds both")


@pytest.mark.parametrize("size", [10**9, 2**62])
def test_a_size_that_is_not_there(tmp_path: Path, size: int) -> None:
    path = as_tar(tmp_path / "a.tar", truth())
    made = member("huge", size=size)
    data = path.read_bytes().rstrip(b"\0")
    data += bytes(-len(data) % 512) + made.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(data)
    refused(tmp_path, path, "ends in the middle of 'huge'")


@pytest.mark.parametrize("size", ["-1", "1e9", "9" * 30, "\u0663"])
def test_a_size_that_is_none(tmp_path: Path, size: str) -> None:
    made = member("notes", size=0, pax_headers={"size": size})
    refused(tmp_path, as_tar(tmp_path / "a.tar", truth(), (made, b"")), "has the size")


def test_a_header_of_gigabytes(tmp_path: Path) -> None:
    made = member("notes", pax_headers={"comment": "x" * (layout_tar.MAX_EXTENDED_BYTES + 1)})
    refused(tmp_path, as_tar(tmp_path / "a.tar", truth(), (made, b"")), "has a header of")


def test_a_header_without_sense(tmp_path: Path) -> None:
    for record in (b"5", b"99 path=x\n", b"0 path=x\n", b"x path=x\n", b"999999999999 path=x\n"):
        body = member("p", tarfile.XHDTYPE, size=len(record)).tobuf() + record.ljust(512, b"\0")
        path = tmp_path / "a.tar"
        path.write_bytes(body + bytes(1024))
        refused(tmp_path, path, "extended header that cannot be read")


def test_extended_headers_without_end_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own reader calls itself for each of them."""
    monkeypatch.setattr(layout_tar, "MAX_MEMBERS", 2000)
    path = tmp_path / "a.tar"
    path.write_bytes(member("p", tarfile.XHDTYPE).tobuf() * 2001)
    refused(tmp_path, path, "more than 2000 files")


def test_one_path_for_all_files(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", pax_headers={"path": "index.json"}) as tar:
        tar.addfile(member("x", size=1), io.BytesIO(b"x"))
    refused(tmp_path, path, "gives one path to all")


def test_sparse_files(tmp_path: Path) -> None:
    made = member("huge", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": "9" * 12})
    refused(tmp_path, as_tar(tmp_path / "a.tar", truth(), (made, b"")), "a sparse file")
    old = member("huge", tarfile.GNUTYPE_SPARSE)
    refused(tmp_path, as_tar(tmp_path / "b.tar", truth(), (old, b"")), "a sparse file")


def test_compressed_tars_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(as_tar(tmp_path / "a.tar", truth()).read_bytes()))
    refused(tmp_path, path, "compressed with gzip; unpack that first")


@pytest.mark.parametrize("data", [b"<!DOCTYPE html>", b"x" * 512, bytes(600)])
def test_what_is_no_tar(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    refused(tmp_path, tmp_path / "a.tar", "not a tar file|has no oci-layout")


# Folders


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "a", truth())
    (folder / blob(WEIGHTS)).unlink()
    os.mkfifo(folder / blob(WEIGHTS))
    refused(tmp_path, folder, "is not a regular file")


@pytest.mark.parametrize("name", ["index.json", "oci-layout", blob(WEIGHTS)])
def test_links_of_a_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    folder = as_folder(tmp_path / "a", truth())
    (folder / name).rename(tmp_path / "secret")
    (folder / name).symlink_to(tmp_path / "secret")
    refused(tmp_path, folder, "is a symbolic link")


def test_a_folder_instead_of_a_blob(tmp_path: Path) -> None:
    folder = as_folder(tmp_path / "a", truth())
    (folder / blob(WEIGHTS)).unlink()
    (folder / blob(WEIGHTS)).mkdir()
    refused(tmp_path, folder, "is not a regular file")


# What a layout says, the same from a folder and from a tar


@pytest.fixture(params=["folder", "tar"])
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Files], Path]:
    def make(files: Files) -> Path:
        if request.param == "folder":
            return as_folder(tmp_path / "layout", files)
        return as_tar(tmp_path / "layout.tar", files)

    return make


Pack = Callable[[Files], Path]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (b'{"imageLayoutVersion":"2.0.0"}', "a layout of version '2.0.0'"),
        (b"{}", "states no version"),
        (b"[]", "states no version"),
        (b"[" * 4000, "states no version"),
        (b" " * 5000, "is over 4096 bytes"),
    ],
)
def test_versions(tmp_path: Path, pack: Pack, version: bytes, message: str) -> None:
    refused(tmp_path, pack({**truth(), "oci-layout": version}), message)


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_a_file_that_is_not_there(tmp_path: Path, pack: Pack, name: str) -> None:
    files = {key: data for key, data in truth().items() if key != name}
    refused(tmp_path, pack(files), f"has no {name}")


def test_an_index_of_the_largest_size_is_read_and_a_byte_more_is_not(
    tmp_path: Path, pack: Pack
) -> None:
    files = truth()
    files["index.json"] = files["index.json"].ljust(MAX_MANIFEST_BYTES)
    assert bring(tmp_path, pack(files)).verify().sound
    files["index.json"] += b" "
    refused(tmp_path, pack(files), "is over 4194304 bytes")


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":1,"a":2}', b'{"schemaVersion":NaN}', b""])
def test_json_that_is_none(tmp_path: Path, pack: Pack, data: bytes) -> None:
    refused(tmp_path, pack({**truth(), "index.json": data}), "manifest")


@pytest.mark.parametrize("data", [b"GGUF and what follow!", b"", WEIGHTS + b"x"])
def test_bytes_that_are_others_than_promised(tmp_path: Path, pack: Pack, data: bytes) -> None:
    path = pack({**truth(), blob(WEIGHTS): data})
    with pytest.raises(TransomError, match=r"has \d+ bytes, not|they were changed"):
        bring(tmp_path, path)
    store = Store(tmp_path / "store")
    assert store.list_models() == []
    assert not store.has_blob(Digest.of(WEIGHTS))
    assert not store.has_blob(Digest.of(data))


def test_a_manifest_that_is_another(tmp_path: Path, pack: Pack) -> None:
    files = truth()
    name = manifest_of(files)
    files[name] = files[name].replace(b"model.gguf", b"other.gguf")
    refused(tmp_path, pack(files), "is damaged")


def test_a_blob_that_is_not_there(tmp_path: Path, pack: Pack) -> None:
    files = {key: data for key, data in truth().items() if key != blob(WEIGHTS)}
    refused(tmp_path, pack(files), f"lacks blob {Digest.of(WEIGHTS)}")


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
        "sha512:" + "a" * 64,
        "md5:" + "a" * 32,
        "/etc/passwd",
    ],
)
def test_digests_that_are_none(tmp_path: Path, pack: Pack, digest: str) -> None:
    files = truth()
    index = json.loads(files["index.json"])
    index["manifests"][0]["digest"] = digest
    refused(tmp_path, pack({**files, "index.json": json.dumps(index).encode()}), "digest")


@pytest.mark.parametrize("size", [-1, 1.0, True, 2**60, "21"])
def test_sizes_that_are_none(tmp_path: Path, pack: Pack, size: object) -> None:
    files = truth()
    index = json.loads(files["index.json"])
    index["manifests"][0]["size"] = size
    refused(tmp_path, pack({**files, "index.json": json.dumps(index).encode()}), "size")


@pytest.mark.parametrize("title", ["a/model.gguf", "..model", "model..gguf"])
def test_titles_that_go_down_are_taken(tmp_path: Path, pack: Pack, title: str) -> None:
    assert bring(tmp_path, pack(truth(title))).verify().sound


@pytest.mark.parametrize("title", ["../model.gguf", "/etc/x", "a/../../b", "", "a\\b", "a\0b", "."])
def test_titles_that_leave(tmp_path: Path, pack: Pack, title: str) -> None:
    files = truth()
    old = json.dumps("model.gguf").encode()
    data = files[manifest_of(files)].replace(old, json.dumps(title).encode())
    refused(tmp_path, pack(with_manifest(files, data)), "title")


def test_an_index_in_an_index_in_an_index(tmp_path: Path, pack: Pack) -> None:
    files = truth()
    (inner,) = Index.from_bytes(files["index.json"]).manifests
    for depth in (1, 2):
        data = Index((inner,)).to_bytes()
        files[blob(data)] = data
        named = {media_types.ANNOTATION_REF_NAME: "tiny:latest"}
        inner = row(media_types.OCI_INDEX, data, **named)
        files["index.json"] = Index((inner,)).to_bytes()
        if depth == 1:
            assert bring(tmp_path, pack(files)).verify().sound
    refused(tmp_path, pack(files), "nests application/vnd.oci.image.index")


def test_one_document_that_reads_as_two(tmp_path: Path, pack: Pack) -> None:
    files = truth()
    document = json.loads(files[manifest_of(files)])
    document["manifests"] = []
    data = json.dumps(document).encode()
    refused(tmp_path, pack(with_manifest(files, data)), "of an index and of a manifest")


def test_a_type_that_the_bytes_deny(tmp_path: Path, pack: Pack) -> None:
    files = truth()
    index = files["index.json"].replace(b"image.manifest.v1", b"image.index.v1")
    refused(tmp_path, pack({**files, "index.json": index}), "it is not")


def test_a_row_that_is_no_model(tmp_path: Path, pack: Pack) -> None:
    index = Index((row("text/html", WEIGHTS),)).to_bytes()
    refused(tmp_path, pack({**truth(), "index.json": index}), "text/html, which is no model")


def test_names_that_differ_in_case_only(tmp_path: Path, pack: Pack) -> None:
    files = truth()
    (one,) = Index.from_bytes(files["index.json"]).manifests
    other = Descriptor(
        one.media_type, one.digest, one.size, {media_types.ANNOTATION_REF_NAME: "TINY:latest"}
    )
    files["index.json"] = Index((one, other)).to_bytes()
    refused(tmp_path, pack(files), "two models named TINY")


def test_an_empty_layout(tmp_path: Path, pack: Pack) -> None:
    refused(tmp_path, pack({**truth(), "index.json": Index(()).to_bytes()}), "holds no model")


def test_bytes_changed_anywhere_give_one_error_or_the_truth(tmp_path: Path) -> None:
    """Headers, lengths, names, JSON and blobs alike: 600 tars with a few bytes changed each."""
    whole = as_tar(tmp_path / "whole.tar", truth()).read_bytes().rstrip(b"\0") + bytes(1024)
    generator = random.Random(4)
    path, taken, errors = tmp_path / "a.tar", 0, list[str]()
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            data[generator.randrange(len(data))] = generator.choice(b"\x00\x01\xff019/.L5x")
        if generator.random() < 0.2:
            del data[generator.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            with layout_at(path) as source:
                models = read_layout(source)
                names_of(models, None, source.where)
        except TransomError as error:
            errors.append(str(error))
            continue
        taken += 1
        assert [part.digest for part in models[0].parts][1] == Digest.of(WEIGHTS)
    print(f"{taken} of 600 changed nothing that is read")
    assert 0 < taken < 300
    assert [text for text in errors if "\n" in text] == []
