"""The server's reader of GGUF headers: each lie is one clear error, beside the smallest truth.

Classes of CVE-2024-12055, -8063 and CVE-2025-0312, -0315, -0317: counts and lengths that allocate,
types and sizes that divide by zero or read past the end.
"""

import io
import random
import struct
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType, GGUFValueType

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, string, tiny_llama, typed
from tests.hostile.mutate import gguf_case
from transom_compile.sources.checkpoint import CheckpointError
from transom_compile.sources.gguf import open_checkpoint
from transom_server.model import gguf_facts
from transom_server.model.gguf_facts import ArrayValue, GgufFacts, InvalidGguf, read_gguf

U64 = 2**64 - 1
STRING, ARRAY, U32 = GGUFValueType.STRING, GGUFValueType.ARRAY, GGUFValueType.UINT32


def read(data: bytes | TinyGguf, most_items: int = 0) -> GgufFacts:
    data = data if isinstance(data, bytes) else data.to_bytes()
    return read_gguf(io.BytesIO(data), len(data), "file.gguf", most_items)


def array(kind: int, length: int, payload: bytes = b"") -> bytes:
    return typed(ARRAY, struct.pack("<IQ", kind, length) + payload)


def key(value: object, name: str = "k") -> TinyGguf:
    return TinyGguf(metadata=[(name, value)])


def tensor(**lie: object) -> TinyGguf:
    return TinyGguf(tensors=[TinyTensor(**lie)])  # type: ignore[arg-type]


Q4_0 = GGMLQuantizationType.Q4_0
# name: (the lie, what the error says, the smallest truth beside it)
LIES: dict[str, tuple[bytes | TinyGguf, str, bytes | TinyGguf]] = {
    "empty": (b"", "not a GGUF file", TinyGguf()),
    "magic": (TinyGguf(magic=b"GGML"), "not a GGUF file", TinyGguf()),
    "lower case": (TinyGguf(magic=b"gguf"), "not a GGUF file", TinyGguf()),
    "a zip": (b"PK\3\4" + bytes(60), "not a GGUF file", TinyGguf()),
    "version 1": (TinyGguf(version=1), "version 1 is not", TinyGguf(version=2)),
    "version 4": (TinyGguf(version=4), "version 4 is not", TinyGguf(version=3)),
    "big endian": (TinyGguf(version=3 << 24), "big-endian", TinyGguf()),
    "tensors": (TinyGguf(tensor_count=U64), f"tensor count is {U64}", TinyGguf(tensor_count=0)),
    "tensors past the end": (TinyGguf(tensor_count=1), "name of tensor 0", TinyGguf()),
    "keys": (TinyGguf(key_count=U64), f"key count is {U64}", TinyGguf(key_count=0)),
    "keys past the end": (TinyGguf(key_count=1), "metadata key 0", TinyGguf()),
    "key's length": (TinyGguf(key_count=1, tail=struct.pack("<Q", U64)), "length of", key(1)),
    "no key": (key(1, ""), "is not a name", key(1)),
    "a key that steers a terminal": (key(1, "k\x1b"), "is not a name", key(1, "k.é")),
    "not UTF-8": (TinyGguf(metadata=[(b"\xff", 1)]), "not valid UTF-8", key(1, "ÿ")),
    "twice": (TinyGguf(metadata=[("k", 1), ("k", 2)]), "appears twice", key(1)),
    "value type": (key(struct.pack("<I", 13)), "unknown value type 13", key(1)),
    "boolean": (key(typed(GGUFValueType.BOOL, b"\2")), "neither true nor false", key(True)),
    "text's length": (key(typed(STRING, struct.pack("<Q", U64))), "length of k", key("x")),
    "array of arrays": (key(array(ARRAY, 1)), "nests arrays", key(array(U32, 0))),
    "array's length": (key(array(U32, U64)), f"k is {U64}", key(array(U32, 0))),
    "array past the end": (key(array(U32, 2, bytes(4))), "needs 8 bytes", key(array(U32, 0))),
    "texts past the end": (key(array(STRING, 2**20)), "needs 8388608 bytes", key(["x"])),
    "a text's length": (key(array(STRING, 1, struct.pack("<Q", U64))), "a string of k", key(["x"])),
    "array's type": (key(array(13, 1)), "unknown value type 13", key([1])),
    "alignment 0": (key(0, "general.alignment"), "power of two", key(32, "general.alignment")),
    "alignment 3": (key(3, "general.alignment"), "power of two", key(1, "general.alignment")),
    "alignment x": (key("x", "general.alignment"), "power of two", key(64, "general.alignment")),
    "parts": (key(3, "split.count"), "one of 3 parts", key(1, "split.count")),
    "no dimension": (tensor(dims=()), "0 dimensions", tensor()),
    "5 dimensions": (tensor(dims=(1,) * 5), "5 dimensions", tensor(dims=(1,) * 4)),
    "2^32 dimensions": (tensor(dims=(4,), name="t" * 129), "length of name", tensor()),
    "no elements": (tensor(dims=(0, 4)), "impossible shape", tensor(dims=(1, 4))),
    "elements overflow": (tensor(dims=(2**63, 2**63)), "impossible shape", tensor()),
    "no such type": (tensor(kind=99), "unknown GGML type 99", tensor(kind=0)),
    "a type that is gone": (tensor(kind=4), "unknown GGML type 4", tensor(kind=0)),
    "half a block": (tensor(kind=Q4_0), "impossible shape", tensor(kind=Q4_0, dims=(32,))),
    "offset": (tensor(offset=1), "not a multiple of 32", tensor(offset=0)),
    "past the end": (tensor(dims=(2**20,)), "after the end of the file", tensor()),
    "far past the end": (tensor(offset=2**63), "after the end of the file", tensor()),
    "one name": (
        TinyGguf(tensors=[TinyTensor("t"), TinyTensor("t")]),
        "two tensors have one name",
        TinyGguf(tensors=[TinyTensor("t"), TinyTensor("u")]),
    ),
    "overlap": (
        TinyGguf(tensors=[TinyTensor("t", dims=(16,), data=bytes(64)), TinyTensor("u", offset=32)]),
        "overlap",
        TinyGguf(tensors=[TinyTensor("t", dims=(16,), data=bytes(64)), TinyTensor("u", offset=64)]),
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie(name: str) -> None:
    lie, error, truth = LIES[name]
    read(truth)
    tracemalloc.start()
    with pytest.raises(InvalidGguf, match=r"file\.gguf.*" + error) as raised:
        read(lie)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    # The file's own bytes, and what Python needs to say so; never what it claims.
    assert peak < 8_000_000


def test_every_cut_of_a_real_file_is_an_error() -> None:
    data = tiny_llama().to_bytes()
    facts = read(data)
    cuts = [*range(0, 600), *range(600, len(data) - 1, 997), len(data) - 1]
    for end in cuts:
        with pytest.raises(InvalidGguf):
            read(data[:end])
    assert facts.parameter_count > 0


def test_a_size_that_lies_about_the_stream_is_an_error() -> None:
    data = TinyGguf(key_count=1).to_bytes()
    with pytest.raises(InvalidGguf, match="the file ends before its size"):
        read_gguf(io.BytesIO(data), len(data) + 1000, "file.gguf")


def test_a_header_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_facts, "MAX_HEADER_BYTES", 4096)
    read(key("x" * 3000))
    with pytest.raises(InvalidGguf, match="header larger than 4096"):
        read(key("x" * 5000))


def test_what_a_file_says() -> None:
    facts = read(tiny_llama(), most_items=3)
    assert (facts.architecture, facts.kind, facts.licence) == ("llama", "model", "apache-2.0")
    assert facts.template is not None
    tokens = facts.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, ArrayValue)
    assert tokens.items == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert tokens.length > 256
    # A merge in the middle, read after arrays that were skipped.
    assert facts.integer("tokenizer.ggml.eos_token_id") == 2
    assert facts.file_type == "Q4_1"
    assert dict(facts.histogram) == {"Q4_1": 14, "F32": 5, "Q8_0": 1}
    native = facts.native()
    assert (native.context_length, native.embedding_length) == (256, 64)


