"""pytest tests/hostile/test_api_security.py: what the API must not be talked into.

A real server, with llama.cpp in its child. Each request is refused in its dialect, the next one is
answered, and after all of them the memory of the server and its children is about what it was.
"""

import base64
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.pictures import png
from tests.hostile.api_server import HELLO, Answer, Target, read_all, target
from transom_api.image_size import MAX_PIXELS
from transom_api.json_body import MAX_MARKS
from transom_api.schema_limits import MAX_ALTERNATIVES, MAX_GRAMMAR_BYTES, MAX_SCHEMA_VALUES
from transom_api.tokens import MAX_TEXT_CHARS

# What allocators keep, of bodies of 64 MB and of schemas that llama.cpp works on before it gives
# up. Each of the bombs here would alone take a gigabyte and more.
MOST_GROWTH = 800 << 20
TEXT = {"type": "text", "text": "x"}
CHAT = "/v1/chat/completions"
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("hostile")) as server:
        assert server.chat().status == 200
        assert server.chat(model="seeing").status == 200
        before = server.memory()
        yield server
        grown = server.memory() - before
        print(f"memory {before >> 20} MiB, grown by {grown >> 20} MiB")
        assert grown < MOST_GROWTH, f"grown by {grown >> 20} MiB"


@pytest.fixture(autouse=True)
def _goes_on(server: Target) -> Iterator[None]:
    """Whatever a test sends, the next request is answered."""
    yield
    assert server.chat().status == 200


def refused(answer: Answer, *words: str, status: int = 400) -> None:
    assert answer.status == status, answer.data[:400]
    message = answer.json["error"]["message"]
    assert len(message) < 2000
    for word in words:
        assert word in message, message


# JSON


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":' * 100_000, "nested too deep"),
        (b"[" * 1_000_000, "nested too deep"),
        (b'{"model":"tiny","messages":[],"seed":' + b"9" * 100_000 + b"}", "thousands of digits"),
        (b'{"model":"\xff\xfe"}', "utf-8"),
        (b'{"model":"\\ud800"}', "half a character"),
        (b'{"model":"tiny","messages":[],"temperature":NaN}', "NaN is no JSON"),
        (b'{"model":"tiny","messages":[],"top_p":-Infinity}', "Infinity is no JSON"),
        (b"[" + b"{}," * MAX_MARKS + b"{}]", "commas and brackets"),
        (b"", "not JSON"),
        (b"\0" * 1000, "not JSON"),
    ],
)
def test_bodies_that_are_no_json(server: Target, body: bytes, words: str) -> None:
    refused(server.ask(CHAT, body), words)
    # Each dialect, in its own shape.
    found = server.ask("/api/show", body)
    assert found.status in (400, 413)
    assert list(found.json) == ["error"]
    found = server.ask("/v1/messages", body)
    assert (found.status, found.json["type"]) == (400, "error")
    assert found.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("field", ["seed", "temperature", "max_tokens", "n", "top_k"])
@pytest.mark.parametrize("number", ["9" * 4000, "-" + "9" * 4000, "1e999", "-1e999"])
def test_numbers_that_nothing_holds(server: Target, field: str, number: str) -> None:
    body = f'{{"model":"tiny","messages":[{{"role":"user","content":"x"}}],"{field}":{number}}}'
    refused(server.ask(CHAT, body.encode()), field)


def test_the_last_of_two_equal_keys_counts(server: Target) -> None:
    body = (
        b'{"model":"none","model":"tiny","max_tokens":2,"messages":[{"role":"user","content":"x"}]}'
    )
    assert server.ask(CHAT, body).status == 200


def test_nul_is_a_character_of_a_text_and_of_no_name(server: Target) -> None:
    assert server.chat(messages=[{"role": "user", "content": "a\0b"}]).status == 200
    refused(server.chat(model="a\0b"), "model name")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x" * 500])
def test_packed_bodies_are_not_unpacked(server: Target, encoding: str) -> None:
    bomb = zlib.compress(bytes(100_000_000))
    answer = server.ask(CHAT, bomb, headers={"Content-Encoding": encoding})
    refused(answer, "not packed", status=415)
    plain = server.ask(
        CHAT, {"model": "tiny", "messages": [HELLO]}, headers={"Content-Encoding": "identity"}
    )
    assert plain.status == 200


