"""Handler of multi-model-server: it answers a JPEG or PNG file with its class map, as a PNG or JSON.

`mar.py` packs this module into every archive, with the modules that it imports. They need MXNet, NumPy and
Pillow on the server, and nothing else.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
from PIL import Image

from .. import compat
from ..data.images import TooManyPixels, UnknownFormat, opened, preprocess, read_image, refuse_large
from ..errors import FCNXSError

# The server decodes bodies of text and JSON before it calls the handler, and its worker dies if it cannot. It
# reads this variable with every request.
os.environ["MMS_DECODE_INPUT_REQUEST"] = "false"

FORMATS = ("JPEG", "PNG")
HEADS = ("softmax", "argmax", "_copy")  # operators that an export puts behind the scores
# Limit for an image with 100 pixels of margin on every side, since the nets pad it so: without the margin a
# strip of 1 x 4,000,000 would pass.
MAX_PIXELS = int(os.environ.get("FCNXS_MAX_PIXELS", 4_000_000))
MARGIN = 100


class Refused(Exception):
    """A request cannot be answered: an HTTP status, 4xx, and a sentence with the reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Body(io.BytesIO):
    """A file in memory; errors call it "the image"."""

    def __str__(self) -> str:
        return "the image"


class Answer(NamedTuple):
    """Answer to a request: HTTP status, content type, body."""

    status: int
    content_type: str
    body: bytes


def handle(requests: List[Mapping[str, Any]] | None, context: Any) -> List[bytes] | None:  # noqa: ANN401
    """Entry point for the server: answer a batch of requests.

    Args:
        requests: parameters of each request: `body`, the file, and `format`, png or json (of `/invocations`).
            None, when a worker starts: only load the net.
        context: the server's object for the archive's folder, the headers, and the answers' status and type.
    """
    net = _load(Path(context.system_properties["model_dir"]))
    if requests is None:
        return None
    answers = [net.answer(each, context.get_all_request_header(i)) for i, each in enumerate(requests)]
    for i, answer in enumerate(answers):
        context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, i)
        context.set_response_content_type(i, answer.content_type)
    return [answer.body for answer in answers]


def read_body(body: bytes, max_pixels: int = MAX_PIXELS, exif: str = "apply") -> np.ndarray:
    """Decode a JPEG or PNG file to RGB uint8 (H, W, 3), as `fcnxs segment` reads it.

    Raises:
        Refused: the body is empty, of another kind, too large, or not whole.
    """
    if not body:
        raise Refused(400, "the request has no body; send the bytes of a JPEG or PNG file")
    try:
        with opened(Body(body), sys.maxsize, FORMATS) as image:  # reads the header alone
            width, height = image.size
        refuse_large((width + 2 * MARGIN, height + 2 * MARGIN), "the image", max_pixels)
        return read_image(Body(body), exif, max_pixels)
    except UnknownFormat:
        raise Refused(415, "neither a JPEG nor a PNG file, or cut off near its beginning") from None
    except TooManyPixels:
        raise Refused(
            413,
            f"the image of {width}x{height} pixels is too large: with {MARGIN} more on every side it may have "
            f"{max_pixels} (the server's FCNXS_MAX_PIXELS)",
        ) from None
    except FCNXSError as error:
        raise Refused(400, str(error)) from None


class ServedNet:
    """The net of an archive's folder: PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json."""

    def __init__(self, folder: Path) -> None:
        # Threads sleep while they wait, and leave the processors to the server's front end and other workers.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        compat.use_the_machine()
        from ..checkpoint.params_file import load_arrays
        from ..net import Net
        from ..predict.forward import Passes
        from ..symbols import legacy
        from ..symbols.graph.nodes import Graph

        (meta_file,) = folder.glob("*-meta.json")
        self.meta: Dict[str, Any] = json.loads(meta_file.read_text(encoding="utf-8"))
        prefix = str(meta_file)[: -len("-meta.json")]
        text = Path(f"{prefix}-symbol.json").read_text(encoding="utf-8")
        symbol = legacy.load(text, self.meta.get("operators", ()))
        args, auxs = load_arrays(Path(f"{prefix}-0000.params"))
        if Graph.of(symbol).ops[-1] in HEADS:
            symbol = symbol.get_children()[0]  # scores differ where probabilities are all 1.0 or 0.0
        self.palette = bytes(np.asarray(self.meta["palette"], np.uint8))
        self.size = self.meta.get("export", {}).get("size", "dynamic")  # or [H, W], its one size
        lowered = self.meta.get("export", {}).get("precision", "fp32") != "fp32"  # then only export trims
        self.passes = Passes(Net(symbol, args, auxs), compat.mxnet.cpu(), trim=not lowered)
        self._turn = threading.Lock()

    def answer(self, parameters: Mapping[str, Any], headers: Mapping[str, Any]) -> Answer:
        """Answer one request; a bad request gets the reason as a line of text."""
        try:
            as_json, body = _wishes(parameters, headers)
            class_map = self.class_map(read_body(body, exif=self.meta.get("exif", "apply")))
        except Refused as refused:
            return Answer(refused.status, "text/plain; charset=utf-8", f"{refused}\n".encode())
        if as_json:
            return Answer(200, "application/json", self.areas(class_map))
        image, file = Image.fromarray(class_map), io.BytesIO()
        image.putpalette(self.palette)
        image.save(file, format="PNG")
        return Answer(200, "image/png", file.getvalue())

    def class_map(self, image: np.ndarray) -> np.ndarray:
        """Class map, uint8 (H, W), of an image, RGB uint8 (H, W, 3).

        Raises:
            Refused: the net does not take this size.
        """
        height, width = image.shape[:2]
        if self.size not in ("dynamic", [height, width]):
            only = f"{self.size[1]}x{self.size[0]}"
            raise Refused(400, f"the image has {width}x{height} pixels; this net takes only images of {only}")
        data = preprocess(image, self.meta["mean"])
        try:
            with self._turn:  # a server's threads share the executors
                scores = self.passes.scores(data, "the image")
                return scores.argmax(axis=1)[0].astype("uint8").asnumpy()
        except FCNXSError as error:
            raise Refused(400, str(error)) from None

    def areas(self, class_map: np.ndarray) -> bytes:
        """JSON of a class map (H, W): its size, and number, name, pixels and share of each class in it."""
        names, (height, width) = self.meta["classes"], class_map.shape
        classes = [
            {"class": number, "name": names and names[number], "pixels": n, "share": n / class_map.size}
            for number, n in enumerate(np.bincount(class_map.ravel()).tolist())
            if n
        ]
        return json.dumps({"width": width, "height": height, "classes": classes}).encode()


_load = functools.cache(ServedNet)


def _wishes(parameters: Mapping[str, Any], headers: Mapping[str, Any]) -> Tuple[bool, bytes]:
    """Whether the request wants JSON, by its parameter `format` or its header Accept; and its file."""
    rest = dict(parameters)
    wanted = bytes(rest.pop("format", b"")).decode(errors="replace")
    if wanted not in ("", "png", "json"):
        raise Refused(400, f"format {wanted!r:.40} is neither png nor json")
    accept = next((str(value) for name, value in headers.items() if name.lower() == "accept"), "")
    body = rest.get("body", next(iter(rest.values()), b""))  # fields of a form may have any name
    return wanted == "json" or (not wanted and "application/json" in accept.lower()), bytes(body)
