"""A headless Chromium that opens a file and tells what it sees, over its debugging pipe.

It is the one that CHROMIUM names, or Debian's `chromium`.
"""

import base64
import json
import os
import shutil
import subprocess
import sys

PROGRAM = shutil.which(os.environ.get("CHROMIUM", "chromium"))
NEEDS = "needs Chromium: apt install chromium, or set CHROMIUM to the program"

_FLAGS = ("--headless", "--no-sandbox", "--no-zygote", "--disable-gpu", "--in-process-gpu")
_FLAGS += ("--hide-scrollbars", "--disable-dev-shm-usage", "--remote-debugging-pipe")

# Chromium reads from descriptor 3 and writes to 4.
_WITH_PIPES = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Chromium:
    """A browser with one page; use it as a context."""

    def __init__(self, profile):
        self.profile = profile
        self.requests, self._events = [], []
        self._number, self._session, self._buffer = 0, {}, b""

    def __enter__(self):
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        program = [PROGRAM, *_FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WITH_PIPES, str(to_read), str(to_write), *program],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self):
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._from)
        os.close(self._to)

    def call(self, method, **params):
        """Call a method of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path, *, width, height, dark=False):
        """Open a file in a window of a size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", mobile=width < 600, **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self._events:
            self._read()

    def evaluate(self, expression):
        """Compute a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press_tab(self):
        for kind in ("rawKeyDown", "keyUp"):
            key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
            self.call("Input.dispatchKeyEvent", type=kind, **key)

    def screenshot(self):
        """The window's content as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def accessible(self):
        """Roles and names as a screen reader gets them."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in nodes if not node["ignored"]]
        return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in seen]

    def _read(self):
        while b"\0" not in self._buffer:
            part = os.read(self._from, 1 << 16)
            assert part, "Chromium has ended"
            self._buffer += part
        content, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(content)
        if method := message.get("method"):
            self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message
