"""A headless browser for tests, driven over the W3C WebDriver protocol by chromedriver: no package is needed."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference to an element
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1300,1000",
)


def missing() -> str:
    """Why there is no browser here, and the cure; empty if there is one."""
    if shutil.which("chromedriver") and any(map(shutil.which, BROWSERS)):
        return ""
    return "chromium and chromedriver are not installed (cure: apt-get install chromium chromium-driver)"


class Browser:
    """One headless window; close it by leaving its `with` block."""

    def __init__(self) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self._url = self._session()
        except BaseException:
            self._end_driver()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._send("DELETE", "")
        finally:
            self._end_driver()

    def open(self, path: Path, anchor: str = "") -> None:
        """Load a file."""
        self._send("POST", "/url", {"url": "about:blank"})
        self._send("POST", "/url", {"url": path.absolute().as_uri() + anchor})

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, as a user would."""
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        self._send("POST", f"/element/{found[ELEMENT]}/click", {})

    def press(self, key: str) -> None:
        """Press and release a key."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def run(self, script: str) -> Any:
        """What a piece of JavaScript returns."""
        return self._send("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, selector: str) -> str:
        """Text of the first element that a CSS selector finds."""
        return self.run(f"return document.querySelector({json.dumps(selector)}).textContent")

    def messages(self) -> list[str]:
        """What the console said: errors, warnings, refused requests."""
        return [entry["message"] for entry in self._send("POST", "/se/log", {"type": "browser"})]

    def screenshot(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self._send("GET", "/screenshot"))

    def _session(self) -> str:
        """Address of a new session, once the driver has said at which port it listens."""
        assert self._driver.stdout is not None
        port = next(found[1] for found in map(re.compile(r"successfully on port (\d+)").search, self._driver.stdout) if found)
        self._url = f"http://127.0.0.1:{port}/session"
        binary = next(path for path in map(shutil.which, BROWSERS) if path)
        wanted = {"goog:chromeOptions": {"binary": binary, "args": list(FLAGS)}, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._send("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        return f"{self._url}/{made['sessionId']}"

    def _end_driver(self) -> None:
        """End the driver that was started here, and with it its browser."""
        self._driver.terminate()
        self._driver.wait(30)
        assert self._driver.stdout is not None
        self._driver.stdout.close()

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]
