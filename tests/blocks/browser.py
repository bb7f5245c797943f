"""A headless Chromium, driven through its own debugging protocol.

https://chromedevtools.github.io/devtools-protocol/ over the `websockets` that Prefect brings, so the
tests need no browser package, only a Chromium on the machine.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


class Page:
    """One browser tab; remembers what went wrong in it and what it asked the network for."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return dict(message["result"])

    def open(self, address: str, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        """Load a page at a window size and wait until all of it is drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait_for(self, expression: str, seconds: float = 20) -> None:
        """Wait until an expression of the page is true."""
        done = self.evaluate(
            f"""new Promise((resolve) => {{
              const end = Date.now() + {seconds * 1000};
              const look = () => {{
                let found = false;
                try {{ found = {expression}; }} catch {{ found = false; }}
                if (found || Date.now() > end) resolve(Boolean(found)); else setTimeout(look, 20);
              }};
              look();
            }})"""
        )
        assert done, f"the page never came to: {expression}\n" + "\n".join(self.errors)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, file: Path, full: bool = True) -> Path:
        """Write a PNG of the page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=full)["data"]
        file.write_bytes(base64.b64decode(data))
        return file

    def _receive(self) -> dict[str, Any]:
        message = dict(json.loads(self._socket.recv(timeout=30)))
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(
                " ".join(str(each.get("value", each.get("description"))) for each in parameters["args"])
            )
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start Chromium with a profile of its own, and end it with everything it started."""
    assert CHROMIUM
    command = [
        CHROMIUM,
        "--headless",
        # Inside a container, as root, Chromium cannot set up its sandbox; it loads only our own files here.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr
        address = next(
            line.split()[-1] for line in process.stderr if line.startswith("DevTools listening on")
        )
        with connect(address, max_size=None) as root:
            yield Page(_attach(root, address))
    finally:
        process.terminate()
        process.wait(20)


def _attach(root: ClientConnection, address: str) -> ClientConnection:
    root.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
    while True:
        message = json.loads(root.recv(timeout=20))
        if message.get("id") == 1:
            target = message["result"]["targetId"]
            return connect(address.split("/devtools/")[0] + f"/devtools/page/{target}", max_size=None)