def test_arrays_of_texts_are_skipped_to_the_byte() -> None:
    texts = array(STRING, 3, string("a") + string("bc") + string("é" * 600_000))
    facts = read(TinyGguf(metadata=[("k", texts), ("after", "here")]))
    assert facts.metadata == {"k": ArrayValue(3), "after": "here"}
    kept = read(TinyGguf(metadata=[("k", texts), ("after", "here")]), most_items=2)
    assert kept.metadata == {"k": ArrayValue(3, ("a", "bc")), "after": "here"}


def test_kinds_of_files() -> None:
    assert read(key("clip", "general.architecture")).kind == "projector"
    adapter = TinyGguf(metadata=[("general.architecture", "llama"), ("general.type", "adapter")])
    assert read(adapter).kind == "adapter"
    assert read(key(15, "general.file_type")).file_type == "Q4_K_M"
    assert read(TinyGguf()).file_type == "unknown"
    assert read(key(7, "general.architecture")).architecture is None


def test_flipped_bytes_are_a_header_or_one_error() -> None:
    data = tiny_llama().to_bytes()
    header = data.index(b"output_norm.weight") + 60
    generator = random.Random(1)
    outcomes = Counter[str]()
    errors = set()
    for _ in range(1500):
        mutated = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            mutated[generator.randrange(header)] = generator.choice((0, 1, 127, 128, 255))
        try:
            read(bytes(mutated), most_items=4)
            outcomes["read"] += 1
        except InvalidGguf as error:
            errors.add(str(error))
            outcomes["refused"] += 1
    assert not any("\n" in error for error in errors)
    assert min(outcomes["read"], outcomes["refused"]) > 100, outcomes


def test_both_readers_take_the_same_files(tmp_path: Path) -> None:
    """The compiler's and the server's: a file that one refuses must not get past the other."""
    path = tmp_path / "file.gguf"
    outcomes = Counter[tuple[bool, bool]]()
    for seed in range(2500):
        data = gguf_case(seed)
        path.write_bytes(data)
        taken = []
        for reader in (lambda: read(data), lambda: open_checkpoint(path)):  # noqa: B023
            try:
                reader()
            except (InvalidGguf, CheckpointError):
                taken.append(False)
            else:
                taken.append(True)
        assert taken[0] == taken[1], f"gguf_case({seed})"
        outcomes[taken[0], taken[1]] += 1
    assert outcomes[True, True] > 100
    assert outcomes[False, False] > 100
