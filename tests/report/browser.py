"""A headless Chromium that tests talk to through a pair of pipes, in the DevTools protocol; no package needed."""

import base64
import io
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    "--headless", "--no-sandbox", "--remote-debugging-pipe", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--disable-extensions", "--disable-dev-shm-usage", "--mute-audio",
    "--hide-scrollbars",
)  # fmt: skip

# Chromium reads commands from file descriptor 3 and writes answers to 4.
LAUNCH = (
    "import fcntl, os, sys; reads, writes = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]); "
    "os.dup2(reads, 3); os.dup2(writes, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def chromium() -> str:
    """The browser, from VOXPLAIN_CHROMIUM or the path; the test is skipped with a word where there is none."""
    named = os.environ.get("VOXPLAIN_CHROMIUM", "")
    found = named or next((path for name in NAMES if (path := shutil.which(name))), "")
    if not found:
        pytest.skip("no Chromium here; install it, or name it in VOXPLAIN_CHROMIUM")
    return found


class Browser:
    """One page of a headless Chromium; console errors and exceptions are kept."""

    def __init__(self, home: Path, width: int = 1280, height: int = 900) -> None:
        commands, self.writes = os.pipe()
        self.reads, answers = os.pipe()
        arguments = [chromium(), *FLAGS, f"--user-data-dir={home}", f"--window-size={width},{height}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(commands), str(answers), *arguments],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self.numbers, self.pending = itertools.count(1), b""
        self.complaints: list[str] = []
        self.requested: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable", self.session)
        self.resize(width, height)

    def resize(self, width: int, height: int = 900) -> None:
        """Another size of the window's inside."""
        self.send("Emulation.setDeviceMetricsOverride", self.session, width=width, height=height, deviceScaleFactor=1,
                  mobile=False)  # fmt: skip

    def send(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One command, and its result; what happens meanwhile is noted."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self.pending:
            ready, _, _ = select.select([self.reads], [], [], seconds)
            piece = os.read(self.reads, 1 << 20) if ready else b""
            assert piece, "Chromium does not answer"
            self.pending += piece
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        kind, what = event.get("method"), event.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(what["exceptionDetails"]))
        if kind == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(what["args"]))
        # Software rendering is slow to read back, and Chromium says so; no page can help it.
        if kind == "Log.entryAdded" and "GPU stall due to ReadPixels" not in what["entry"]["text"]:
            self.complaints.append(json.dumps(what["entry"]))
        if kind == "Network.requestWillBeSent":
            self.requested.append(what["request"]["url"])

    def open(self, address: str) -> None:
        """Go to a page and wait until its document is there."""
        self.send("Page.navigate", self.session, url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        done = self.send("Runtime.evaluate", self.session, expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, condition: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"waited {seconds} s in vain for {condition}"
            time.sleep(0.03)

    def press(self, key: str) -> None:
        """A key, by its DOM name."""
        text = key if len(key) == 1 else ""
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", self.session, type=kind, key=key, text=text if kind == "keyDown" else ""
            )

    def click(self, x: float, y: float) -> None:
        """A click of the left button at a place of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.send("Input.dispatchMouseEvent", self.session, type=kind, x=x, y=y, button=button, clickCount=1)

    def picture(self, selector: str = "", file: Path | None = None) -> np.ndarray:
        """What is seen (rows, columns, 3), of the window or of one element, 8 bit; also written to a PNG file."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        box = {}
        if selector:
            box = self.run(f"(({{x, y, width, height}}) => ({{x: x + scrollX, y: y + scrollY, width, height}}))"
                           f"(document.querySelector({selector!r}).getBoundingClientRect())")  # fmt: skip
        clip = {"clip": {**box, "scale": 1}} if box else {}
        data = base64.b64decode(self.send("Page.captureScreenshot", self.session, format="png", **clip)["data"])
        if file is not None:
            file.write_bytes(data)
        return np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait(20)
        os.close(self.writes)
        os.close(self.reads)
