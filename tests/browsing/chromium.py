"""A real browser for tests: Chromium, driven over two pipes by the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
PATIENCE = 30.0  # seconds


class Tab:
    """One page of a browser of its own, and what its console said.

    Attributes:
        complaints: errors, warnings and uncaught exceptions.
        requests: addresses asked for.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 800)) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        os.makedirs(folder, exist_ok=True)
        assert BROWSER
        arguments = [BROWSER, *QUIET, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, to_read, 3), (os.POSIX_SPAWN_DUP2, to_write, 4)]
        environment = {**os.environ, "HOME": str(folder)}
        self._process = os.posix_spawn(BROWSER, arguments, environment, file_actions=[*silent, *pipes])
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number, self._session = b"", 0, None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self.resize(*size)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of the protocol and gives its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def open(self, url: str) -> None:
        """Goes to an address."""
        self("Page.navigate", url=url)

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        found = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> Any:
        """The expression's value as soon as it is true."""
        end = time.monotonic() + PATIENCE
        while not (value := self.js(f"(() => {{ try {{ return {expression} }} catch {{}} }})()")):
            assert time.monotonic() < end, f"never true: {expression}; {self.complaints}"
            time.sleep(0.05)
        return value

    def resize(self, width: int, height: int, ratio: float = 1, touch: bool = False) -> None:
        """The window's size in CSS pixels."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=touch,
        )
        self("Emulation.setTouchEmulationEnabled", enabled=touch)

    def theme(self, name: str) -> None:
        """The colour scheme that the page's reader prefers: light or dark."""
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def drag(self, *points: tuple[float, float], buttons: int = 1) -> None:
        """Presses the mouse at the first point, moves it along the others and releases it."""
        self._mouse("mousePressed", points[0], buttons)
        for point in points[1:]:
            self._mouse("mouseMoved", point, buttons)
        self._mouse("mouseReleased", points[-1], buttons)

    def touch(self, *fingers: list[tuple[float, float]]) -> None:
        """Puts each finger down at its first place, moves it along the others and lifts it."""
        for index in range(len(fingers[0])):
            places = [{"x": finger[index][0], "y": finger[index][1]} for finger in fingers]
            self("Input.dispatchTouchEvent", type="touchMove" if index else "touchStart", touchPoints=places)
        self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, key: str, modifiers: int = 0) -> None:
        """Presses and releases a key; modifiers: 2 for Ctrl, 8 for Shift."""
        text = {"text": key} if len(key) == 1 and not modifiers & 2 else {}
        self("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers, **text)
        self("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers)

    def screenshot(self, path: Path | str) -> None:
        """Writes what the window shows as PNG."""
        data = self("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """Ends the browser."""
        os.close(self._write)
        os.kill(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)
        os.close(self._read)

    def _mouse(self, kind: str, point: tuple[float, float], buttons: int) -> None:
        button = {1: "left", 4: "middle"}[buttons]
        pressed = 0 if kind == "mouseReleased" else buttons
        self(
            "Input.dispatchMouseEvent",
            type=kind,
            x=point[0],
            y=point[1],
            button=button,
            buttons=pressed,
            clickCount=1,
        )

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._read, 2**20)
            assert piece, "the browser has ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str(params["args"]))
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
