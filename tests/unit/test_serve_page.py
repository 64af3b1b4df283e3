"""The page for trying out: nothing from elsewhere; in a real browser, a chosen or dropped file comes back replaced."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.faults.tiny_serve import RAISES, png, serving_here

from understudy.serve.page import load_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, and there is none")


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing_and_its_policy_would_not_let_it() -> None:
    page, policy = load_page(needs_token=False, max_bytes=5)
    assert re.findall(r"https?://|//[a-z]|@import|url\(", page) == []
    for tag, attributes in Elements(page).found:
        assert tag not in {"iframe", "object", "embed", "form", "base"}
        assert not attributes.keys() & {"src", "srcset", "style", "onclick", "onload", "action"}, tag
        assert attributes.get("href", "#") in {"#", "data:,"}
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", rules["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", rules["style-src"])


def test_every_field_has_a_label_and_every_picture_words() -> None:
    page, _ = load_page(needs_token=True, max_bytes=5)
    elements = Elements(page).found
    labels = {attributes["for"] for tag, attributes in elements if tag == "label" and "for" in attributes}
    assert "token" in labels
    assert re.search(r"<label id=\"drop\">.*?<input id=\"file\".*?</label>", page, re.DOTALL)
    assert all(attributes.get("alt") for tag, attributes in elements if tag == "img")
    assert ("html", {"lang": "en"}) in elements
    assert any(
        attributes.get("role") == "status" and attributes.get("aria-live") == "polite" for _, attributes in elements
    )


def test_the_field_for_the_token_is_shown_where_one_is_asked_for_and_only_there() -> None:
    assert 'id="token-row" hidden' in load_page(needs_token=False, max_bytes=5)[0]
    assert 'id="token-row" hidden' not in load_page(needs_token=True, max_bytes=5)[0]


def test_the_page_says_what_is_kept_and_what_is_not_promised() -> None:
    page, _ = load_page(needs_token=False, max_bytes=5)
    assert "Nothing is kept" in page
    assert "What is not promised" in page
    assert "A face that the detector does not find stays as it is" in page


class Browser:
    """Chromium, spoken to through its DevTools pipe."""

    def __init__(self, out: int, into: int) -> None:
        self._out, self._into = out, into
        self._buffer = b""
        self._n = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command and its result."""
        self._n += 1
        message = {"id": self._n, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._n:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._out, 1 << 20)
            assert piece, "the browser has gone"
            self._buffer += piece
        whole, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(whole)
        return message

    def evaluate(self, expression: str) -> Any:
        result = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str) -> None:
        deadline = time.monotonic() + 60
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, (
                f"it never came to {expression}: {self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.05)

    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        self.events.clear()
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href.startsWith('http')")

    def choose(self, path: Path) -> None:
        """Choose a file as a person does through the file dialogue."""
        root = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def key(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode={"Tab": 9}[key])

    def status(self) -> str:
        return str(self.evaluate("document.getElementById('status').textContent"))

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def addresses(self) -> set[str]:
        """Every address that the page asked for, without blobs and data."""
        urls = {e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"}
        return {url for url in urls if not url.startswith(("blob:", "data:"))}

    def complaints(self) -> list[str]:
        """Errors that the browser logged, such as a broken policy."""
        entries = [e["params"]["entry"] for e in self.events if e.get("method") == "Log.entryAdded"]
        return [entry["text"] for entry in entries if entry["level"] == "error"]


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own."""
    assert CHROMIUM is not None
    to_read, to_write = os.pipe(), os.pipe()
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_read[0], to_write[1])]

    def take_their_places() -> None:
        os.dup2(theirs[0], 3)
        os.dup2(theirs[1], 4)

    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder}"],
        preexec_fn=take_their_places,
        pass_fds=(3, 4, *theirs),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for fd in (to_read[0], to_write[1], *theirs):
        os.close(fd)
    try:
        yield Browser(to_write[0], to_read[1])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(to_read[1])
        os.close(to_write[0])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "who is this.png"
    path.write_bytes(png(64, 48))
    return path


SHOWN = "!document.getElementById('after').hidden && document.getElementById('after').naturalWidth"


@needs_browser
def test_a_chosen_file_comes_back_and_both_pictures_are_shown(browser: Browser, picture: Path) -> None:
    with serving_here() as url:
        browser.open(url)
        browser.choose(picture)
        browser.wait(f"{SHOWN} === 64")
        assert browser.evaluate("document.getElementById('before').naturalHeight") == 48
        assert browser.status().startswith("1 face replaced, 1 face filled with one colour (a note).")
        assert browser.evaluate("document.getElementById('save').download") == "anonymised.png"
        assert browser.evaluate(DIFFERENT) == [True, False]
        assert {address.removeprefix(url) for address in browser.addresses()} == {"", "v1/anonymize"}
        assert browser.complaints() == []


DIFFERENT = """(() => {
  const [before, after] = ["before", "after"].map((id) => {
    const image = document.getElementById(id), canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return (x, y) => Array.from(context.getImageData(x, y, 1, 1).data).join();
  });
  return [before(3, 3) !== after(3, 3), before(40, 40) !== after(40, 40)];
})()"""
"""Whether a pixel of a region, and one outside all regions, differ between the two pictures."""


@needs_browser
def test_a_dropped_file_is_taken_like_a_chosen_one(browser: Browser) -> None:
    data = base64.b64encode(png(40, 30)).decode()
    drop = f"""(() => {{
      const bytes = Uint8Array.from(atob("{data}"), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
      transfer.items.add(new File([bytes], "a.png", {{type: "image/png"}}));
      for (const kind of ["dragenter", "dragover", "drop"])
        document.getElementById("drop").dispatchEvent(
          new DragEvent(kind, {{dataTransfer: transfer, bubbles: true, cancelable: true}}));
    }})()"""
    with serving_here() as url:
        browser.open(url)
        browser.evaluate(drop)
        browser.wait(f"{SHOWN} === 40")


@needs_browser
def test_what_goes_wrong_is_told_and_no_picture_is_shown(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with serving_here(max_bytes=50_000) as url:
        browser.open(url)
        path.write_bytes(png(RAISES))
        browser.choose(path)
        browser.wait("document.getElementById('status').classList.contains('alarm')")
        assert browser.status().startswith(
            "Nothing came back: somebody in it could not be replaced (ZeroDivisionError)"
        )
        path.write_bytes(b"\0" * 60_000)
        browser.choose(path)
        browser.wait("document.getElementById('status').textContent.startsWith('This file has 60,000 bytes')")
        assert browser.evaluate("document.getElementById('after').hidden && document.getElementById('save').hidden")


@needs_browser
def test_the_page_is_used_by_keyboard_and_read_aloud(browser: Browser) -> None:
    with serving_here(token="0123456789abcdef") as url:
        browser.open(url)
        stops = []
        for _ in range(2):
            browser.key("Tab")
            stops.append(browser.evaluate("document.activeElement.id"))
        tree = browser("Accessibility.getFullAXTree")["nodes"]
    assert stops == ["token", "file"]
    names = {(node["role"]["value"], node.get("name", {}).get("value")) for node in tree if "role" in node}
    assert ("textbox", "Token of this server") in names
    assert any(name and name.startswith("Choose a picture or drop one here") for _, name in names)
    assert ("heading", "What is not promised") in names
    assert any(role == "status" for role, _ in names)


@needs_browser
def test_with_the_token_typed_in_the_picture_comes_back_and_without_it_the_reason(
    browser: Browser, picture: Path
) -> None:
    with serving_here(token="0123456789abcdef") as url:
        browser.open(url)
        browser.choose(picture)
        browser.wait("document.getElementById('status').textContent.includes('asks for its token')")
        browser.evaluate("document.getElementById('token').value = '0123456789abcdef'")
        browser.choose(picture)
        browser.wait(f"{SHOWN} === 64")


@needs_browser
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_cut_off_at_any_width(browser: Browser, picture: Path, width: int) -> None:
    with serving_here() as url:
        browser.open(url, width)
        browser.choose(picture)
        browser.wait(f"{SHOWN} === 64")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        side_by_side = (
            "document.getElementById('before').getBoundingClientRect().top === "
            "document.getElementById('after').getBoundingClientRect().top"
        )
        assert browser.evaluate(side_by_side) is (width > 700)
