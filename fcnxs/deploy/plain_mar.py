"""Answer as multi-model-server has an archive do: a folder with its content, then PNGs to be replaced.

Its text is run by itself, in a process of its own. What a server need not have installed is hidden.
"""

import importlib
import json
import sys
from pathlib import Path


class Hidden:
    """Finder that makes the import of what is hidden fail."""

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse this package, OpenCV, and GluonCV."""
        if name.split(".")[0] in ("fcnxs", "cv2", "gluoncv"):
            raise ModuleNotFoundError(f"{name} is hidden", name=name)


class Context:
    """What a handler is given along with one request, and what it says of its answer."""

    def __init__(self, folder: str) -> None:
        self.system_properties = {"model_dir": folder}
        self.status = 200

    def get_all_request_header(self, idx: int) -> dict:
        """None: a PNG is wanted."""
        return {}

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        """Note it: 200 or the kind of error."""
        self.status = code

    def set_response_content_type(self, idx: int, value: str) -> None:
        """It is known."""


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
