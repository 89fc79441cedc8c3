"""A real browser without a screen: Debian's Chromium, asked by the W3C's WebDriver protocol."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from limits import limit
from process.server import until

WITHIN_S = limit(30.0)
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1500")


class Browser:
    """One window. Use it as a context manager."""

    def __init__(self, scratch: Path, *arguments: str) -> None:
        self._log = scratch / "chromedriver.log"
        self._arguments = [*ARGUMENTS, *arguments, f"--user-data-dir={scratch / 'profile'}"]

    def __enter__(self) -> Browser:
        with self._log.open("wb") as log:
            self._driver = subprocess.Popen(
                ["chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        port = until(lambda: re.search(r"successfully on port (\d+)", self._log.read_text()), "chromedriver listens")[1]
        self._base = f"http://127.0.0.1:{port}"
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": self._arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        try:
            made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self._end_driver()
            raise
        self._session = f"/session/{made['sessionId']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._ask("DELETE", self._session, None)
        finally:
            self._end_driver()

    def _end_driver(self) -> None:
        self._driver.terminate()
        self._driver.wait(WITHIN_S)

    def open(self, address: str) -> None:
        """Go to a page."""
        self._ask("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """Give what a script on the page returns."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script: str, *arguments: Any) -> Any:
        """Give what a script on the page returns once that is something. AssertionError if that is not soon."""
        body = {"script": UNTIL % script, "args": list(arguments)}
        found = self._ask("POST", f"{self._session}/execute/async", body)
        assert found, f"never came true: {script}"
        return found

    def press(self, words: str) -> None:
        """Press the button that has these words on it: the one in a dialog, if one is open."""
        self.wait(f"const found = {BUTTON}; found && found.click(); return Boolean(found)", words)

    def picture(self, file: Path) -> None:
        """Keep what the window shows."""
        file.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot", None)))

    def complaints(self) -> list[str]:
        """Give what the page complained about since this was last asked."""
        return [each["message"] for each in self._ask("POST", f"{self._session}/se/log", {"type": "browser"})]

    def _ask(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S * 2) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


BUTTON = """[...(document.querySelector("dialog[open]") ?? document).querySelectorAll("button")].find(
    (each) => each.offsetParent && each.textContent.trim().startsWith(arguments[0]))"""
UNTIL = """
const given = [...arguments], done = given.pop(), began = Date.now();
const look = () => {
  const found = (function () { %s }).apply(null, given);
  if (found || Date.now() - began > 25000) done(found); else setTimeout(look, 20);
};
look();
"""
