"""A headless Chromium that is spoken to through a pipe, by its DevTools protocol: no driver program, no open port.

Text is compared as the page shows it. Whatever the page logs, throws or is refused is kept in `Browser.complaints`.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers give /dev/shm 64 MB
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
POLICY = {"allowUnsafeEvalBlockedByCSP": False}
"""What a test runs in the page is held to the page's own policy."""
PATIENCE = 60.0
"""Seconds until something that must happen in the browser counts as not happening."""


def program() -> str | None:
    """The Chromium of this machine: the one that BAYESOPT_TEST_CHROMIUM names, or one on the PATH."""
    named = os.environ.get("BAYESOPT_TEST_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One Chromium with one page."""

    def __init__(self, chromium: str) -> None:
        self.complaints: list[str] = []
        self._folder = tempfile.mkdtemp(prefix="bayesopt-chromium-")
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        # Chromium reads commands from its descriptor 3 and writes answers to 4.
        redirect = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        command = ["bash", "-c", redirect, "bash", str(to_child), str(from_child), chromium, *FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={self._folder}", "about:blank"],
            pass_fds=(to_child, from_child),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._rest, self._number, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it is, in the page."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, **POLICY)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        """Load a page and wait until the study is drawn on it."""
        self.resize(width, height)
        self.call("Page.navigate", url=url)
        self.wait("document.body?.dataset.drawn !== undefined")

    def wait(self, condition: str) -> None:
        """Wait for an expression to hold."""
        give_up_at = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < give_up_at, f"{condition} never held; the page complained: {self.complaints}"
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        """Give the page so many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Prefer 'light' or 'dark', without motion."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        """Press a key that has no character of its own, such as Tab or Escape."""
        codes = {"Tab": 9, "Escape": 27}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move the mouse, or press or release its left button: 'mouseMoved', 'mousePressed', 'mouseReleased'."""
        button = "none" if kind == "mouseMoved" else "left"
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def screenshot(self, *, whole: bool = True) -> bytes:
        """The page as a PNG: all of it, or what the window shows."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """End the browser and remove what it wrote."""
        self._session = ""
        with contextlib.suppress(OSError, AssertionError, EOFError):
            self.call("Browser.close")
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise EOFError(f"Chromium ended; exit status {self._process.poll()}")
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(text)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.complaints.append(params["entry"]["text"])
        elif message.get("method") == "Runtime.consoleAPICalled":
            self.complaints.append(f"console: {[argument.get('value') for argument in params['args']]}")
        elif message.get("method") == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {params['message']}")


def save(picture: bytes, path: Path) -> None:
    """Write a PNG with few colours: a page has few, and the file stays small."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