# Names


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a\r\nSet-Cookie: x=y",
        "..%2f..%2fetc",
        "file:///etc",
        "a" * 5000,
    ],
)
def test_names_that_are_paths_or_headers(server: Target, name: str) -> None:
    refused(server.chat(model=name))
    for path, body in (
        ("/api/show", {"model": name}),
        ("/api/copy", {"source": "tiny", "destination": name}),
        ("/api/create", {"model": "new", "from": name, "stream": False}),
        ("/api/create", {"model": name, "from": "tiny", "stream": False}),
        ("/api/pull", {"model": name, "stream": False}),
        ("/api/push", {"model": name, "stream": False}),
    ):
        answer = server.ask(path, body)
        assert 400 <= answer.status < 500, (path, answer.data[:200])
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/api/blobs/..%2f..%2fetc%2fpasswd",
        "/v2/..%2f..%2f/blobs/sha256:" + "0" * 64,
        "/webllm/../../etc/latest/resolve/main/passwd",
        "/webllm/library/tiny/latest/resolve/main/..%2f..%2f..%2fetc%2fpasswd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/assets/..%5c..%5cetc",
        "/%00",
        "/v1/models/..%2f..%2fetc",
        "/v1/responses/..%2f%00",
    ],
)
def test_paths_that_lead_out(server: Target, path: str) -> None:
    answer = server.ask(path, method="GET")
    assert 300 <= answer.status < 500
    assert b"root:" not in answer.data


# Templates


@pytest.mark.slow
@pytest.mark.parametrize("template", [LOOP, "{{ 9 ** (9 ** 9) }}{% if 1 %}{% endif %}"])
def test_a_template_that_has_no_end(server: Target, template: str) -> None:
    answer = server.ask(
        "/api/generate", {"model": "tiny", "prompt": "x", "template": template, "stream": False}
    )
    assert answer.status == 400
    assert "template" in answer.json["error"]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "template"),
        ("{% import 'os' as os %}", "template"),
        ("{{ 'x' * 3000000000 }}", "Memory"),
        ("{{ raise_exception('x' * 100000000) }}", "refuses"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "without end"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "without end"),
        ("x" * 2_000_000 + "{% if 1 %}{% endif %}", "longer than"),
    ],
)
def test_templates_that_reach_for_more(server: Target, template: str, words: str) -> None:
    refused(server.chat(chat_template=template), words)


# Length


def test_prompts_of_ten_megabytes(server: Target) -> None:
    for text in ("a" * 10_000_000, " " * 10_000_000, "hello world " * 900_000):
        message = {"role": "user", "content": text}
        answer = server.chat(messages=[message])
        refused(answer, "context window")
        assert answer.json["error"]["code"] == "context_length_exceeded"
        answer = server.ask(
            "/v1/messages", {"model": "tiny", "max_tokens": 4, "messages": [message]}
        )
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
        for path, body in (
            ("/api/generate", {"prompt": text}),
            ("/api/generate", {"prompt": text, "raw": True}),
            ("/v1/completions", {"prompt": text}),
            ("/v1/embeddings", {"input": text}),
            ("/v1/messages/count_tokens", {"messages": [message]}),
            ("/tokenize", {"content": text}),
        ):
            answer = server.ask(path, {"model": "tiny", "stream": False, **body})
            assert answer.status == 400, (path, answer.data[:200])


def test_a_text_may_be_counted_up_to_its_limit(server: Target) -> None:
    body = {"model": "tiny", "content": "a" * 10_000}
    assert server.ask("/tokenize", body).json["count"] == 10_000
    refused(server.ask("/tokenize", {**body, "content": "a" * (MAX_TEXT_CHARS + 1)}), "characters")


