"""labelme's JSON, a file for each image, which is beside it or embedded in the file.

Source: labelme, _label_file.py and utils/shape.py. Shapes are drawn by Pillow, as labelme draws them into
masks, so that pixels on a polygon's edge belong to it, and in the file's order, the later over the former.
`__ignore__` is ignored; `_background_`, and what no shape covers, is background. Groups tell objects apart, and
mean nothing here.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import posixpath
import re
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw

from ..conventions import IGNORE_LABEL
from ..data.class_names import read_classes
from ..data.datasets import check_outlines
from ..data.images import opened, refuse_large
from ..errors import FCNXSError, cut
from ..system.json_files import Number, Or, read_json
from .account import Account
from .drawing import Shape, draw
from .files import SPLITS, all_files, below, head_of, in_threads, unlisted
from .found import BACKGROUND, Class, Found, LeftOut, Options, Sample, Size, checked_classes, with_background

LOOKS_FOR = "*.json with shapes and imagePath"
TAKES = ("names",)
KEYS = re.compile(rb'"(?:shapes|imageData|imagePath)"\s*:')
IGNORED, GROUND, LABELS = "__ignore__", "_background_", "labels.txt"
NO_AREA = ("line", "linestrip", "point", "points")
POINT = (Number(float, -1e9, 1e9), Number(float, -1e9, 1e9))
FORM = {
    "shapes": [{"label": str, "points": [POINT], "shape_type": Or(str, "polygon"), "mask": Or(str)}],
    "imagePath": str,
    "imageData": Or(str),
    "imageHeight": Or(Number(int, 1)),
    "imageWidth": Or(Number(int, 1)),
}
EMBEDDED = ("JPEG", "PNG")  # formats of images in the JSON


class _File(NamedTuple):
    """What a JSON file has: the image's file, None if there is none, and its path in the source."""

    path: Path
    image: Path | None
    name: str
    shapes: List[Dict[str, Any]]
    size: Size | None


def recognised(source: Path) -> bool:
    """Whether the source is, or has, a JSON file that begins as labelme's do."""
    files = [source] if source.is_file() else [*source.glob("*.json"), *source.glob("*/*.json")]
    return any(map(_is_labelme, files))


def _is_labelme(file: Path) -> bool:
    return bool(KEYS.search(head_of(file, ".json")))


def read(source: Path, options: Options, account: Account) -> Found:
    """Images with their shapes; the classes are those of labels.txt or --names, else the labels that occur.

    Raises:
        FCNXSError: there is no such file, one names an image elsewhere, or no image is found.
    """
    paths = [source] if source.is_file() else [file for file in all_files(source) if _is_labelme(file)]
    if not paths:
        raise FCNXSError(f"{source}: no JSON file of labelme here (with shapes and imagePath)")
    folder = source.parent if source.is_file() else source
    files, error, unread = [], None, set()
    for path, found in zip(paths, in_threads(partial(_tried, folder, options, account), paths)):
        if isinstance(found, FCNXSError):
            account.add("unreadable", found)
            error = error or found
            unread.add(path.with_suffix(""))
        else:
            files.append(found)
    if not files:
        raise error
    classes, said_by = _classes(files, folder, options)
    positions = {each.name: position for position, each in enumerate(classes)}
    listed: Dict[Path, Sample | None] = {}
    twice = set()
    for file in files:
        if file.image is None:
            account.add("no image", file.name)
            continue
        if file.image in listed:
            twice.add(file.image)
            account.add("two annotations", file.name)
        account.add("no annotation", file.name, not file.shapes)
        label = partial(_drawn, file, positions, options, account)
        parts = (SPLITS.get(part.lower()) for part in file.path.relative_to(folder).parts[:-1])
        split = next((part for part in parts if part), None)
        listed[file.image] = Sample(file.image, file.name, label, split) if file.shapes else None
    unlisted([image for image in listed if options.scratch not in image.parents], folder, account, unread)
    kept = [sample for image, sample in listed.items() if sample is not None and image not in twice]
    if not kept:
        raise FCNXSError(f"{source}: no image is left; --images DIR says where they are. {account}")
    return Found(classes, kept, said_by)


def _tried(folder: Path, options: Options, account: Account, path: Path) -> _File | FCNXSError:
    """What a file has; an error if it cannot be read.

    Raises:
        FCNXSError: it names an image elsewhere.
    """
    try:
        content = read_json(path, "labelme's annotations", FORM)
    except FCNXSError as error:
        return error
    embedded = content["imageData"] is not None and options.scratch is not None
    image, name = _image(path, content["imagePath"], embedded, folder, options, account)
    if image is None and embedded:
        try:
            image, name = _embedded(path, content["imageData"], folder, options)
        except FCNXSError as error:
            return error
        account.add("embedded", name)
    size = (content["imageHeight"], content["imageWidth"])
    return _File(path, image, name, content["shapes"], None if None in size else size)


