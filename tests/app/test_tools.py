"""Tools, from the model's call to what it reads of them: built-in ones, the web after consent, and
a real MCP server. No other host hears of it before somebody agreed.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.app.conftest import DESKTOP, PHONE, ScriptedServer, answered, ask
from tests.e2e.commands import ROOT

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

PAGE: Final = (
    b"<title>Harbour news</title><nav>menu</nav><main><h1>Today</h1>"
    b"<p>The ferry <script>document.title = 'evil'</script>sails at noon.</p></main>"
)


def calls(name: str, arguments: dict[str, Any], then: str) -> str:
    """What a model says that calls a tool; the script `then` is its next answer."""
    call = json.dumps({"name": name, "arguments": arguments})
    return f"Let me look. (@{then})<tool_call>{call}</tool_call>"


@dataclass
class Stranger:
    """Somebody else's host."""

    address: str
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""


@contextmanager
def stranger() -> Iterator[Stranger]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/page")
                data = b""
            else:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                data = PAGE
            if self.path != "/closed":
                self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Set-Cookie", "tracking=1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, *_: object) -> None:
            """Nothing that a test's output needs."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Stranger(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()


@dataclass
class McpServer:
    address: str
    seen: list[str] = field(default_factory=list)
    """Method and JSON-RPC method of each request."""


@contextmanager
def mcp_server(*options: str) -> Iterator[McpServer]:
    command = ["node", str(ROOT / "tests/app/mcp_server.mjs"), *options]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = McpServer(process.stdout.readline().strip())
        lines = process.stdout

        def read() -> None:
            for line in lines:
                found.seen.append(line.strip())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield found
        finally:
            process.terminate()
            process.wait()
            reader.join()


@pytest.fixture
def others() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def asked_hosts(browser_context: BrowserContext) -> set[str]:
    """Every host that any document of the browser has asked so far."""
    hosts: set[str] = set()
    browser_context.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    return hosts


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def sized(
    request: pytest.FixtureRequest, asked_hosts: set[str], complaints: list[list[str]], chat: Page
) -> Iterator[Page]:
    chat.set_viewport_size(request.param)
    yield chat
    for page in complaints:
        # What a server refuses is told to the console by browsers themselves.
        page[:] = [each for each in page if "status of 401" not in each]
    assert chat.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def open_tools(page: Page) -> Locator:
    button = page.get_by_role("button", name="Tools")
    if button.count() == 0:
        page.get_by_role("button", name="More", exact=True).click()
        button = page.get_by_role("menuitem", name="Tools")
    button.click()
    return page.get_by_role("dialog", name="Tools")


def turn_on(page: Page, *names: str) -> None:
    panel = open_tools(page)
    for name in names:
        panel.get_by_role("switch", name=name).check()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def add_server(page: Page, address: str, name: str = "", token: str = "") -> Locator:
    panel = open_tools(page)
    panel.get_by_role("button", name="Add a server").click()
    expect(panel.get_by_role("textbox", name="Address")).to_be_focused()
    panel.get_by_role("textbox", name="Address").fill(address)
    panel.get_by_role("textbox", name="Name").fill(name)
    panel.get_by_label("Token").fill(token)
    panel.get_by_role("button", name="Save and connect").click()
    return panel


def tool_text(server: ScriptedServer, page: Page) -> Callable[[], str]:
    """What the model was last told by a tool."""
    told: list[str] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/chat/completions") and request.post_data:
            messages = json.loads(request.post_data)["messages"]
            told.extend(each["content"] for each in messages[-1:] if each["role"] == "tool")

    page.on("request", note)
    return lambda: told[-1]


def test_a_built_in_tool_is_called_and_shown(
    sized: Page, server: ScriptedServer, asked_hosts: set[str]
) -> None:
    server.scripts["sum"] = calls("calculator", {"expression": "0.1 + 0.2"}, "summed")
    server.scripts["summed"] = "It is 0.3."
    told = tool_text(server, sized)
    turn_on(sized, "Calculator")
    ask(sized, "What is 0.1 + 0.2? @sum")
    answered(sized, "It is 0.3.")
    assert told() == "0.1 + 0.2 = 0.3"
    card = sized.locator(".call")
    expect(card).to_contain_text("Calculator")
    expect(card).to_contain_text("done")
    expect(sized.get_by_text("0.1 + 0.2 = 0.3")).to_have_count(0)
    card.locator("summary").focus()
    sized.keyboard.press("Enter")
    expect(sized.get_by_text("0.1 + 0.2 = 0.3")).to_be_visible()
    sized.keyboard.press("Enter")
    expect(sized.get_by_text("0.1 + 0.2 = 0.3")).to_have_count(0)
    sized.reload()
    expect(sized.locator(".call")).to_contain_text("done")
    assert asked_hosts == {urlsplit(server.address).netloc}


def test_what_a_model_calls_wrongly_it_can_mend(
    complaints: list[list[str]], chat: Page, server: ScriptedServer
) -> None:
    server.scripts["wrong"] = calls("calculator", {"sum": "@mended"}, "mended")
    server.scripts["mended"] = calls("calculator", {"expression": "6*7"}, "right")
    server.scripts["right"] = "It is 42."
    turn_on(chat, "Calculator")
    ask(chat, "@wrong")
    answered(chat, "It is 42.")
    states = chat.locator(".call .call-state")
    expect(states).to_have_text(["failed", "done"])


def test_thoughts_are_folded(
    complaints: list[list[str]], chat: Page, server: ScriptedServer
) -> None:
    server.scripts["thinks"] = "<think>Ships float.</think>Yes."
    ask(chat, "Do ships float? @thinks")
    answered(chat, "Yes.")
    expect(chat.get_by_text("Ships float.")).to_have_count(0)
    chat.locator(".reasoning summary").click()
    expect(chat.get_by_text("Ships float.")).to_be_visible()


def test_the_web_is_read_after_consent_only(
    sized: Page, server: ScriptedServer, asked_hosts: set[str], others: ExitStack
) -> None:
    host = others.enter_context(stranger())
    server.scripts["read"] = calls("fetch", {"url": f"{host.address}/moved"}, "was-read")
    server.scripts["was-read"] = "At noon."
    told = tool_text(server, sized)
    turn_on(sized, "Read a web page")
    ask(sized, "When does it sail? @read")
    question = sized.get_by_role("alertdialog")
    expect(question).to_be_focused()
    expect(question).to_contain_text("Allow “Read a web page”?")
    expect(question.locator(".approval-address")).to_have_text(f"{host.address}/moved")
    expect(question).to_contain_text("in your own network")
    # No key that was meant for something else agrees.
    sized.keyboard.press("Enter")
    sized.keyboard.press("Space")
    expect(question).to_be_visible()
    assert host.seen == []
    assert sized.locator("iframe").count() == 0
    assert asked_hosts == {urlsplit(server.address).netloc}

    question.get_by_role("button", name="Allow once").click()
    answered(sized, "At noon.")
    assert "# Today\n\nThe ferry sails at noon." in told()
    assert f"Address: {host.address}/page" in told()
    assert "menu" not in told()
    assert [path for path, _ in host.seen] == ["/moved", "/page"]
    for _, headers in host.seen:
        assert "cookie" not in headers
        assert "referer" not in headers
    assert asked_hosts == {urlsplit(server.address).netloc, urlsplit(host.address).netloc}
    assert sized.locator("iframe").count() == 1

    ask(sized, "Again? @read")
    expect(sized.get_by_role("alertdialog")).to_be_visible()
    sized.get_by_role("alertdialog").get_by_role("button", name="Do not allow").click()
    answered(sized, "At noon.")
    assert told().startswith("Error: The user did not allow this call.")
    expect(sized.locator(".call .call-state").last).to_have_text("not allowed")
    assert len(host.seen) == 2


def test_a_question_that_is_stopped_is_a_no(
    complaints: list[list[str]], chat: Page, server: ScriptedServer, others: ExitStack
) -> None:
    host = others.enter_context(stranger())
    server.scripts["stop"] = calls("fetch", {"url": f"{host.address}/page"}, "hello")
    turn_on(chat, "Read a web page")
    ask(chat, "@stop")
    expect(chat.get_by_role("alertdialog")).to_be_visible()
    chat.keyboard.press("Escape")
    expect(chat.get_by_role("alertdialog")).to_have_count(0)
    expect(chat.locator(".call")).to_be_visible()
    assert host.seen == []


def test_a_site_that_other_pages_may_not_read(
    chat: Page, server: ScriptedServer, others: ExitStack
) -> None:
    host = others.enter_context(stranger())
    server.scripts["closed"] = calls("fetch", {"url": f"{host.address}/closed"}, "sorry")
    server.scripts["sorry"] = "It cannot be read."
    told = tool_text(server, chat)
    turn_on(chat, "Read a web page")
    ask(chat, "@closed")
    chat.get_by_role("alertdialog").get_by_role("button", name="Allow once").click()
    answered(chat, "It cannot be read.")
    assert "CORS" in told()


def test_tools_of_an_mcp_server(
    sized: Page, server: ScriptedServer, asked_hosts: set[str], others: ExitStack
) -> None:
    remote = others.enter_context(mcp_server("--token", "secret"))
    port = urlsplit(remote.address).port
    panel = add_server(sized, f"http://localhost:{port}/mcp", "Harbour")
    expect(panel.get_by_role("alert")).to_contain_text("wants a token")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Token").fill("secret")
    panel.get_by_role("button", name="Save and connect").click()
    expect(panel.get_by_text("connected", exact=True)).to_be_visible()
    panel.get_by_text("2 tools · 0 tools on").click()
    # What a server says is text.
    expect(panel.get_by_text("<b>When</b> the water is high in a port.")).to_be_visible()
    panel.get_by_role("switch", name="All tools of Harbour").check()
    sized.keyboard.press("Escape")

    server.scripts["tide"] = calls("tide", {"port": "Cuxhaven"}, "high")
    server.scripts["high"] = "At 06:12."
    told = tool_text(server, sized)
    ask(sized, "When? @tide")
    question = sized.get_by_role("alertdialog")
    expect(question).to_contain_text("Allow “Tide table”?")
    expect(question).to_contain_text("Cuxhaven")
    expect(question).to_contain_text(f"localhost:{port}")
    assert "POST tools/call" not in remote.seen
    question.get_by_role("button", name="Always in this conversation").click()
    answered(sized, "At 06:12.")
    assert told().startswith("High water in Cuxhaven at 06:12.")
    card = sized.locator("li.called").last
    picture = card.get_by_role("img", name="A picture from Tide table")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1

    server.scripts["sink"] = calls("sink", {}, "sunk")
    server.scripts["sunk"] = "It leaks."
    ask(sized, "Again @tide")
    answered(sized, "At 06:12.")
    ask(sized, "@sink")
    sized.get_by_role("alertdialog").get_by_role("button", name="Allow once").click()
    answered(sized, "It leaks.")
    assert told() == "The ship is leaking."

    # A visit asks nobody before a call.
    count = len(remote.seen)
    asked_hosts.clear()
    sized.reload()
    expect(sized.locator(".call").first).to_be_visible()
    panel = open_tools(sized)
    expect(panel.get_by_text("not connected", exact=True)).to_be_visible()
    expect(panel.get_by_text("2 tools · 2 tools on")).to_be_visible()
    assert len(remote.seen) == count
    assert asked_hosts == {urlsplit(server.address).netloc}
    panel.get_by_role("button", name="Remove").click()
    panel.get_by_role("button", name="Remove").click()
    expect(panel.get_by_text("There is none yet.")).to_be_visible()


def test_a_server_that_web_pages_may_not_ask(chat: Page, others: ExitStack) -> None:
    remote = others.enter_context(mcp_server("--no-cors"))
    panel = add_server(chat, remote.address)
    expect(panel.get_by_role("alert")).to_contain_text("No answer.")
    panel.get_by_role("button", name="Add a server").click()
    panel.get_by_role("textbox", name="Address").fill("http://tools.example/mcp")
    panel.get_by_role("button", name="Save and connect").click()
    address = panel.get_by_role("textbox", name="Address")
    expect(address).to_be_focused()
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(panel).to_contain_text("Only https: addresses can be asked")


def test_the_page_itself_reaches_nobody_else(chat: Page, others: ExitStack) -> None:
    """Whatever ran in it: the door is the frame, and it is not there before somebody agreed."""
    host = others.enter_context(stranger())
    tried = chat.evaluate(
        "address => fetch(address, {mode: 'no-cors'}).then(() => 'reached', () => 'blocked')",
        f"{host.address}/page?secret",
    )
    assert tried == "blocked"
    assert host.seen == []
    assert chat.locator("iframe").count() == 0