def test_bodies_over_their_size(server: Target) -> None:
    with server.wire() as wire:
        head = (
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {(64 << 20) + 1}\r\n\r\n"
        )
        wire.sendall(head.encode())
        said = read_all(wire)
        assert said.startswith(b"HTTP/1.1 413")
        assert b'"type":"invalid_request_error"' in said
    answer = server.ask("/healthz", method="GET", headers={"X-Long": "x" * 100_000})
    assert answer.status == 431


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stop": [f"s{number}" for number in range(10_000)]}, "stop"),
        ({"stop": "x" * 5_000_000}, "stop"),
        ({"logit_bias": {str(number): 1 for number in range(100_000)}}, "logit_bias"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"messages": [HELLO] * 200_000}, "messages"),
        ({"messages": [{"role": "user", "content": [TEXT] * 200_000}]}, "content"),
        ({"n": 1000}, "n:"),
        ({"guided_choice": [f"c{number}" for number in range(100_000)]}, "guided_choice"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 20_000}, "tools"),
    ],
)
def test_lists_of_thousands(server: Target, fields: dict[str, Any], words: str) -> None:
    refused(server.chat(**fields), words)


# Schemas and grammars


def _doubled(levels: int) -> dict[str, Any]:
    rows = {
        f"d{n}": {
            "type": "object",
            "properties": {side: {"$ref": f"#/$defs/d{n + 1}"} for side in "ab"},
            "required": ["a", "b"],
        }
        for n in range(levels)
    }
    return {"$defs": {**rows, f"d{levels}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def _nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"type": "object", "properties": {"a": found}}
    return found


def _written_out(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"anyOf": [found, found]}
    return found


def _schema(server: Target, schema: Any) -> Answer:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return server.chat(response_format=form)


@pytest.mark.parametrize(
    "schema",
    [
        _nested(300),
        _written_out(16),
        {"enum": [f"value {number}" for number in range(MAX_SCHEMA_VALUES + 1)]},
        {"allOf": [{"properties": {f"p{n}": {"type": "string"}}} for n in range(5000)]},
        {"type": "array", "prefixItems": [{"type": "string"}] * 50_000},
        {"type": "integer", "minimum": -(10**400)},
        {"type": "integer", "maximum": 10**30},
        {"$ref": "#/$defs/none"},
        {"$ref": "http://169.254.169.254/latest"},
        {"$ref": "file:///etc/passwd"},
        {"type": "string", "pattern": "^" + "(" * 2000 + "a" + ")" * 2000 + "$"},
        {"type": "string", "pattern": "^(a$"},
    ],
)
def test_schemas_that_blow_up(server: Target, schema: Any) -> None:
    refused(_schema(server, schema))


def test_a_schema_with_a_number_that_is_none(server: Target) -> None:
    body = (
        b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"response_format":{"type":'
        b'"json_schema","json_schema":{"name":"x","schema":{"type":"number","minimum":1e999}}}}'
    )
    refused(server.ask(CHAT, body), "not finite")


def test_schemas_that_only_look_large(server: Target) -> None:
    """Kept small by whoever compiles them; the smallest truth beside the lies."""
    for schema in (_doubled(30), {"$ref": "#"}):
        assert _schema(server, schema).status == 200


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= root "a" | "a"',
        'root ::= a\na ::= b "x"\nb ::= a "y"',
        'x ::= "a"',
        "%%%%",
        'root ::= ((("a"{1000}){1000}){1000}){1000}',
        'root ::= "a"{100000000}',
        'root ::= "a"{99999999999999999999999}',
        'root ::= "a\0b"',
        r"root ::= [\xFF-\x00]",
        'root ::= "' + "a" * MAX_GRAMMAR_BYTES + '"',
        "root ::= " + " | ".join('"a"' for _ in range(MAX_ALTERNATIVES + 2)),
        "root ::= " + "(" * 2_000_000,
    ],
)
def test_grammars_that_never_end(server: Target, grammar: str) -> None:
    refused(server.chat(grammar=grammar))


def test_grammars_that_may_be_what_they_are(server: Target) -> None:
    many = "root ::= " + " | ".join(f'"{number}"' for number in range(MAX_ALTERNATIVES))
    for grammar in ('root ::= "a" | "b"', 'root ::= (("a"*)*)*', many):
        assert server.chat(grammar=grammar).status == 200


@pytest.mark.parametrize(
    "pattern", ["((((((a{1000}){1000}){1000}){1000}){1000}){1000})", "(" * 5000, "a" * 20_000]
)
def test_regular_expressions_that_blow_up(server: Target, pattern: str) -> None:
    refused(server.chat(guided_regex=pattern))


# Pictures


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int) -> bytes:
    """A few bytes that say they are so large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + rows + _chunk(b"IEND", b"")


def _bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + head


def _jpeg(width: int, height: int) -> bytes:
    frame = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + bytes(20)
    return b"\xff\xd8\xff\xe0\0\x04ab" + frame


def _see(server: Target, url: str) -> Answer:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]
    return server.chat(model="seeing", messages=[{"role": "user", "content": parts}])


def _url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "data",
    [
        _png(30_000, 30_000),
        _png(2**31 - 1, 2**31 - 1),
        _png(MAX_PIXELS + 1, 1),
        _png(0, 5),
        _bmp(2**31 - 1, 2**31 - 1),
        _bmp(30_000, -30_000),
        _jpeg(65_535, 65_535),
        b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**32 - 1) + b"tEXt" + bytes(100),
        b"\xff\xd8\xff" + b"\xff" * 1000,
        b"\xff\xd8\xff" + b"\xe0\0\0" * 100_000,
        b"BM" + bytes(10),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"",
    ],
)
def test_pictures_that_say_they_are_huge_or_nothing(server: Target, data: bytes) -> None:
    refused(_see(server, _url(data)), "image_url")


@pytest.mark.parametrize("data", [png(1)[:60], _png(28, 28), _png(8000, 8000), _jpeg(28, 28)])
def test_pictures_that_break_off(server: Target, data: bytes) -> None:
    refused(_see(server, _url(data)), "picture")


def test_a_picture_is_seen(server: Target) -> None:
    """Also one that says it is of another kind: what counts is how it begins."""
    assert _see(server, _url(png(1))).status == 200
    assert _see(server, _url(png(1), "jpeg")).status == 200
    refused(_see(server, "data:image/png;base64," + "A" * 1_000_001), "base64")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:{port}/v1/models",
        "https://example.com/a.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "//127.0.0.1/a.png",
        "/etc/passwd",
        "data:text/plain;base64,cm9vdDo=",
        "data:,hello",
    ],
)
def test_nothing_is_fetched_for_a_picture(server: Target, url: str) -> None:
    asked = server.log.read_text().count("/v1/models")
    refused(_see(server, url.format(port=server.port)), "image_url")
    assert server.log.read_text().count("/v1/models") == asked
    images = {"model": "seeing", "prompt": "x", "stream": False, "images": [url]}
    assert server.ask("/api/generate", images).status == 400


# Web pages


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "169.254.169.254", "", "localhost, evil", "[::1"],
)
def test_a_name_that_was_rebound_gets_nothing(server: Target, host: str) -> None:
    for path in ("/v1/models", "/api/tags", "/v2/", "/", "/metrics"):
        answer = server.ask(path, method="GET", headers={"Host": host})
        assert answer.status == 403, path
        assert b"tiny" not in answer.data


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "file://",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "chrome-extension://abc",
    ],
)
def test_strange_pages_read_and_do_nothing(server: Target, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for path in ("/v1/models", "/api/tags", "/v2/tiny/tags/list"):
        for method in ("GET", "OPTIONS"):
            answer = server.ask(path, method=method, headers=headers)
            assert "access-control-allow-origin" not in answer.headers
            assert "access-control-allow-credentials" not in answer.headers
    for kind in ("text/plain", "application/json", "multipart/form-data"):
        answer = server.ask(
            CHAT,
            {"model": "tiny", "messages": [HELLO]},
            headers={"Origin": origin, "Content-Type": kind},
        )
        assert answer.status == 403


def test_pages_of_this_machine_may_read(server: Target) -> None:
    answer = server.ask("/v1/models", method="GET", headers={"Origin": "http://localhost:3000"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "origin" in answer.headers["vary"].lower()


def test_headers_cannot_be_added(server: Target) -> None:
    for path in (
        "/%0d%0aSet-Cookie:%20x=y",
        "/v1/models/a%0d%0aX-Added:%201",
        "/v2/a%0d%0a/tags/list",
    ):
        answer = server.ask(path, method="GET", headers={"Origin": "http://localhost"})
        assert not {"set-cookie", "x-added"} & set(answer.headers)
