"""Run an archive's handler as multi-model-server does: FOLDER PNG ...; each PNG is replaced by its answer.

This script runs in a process of its own. It hides packages that a server need not have installed.
"""

import importlib
import json
import sys
from pathlib import Path


class Hidden:
    """Finder of modules that refuses to import the hidden packages."""

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse fcnxs, OpenCV and GluonCV."""
        if name.split(".")[0] in ("fcnxs", "cv2", "gluoncv"):
            raise ModuleNotFoundError(f"{name} is hidden", name=name)


class Context:
    """The server's object that a handler gets with a request, reduced to what ours uses."""

    def __init__(self, folder: str) -> None:
        self.system_properties = {"model_dir": folder}
        self.status = 200

    def get_all_request_header(self, idx: int) -> dict:
        """Return no headers, so that the answer is a PNG."""
        return {}

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Keep the HTTP status."""
        self.status = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Do nothing: the answer is a PNG."""


folder, *files = sys.argv[1:]
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, folder)
manifest = json.loads(Path(folder, "MAR-INF", "MANIFEST.json").read_text(encoding="utf-8"))
module, _, function = manifest["model"]["handler"].partition(":")
handle = getattr(importlib.import_module(module), function)
handle(None, Context(folder))
for file in map(Path, files):
    context = Context(folder)
    (answer,) = handle([{"body": bytearray(file.read_bytes())}], context)
    if context.status != 200:
        sys.exit(answer.decode())
    file.write_bytes(answer)