def _image(
    path: Path, name: str, embedded: bool, folder: Path, options: Options, account: Account
) -> Tuple[Path | None, str]:
    """File and name of the image of a JSON file: where it says, or beside it; below --images by its name.

    Raises:
        FCNXSError: it names an image out of the folder, none of this name is beside it, and it embeds none.
    """
    name = name.replace("\\", "/")
    base = posixpath.basename(name)
    if options.images is not None:
        image = below(options.images, base, path)
        return image if image.is_file() else None, base
    said = os.path.relpath(os.path.join(os.path.abspath(path.parent), name), os.path.abspath(folder))
    beside = (path.parent.relative_to(folder) / base).as_posix()
    nameless = base in ("", ".", "..")
    leads_out = bool(PureWindowsPath(name).drive) or said.split("/")[0] == ".."
    for each in () if nameless else (beside,) if leads_out else (said, beside):
        image = below(folder, each, path)
        if image.is_file():
            account.add("elsewhere", each, leads_out)
            return image, each
    if (nameless or leads_out) and not embedded:
        wrong = f"leads out of {folder}, and no image of this name is beside the JSON file"
        raise FCNXSError(
            f"{path}: names the file {cut(name, 200)!r}, which {'is none' if nameless else wrong}; "
            "--images DIR says where images of these names are"
        )
    return None, beside if leads_out else said


def _embedded(path: Path, data: str, folder: Path, options: Options) -> Tuple[Path, str]:
    """Write the file that is embedded in a JSON file, as it is; the path and its name.

    Raises:
        FCNXSError: it is no JPEG or PNG.
    """
    content = _decoded(data, f"{path}: imageData")
    with opened(io.BytesIO(content), options.max_pixels, EMBEDDED) as image:
        suffix = ".png" if image.format == "PNG" else ".jpg"
    name = path.relative_to(folder).with_suffix(suffix)
    file = options.scratch / name
    os.makedirs(file.parent, exist_ok=True)
    file.write_bytes(content)
    return file, name.as_posix()


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        raise FCNXSError(f"{where}: not in base64") from None


def _classes(files: Sequence[_File], folder: Path, options: Options) -> Tuple[List[Class], str]:
    """Classes, and what said them."""
    listed = folder / LABELS if (folder / LABELS).is_file() else None
    file = options.names or listed
    names = read_classes(file) if file else sorted({_label(shape) for each in files for shape in each.shapes})
    named = [Class(_ground(name), None, 0) for name in names if name != IGNORED]
    said_by = str(file or "the labels of the shapes")
    return checked_classes(with_background(named), said_by), said_by


def _label(shape: Dict[str, Any]) -> str:
    return _ground(" ".join(shape["label"].split()))


def _ground(name: str) -> str:
    return BACKGROUND if name == GROUND else name


def _drawn(
    file: _File, positions: Dict[str, int], options: Options, account: Account, upright: Size
) -> np.ndarray:
    """Label of an image, of the size that the file says, if it says one."""
    size = file.size or upright
    refuse_large(size[::-1], file.path, options.max_pixels)
    shapes = []
    for each in file.shapes:
        kind, label = each["shape_type"], _label(each)
        if kind in NO_AREA:
            account.add("no area", file.name)
            continue
        try:
            if kind not in SHAPES:
                raise ValueError(f"a shape of the kind {kind}")
            shapes.append(Shape(positions.get(label, IGNORE_LABEL), *SHAPES[kind](each, size, options)))
        except (ValueError, FCNXSError):
            account.add("broken", file.name)
        else:
            account.add("unknown class", file.name, label not in (*positions, IGNORED))
    if not shapes:
        raise LeftOut("no annotation")
    return draw(shapes, size, file.name, account, upright)


def _polygon(shape: Dict[str, Any], size: Size, _: Options) -> Tuple:
    return _by_pillow("polygon", np.array(shape["points"], np.float64), size)


def _rectangle(shape: Dict[str, Any], size: Size, _: Options) -> Tuple:
    (x0, y0), (x1, y1) = shape["points"]  # ValueError if there are not two
    return _by_pillow("rectangle", np.array([(min(x0, x1), min(y0, y1)), (max(x0, x1), max(y0, y1))]), size)


def _circle(shape: Dict[str, Any], size: Size, _: Options) -> Tuple:
    centre, edge = np.array(shape["points"], np.float64)
    radius = np.hypot(*(edge - centre))
    return _by_pillow("ellipse", np.array([centre - radius, centre + radius]), size)


def _by_pillow(method: str, points: np.ndarray, size: Size) -> Tuple:
    """Bounds and pixels, as `drawing.Shape` has them, of what Pillow draws with its edge.

    Raises:
        ValueError: the points are too few, or too far away.
    """
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    corners = points if method == "polygon" else np.array([(left, top), (right, top), (right, bottom)])
    check_outlines([corners], sum(size))

    def inside(at: Tuple[int, int], window: Size) -> np.ndarray:
        image = Image.new("L", (at[0] + window[1], at[1] + window[0]))  # moved points are rounded otherwise
        getattr(ImageDraw.Draw(image), method)([*map(tuple, points.tolist())], outline=1, fill=1)
        return np.asarray(image, bool)[at[1] :, at[0] :]

    return (left, top, right + 1, bottom + 1), inside


def _mask(shape: Dict[str, Any], _: Size, options: Options) -> Tuple:
    (left, top), (right, bottom) = [(int(x), int(y)) for x, y in shape["points"]]
    data = io.BytesIO(_decoded(shape["mask"] or "", "mask"))
    with opened(data, options.max_pixels) as image:
        pixels = np.asarray(image) != 0
    if pixels.shape != (bottom - top + 1, right - left + 1):
        raise ValueError("the mask has another size than its points say")

    def inside(at: Tuple[int, int], window: Size) -> np.ndarray:
        x, y = at[0] - left, at[1] - top
        return pixels[y : y + window[0], x : x + window[1]]

    return (left, top, right + 1, bottom + 1), inside


SHAPES: Dict[str, Callable[[Dict[str, Any], Size, Options], Tuple]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "circle": _circle,
    "mask": _mask,
}
