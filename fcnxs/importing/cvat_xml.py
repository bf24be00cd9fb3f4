"""CVAT's XML, "CVAT for images 1.1": polygons, boxes, ellipses and masks.

Source: CVAT's documentation, "XML annotation format", version 1.1. Shapes are drawn in the order of `z_order`,
and of equal ones in that of the file, so that the later one covers the former. Pixels
of no shape are background.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Dict, List, Tuple
from xml.etree import ElementTree

import numpy as np

from ..conventions import IGNORE_LABEL, MAX_PIXELS
from ..data.images import refuse_large
from ..errors import FCNXSError, cut
from ..system.files import read_text
from . import shapes
from .account import Account
from .drawing import Shape, draw
from .files import SPLITS, below
from .found import Class, Found, Options, Sample, Size, checked_classes, with_background

LOOKS_FOR = "CVAT's annotations.xml (CVAT for images 1.1)"
TAKES = ()
MOST_TURNS = 100  # length of a polygon within its image, relative to the sum of its sides
MOST = 1 << 27  # bytes of XML
NO_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
COLOUR = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")


def recognised(source: Path) -> bool:
    """Whether the source is, or has, an XML file that begins as CVAT's does."""
    return any(_is_cvat(file) for file in _files(source))


def _files(source: Path) -> List[Path]:
    return [source] if source.is_file() else sorted(source.glob("*.xml"))


def _is_cvat(file: Path) -> bool:
    if file.suffix.lower() != ".xml" or not file.is_file():
        return False
    with file.open("rb") as stream:
        return b"<annotations" in stream.read(4096)


def read(source: Path, options: Options, account: Account) -> Found:
    """Images of the XML file, with their shapes.

    Raises:
        FCNXSError: there is no such file, or several; it is not CVAT's for images, or names files elsewhere.
    """
    files = [file for file in _files(source) if _is_cvat(file)]
    if len(files) != 1:
        names = ", ".join(file.name for file in files)
        raise FCNXSError(
            f"{source}: expected one XML file of CVAT, has {names or 'none'}; give the file itself"
        )
    file, folder = files[0], options.images or (source if source.is_dir() else source.parent)
    root = _parsed(file)
    classes = _classes(root, file)
    numbers = {each.name: number for number, each in enumerate(classes)}
    samples: Dict[Path, Sample] = {}
    twice = set()
    for image in root.iter("image"):
        name = image.get("name", "")
        path = _file_of(folder, name, image.get("subset", ""), file)
        size = _size(image, file)
        found = _shapes(image, size, numbers, name, account)
        if path is None:
            account.add("no image", name)
        elif path in samples:
            twice.add(path)
            account.add("two annotations", name)
        elif not found:
            account.add("no annotation", name)
        else:
            split = SPLITS.get(image.get("subset", "").lower())
            samples[path] = Sample(path, name, partial(draw, found, size, name, account), split)
    kept = [sample for path, sample in samples.items() if path not in twice]
    if not kept:
        missing = account.names.get("no image")
        raise FCNXSError(
            f"{file}: none of its images is below {folder}"
            + (
                f" (such as {cut(missing[0], 200)!r}); --images DIR says where they are"
                if missing
                else " with shapes"
            )
        )
    return Found(classes, kept, str(file))


def _parsed(file: Path) -> ElementTree.Element:
    text = read_text(file, "CVAT's annotations", MOST)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise FCNXSError(f"{file}: has a document type, which CVAT's annotations have not; it is not read")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise FCNXSError(f"{file}: not XML, or damaged: {error}") from None
    if root.tag != "annotations" or root.find("image") is None:
        video = " (it has tracks, as 'CVAT for video' writes them)" if root.find("track") is not None else ""
        raise FCNXSError(f"{file}: no <image> in <annotations>{video}; export it as 'CVAT for images 1.1'")
    return root


def _classes(root: ElementTree.Element, file: Path) -> List[Class]:
    """The background, and the labels that the file declares, in their order."""
    classes: Dict[str, Class] = {}
    for label in root.iterfind("meta//labels/label"):
        name, kind = label.findtext("name", ""), label.findtext("type", "")
        if kind not in NO_AREA and label.find("parent") is None:  # which is a skeleton
            match = COLOUR.fullmatch(label.findtext("color", ""))
            colour = tuple(int(each, 16) for each in match.groups()) if match else None
            classes.setdefault(name, Class(name, colour, 0))
    if not classes:
        raise FCNXSError(f"{file}: declares no label in <meta>; export the task as 'CVAT for images 1.1'")
    return checked_classes(with_background(classes.values()), file)


