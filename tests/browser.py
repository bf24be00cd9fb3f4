"""Headless Chromium for tests: a page is loaded at a width, and what happens is told. By its pipe, no port."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)


class Page:
    """A tab that records every request, message of the console, and error."""

    def __init__(self, write, read):
        self._write, self._read, self._number, self._session = write, read, 0, None
        self._rest, self._loaded, self.requests, self.messages = b"", False, [], []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method, **params):
        """Call a method of the DevTools protocol; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url, width):
        """Load a page in a window of this width, to its end; what was told before is forgotten."""
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        self.requests, self.messages, self._loaded = [], [], False
        self.do("Page.navigate", url=url)
        while not self._loaded:
            self._next()
        self.evaluate("0")  # what was told before its answer has been told

    def evaluate(self, expression):
        return self.do("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, file):
        """PNG of the whole page."""
        shot = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _next(self):
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "Chromium has gone"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        told = json.loads(line)
        if told.get("method") == "Network.requestWillBeSent":
            self.requests.append(told["params"]["request"]["url"])
        self._loaded = self._loaded or told.get("method") == "Page.loadEventFired"
        if told.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(told["params"])
        return told


@contextmanager
def chromium(profile):
    """A page of a browser that ends with the block; `profile` is a folder for it to write in."""
    (its_end, write), (read, end) = os.pipe(), os.pipe()

    def as_3_and_4():
        a, b = os.dup(its_end), os.dup(end)  # 3 or 4 may be among the four
        os.dup2(a, 3), os.dup2(b, 4)

    command = [CHROMIUM, *SWITCHES, f"--user-data-dir={profile}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, preexec_fn=as_3_and_4, close_fds=False, **quiet)
    os.close(its_end), os.close(end)
    try:
        yield Page(write, read)
    finally:
        process.terminate()
        process.wait()
        os.close(write), os.close(read)