def _file_of(folder: Path, name: str, subset: str, file: Path) -> Path | None:
    """File of an image: below the folder, its images/, or images/SUBSET/; None if there is none."""
    names = [name, f"images/{name}", *([f"images/{subset}/{name}", f"{subset}/{name}"] if subset else [])]
    paths = [below(folder, each, file) for each in names]
    return next((path for path in paths if path.is_file()), None)


def _size(image: ElementTree.Element, file: Path) -> Size:
    """Height and width that the file says of an image."""
    try:
        size = int(image.get("height", "")), int(image.get("width", ""))
    except ValueError:
        size = (0, 0)
    where = f"{file}: the image {cut(image.get('name'), 200)!r}"
    if min(size) < 1:
        raise FCNXSError(f"{where} has no width and height")
    refuse_large(size[::-1], where)
    return size


def _shapes(
    image: ElementTree.Element, size: Size, numbers: Dict[str, int], name: str, account: Account
) -> List[Shape]:
    """Shapes of an image that have an area, in the order in which they are drawn."""
    found: List[Tuple[int, Shape]] = []
    for element in image:
        kind = element.tag
        if kind in NO_AREA:
            account.add("no area", name)
        elif kind not in SHAPES:
            account.add("broken", name)
        else:
            value = numbers.get(" ".join(element.get("label", "").split()), IGNORE_LABEL)
            try:
                order = int(element.get("z_order", "0"))
                found.append((order, Shape(value, *SHAPES[kind](element, size))))
            except (ValueError, OverflowError):
                account.add("broken", name)
                continue
            if value == IGNORE_LABEL:
                account.add("unknown class", name)
    return [shape for _, shape in sorted(found, key=lambda each: each[0])]


def _numbers(element: ElementTree.Element, *keys: str) -> List[float]:
    """Attributes that are finite numbers; raises ValueError for others."""
    values = [float(element.get(key, "")) for key in keys]
    if not np.isfinite(values).all():
        raise ValueError(f"{keys}: not finite")
    return values


def _polygon(element: ElementTree.Element, size: Size) -> Tuple:
    pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
    points = np.array([(float(x), float(y)) for x, y in pairs])  # ValueError if there are not two
    return _of_points(points, size)


def _of_points(points: np.ndarray, image: Size) -> Tuple:
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("not a polygon")
    inside = points.clip(0, image[::-1])
    if np.abs(np.diff(inside, axis=0)).sum() > MOST_TURNS * sum(image):
        raise ValueError("goes back and forth without end")
    return (*points.min(axis=0), *points.max(axis=0)), lambda at, size: shapes.polygon(points - at, size)


def _box(element: ElementTree.Element, size: Size) -> Tuple:
    return _of_points(shapes.box(*_numbers(element, "xtl", "ytl", "xbr", "ybr"), _degrees(element)), size)


def _ellipse(element: ElementTree.Element, _: Size) -> Tuple:
    x, y, across, down = _numbers(element, "cx", "cy", "rx", "ry")
    degrees = _degrees(element)
    if min(across, down) <= 0:
        raise ValueError("not an ellipse")
    corners = shapes.box(x - across, y - down, x + across, y + down, degrees)
    bounds = (*corners.min(axis=0), *corners.max(axis=0))
    return bounds, lambda at, size: shapes.ellipse((x - at[0], y - at[1]), (across, down), size, degrees)


def _mask(element: ElementTree.Element, _: Size) -> Tuple:
    left, top, width, height = (int(element.get(key, "")) for key in ("left", "top", "width", "height"))
    counts = [int(each) for each in element.get("rle", "").split(",")]
    if min(*counts, width, height) < 0 or sum(counts) != width * height or width * height > MAX_PIXELS:
        raise ValueError("the runs do not make up the mask")
    counts = np.array(counts, np.int32)

    def inside(at: Tuple[int, int], size: Size) -> np.ndarray:
        x, y = at[0] - left, at[1] - top
        return shapes.run_lengths(counts, (height, width))[y : y + size[0], x : x + size[1]]

    return (left, top, left + width, top + height), inside


def _degrees(element: ElementTree.Element) -> float:
    return _numbers(element, "rotation")[0] if element.get("rotation") else 0.0


SHAPES = {"polygon": _polygon, "box": _box, "ellipse": _ellipse, "mask": _mask}
