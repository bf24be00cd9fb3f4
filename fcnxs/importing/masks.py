"""Masks beside images, by whatever names: class numbers, colours, or a figure on a ground.

What the values mean is said by the options, or by a map of colours in the source; otherwise they are class
numbers. All masks are read once before anything is written, so that values that mean nothing are refused with
counts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from ..data.class_names import read_classes
from ..data.images import loaded, opened
from ..data.labels import MODES, Label, load_label
from ..data.rules import differing
from ..errors import FCNXSError
from .account import Account, counted
from .colours import ColourMap, Matched, is_map, read_map, strange_colours
from .files import in_threads
from .found import Class, Found, Options, Sample, Size, checked_classes
from .pairing import Pair, pairs

LOOKS_FOR = "masks beside images (images/a.jpg and masks/a.png, a.jpg and a_mask.png)"
TAKES = ("colors", "nearest", "binary", "threshold", "names")
CLASSES = "classes.txt"
GAP = 16  # values that are farther apart than this are no class numbers without names
FIGURE = ("background", "foreground")
SHOWN = 8  # values that a message has


def recognised(source: Path) -> bool:
    """Whether the names in a folder make at least one pair of an image and a mask."""
    account = Account()
    return source.is_dir() and bool(pairs(source, None, account) or account.names["two annotations"])


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and masks.

    Raises:
        FCNXSError: there is no pair, or a mask has a value or a colour that means nothing.
    """
    both = pairs(source, options.images, account)
    if not both:
        raise FCNXSError(
            f"{source}: no image here has just one mask by its name (images/a.jpg and masks/a.png, a.jpg and "
            f"a_mask.png, a.jpeg and a.jpeg.png); --images DIR says which folder has the images. {account}"
        )
    file = options.colors or (None if options.binary or options.threshold is not None else _only_map(source))
    if options.nearest is not None and file is None:
        raise FCNXSError("--nearest: goes with colours, and there is no map of them; --colors FILE gives it")
    if options.names is not None and file is not None:
        raise FCNXSError(f"--names {options.names}: {file} names the classes; leave one of them out")
    if file is not None:
        return by_colours(both, read_map(file), file, options, account)
    if options.binary or options.threshold is not None:
        return _figures(both, options, account)
    return _numbers(source, both, options, account)


def _only_map(source: Path) -> Path | None:
    """The file in a source's folder that gives colours of classes, if there is one."""
    maps = [file for file in sorted(source.iterdir()) if file.is_file() and is_map(file)]
    if len(maps) > 1:
        names = ", ".join(file.name for file in maps)
        raise FCNXSError(f"{source}: {names} give colours of classes; --colors FILE says which one is meant")
    return maps[0] if maps else None


def by_colours(
    both: Sequence[Pair], classes: List[Class], said_by: Path, options: Options, account: Account
) -> Found:
    """Pairs whose masks are read by their colours.

    Raises:
        FCNXSError: a mask has other colours, and `options.nearest` is None.
    """
    colours = ColourMap(classes, options.nearest)
    scanned = _scanned(both, partial(_matched, colours, options), account)
    strange = {pair.mask: matched for pair, matched in scanned if matched.strange is not None}
    if strange and options.nearest is None:
        raise FCNXSError(strange_colours(strange, colours))
    for pair, matched in scanned:
        account.add("nearest", pair.name, matched.near > 0)
        account.add("far", pair.name, matched.far > 0)
    if strange:
        near, far = (sum(getattr(each, what) for each in strange.values()) for what in ("near", "far"))
        farthest = max(each.farthest for each in strange.values())
        account.note(
            f"{counted(near, 'pixel')} took the nearest colour, at a distance of at most {farthest:.1f}; "
            f"{counted(far, 'pixel')} {'is' if far == 1 else 'are'} farther than {options.nearest:g} "
            "from every colour, and ignored"
        )
    draw = partial(_matched, colours, options)
    return Found(classes, _samples(scanned, lambda mask: draw(mask).label), str(said_by))


def _matched(colours: ColourMap, options: Options, mask: Path) -> Matched:
    return colours.match(rgb_of(mask, options))


def rgb_of(mask: Path, options: Options) -> np.ndarray:
    """Colours of a mask, uint8 (H, W, 3); a palette image has those of its palette.

    Raises:
        FCNXSError: it cannot be read, or pixels are transparent.
    """
    with opened(mask, options.max_pixels) as image:
        image, _ = loaded(image, options.exif)
        if image.mode in ("RGBA", "LA", "PA") and image.getchannel("A").getextrema() != (255, 255):
            raise FCNXSError(f"{mask}: has transparent pixels, whose colour means nothing; save it without")
        return np.asarray(image.convert("RGB"))


class _Values(NamedTuple):
    """What the scan keeps of a mask of values: those that occur, their colours in a palette, its faults."""

    values: Tuple[int, ...]
    colours: Tuple[int, ...] | None
    grey: bool
    fault: str


def _label_of(mask: Path, options: Options) -> Tuple[Label, bool]:
    """Values of a mask, and whether it is grey but saved as a colour image.

    Raises:
        FCNXSError: it cannot be read, or it has colours.
    """
    with opened(mask, options.max_pixels) as image:
        mode = image.mode
    if mode in MODES:
        return load_label(mask, None, options.exif, ("lossy", "rescaled"), options.max_pixels), False
    pixels = rgb_of(mask, options)
    if np.ptp(pixels.astype(np.int16), axis=2).any():
        colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
        some = ", ".join(str(tuple(colours[i].tolist())) for i in counts.argsort()[::-1][:SHOWN])
        raise _Coloured(
            f"{mask}: is a colour image (it has {counted(len(colours), 'colour')}: {some}); --colors FILE says "
            "which class each colour is (a CSV file with the heading name,r,g,b)"
        )
    return Label(pixels[..., 0]), True


class _Coloured(FCNXSError):
    """A mask has colours where values are expected."""


def _values(options: Options, mask: Path) -> _Values:
    label, grey = _label_of(mask, options)
    values = np.unique(label.values)
    colours = None if label.colours is None else tuple(label.colours[values].tolist())
    fault = label.faults[0][1] if label.faults and options.threshold is None else ""
    return _Values(tuple(values.tolist()), colours, grey, fault)


def _scan_values(both: Sequence[Pair], options: Options, account: Account) -> List[Tuple[Pair, _Values]]:
    """Values of all masks that can be read.

    Raises:
        FCNXSError: a mask has colours, or does not give the values that were saved.
    """
    scanned = _scanned(both, partial(_values, options), account)
    for pair, seen in scanned:
        if seen.fault:
            raise FCNXSError(f"{pair.mask}: {seen.fault}; for a figure on a ground, --threshold N takes it")
        account.add("grey", pair.name, seen.grey)
    return scanned


def _figures(both: Sequence[Pair], options: Options, account: Account) -> Found:
    """Pairs whose masks have a figure on a ground."""
    scanned, least = _scan_values(both, options, account), options.threshold
    for pair, seen in scanned if least is None else ():
        if not ({*seen.values} <= {0, 1} or {*seen.values} <= {0, 255}):
            raise FCNXSError(
                f"{pair.mask}: has the values {_shown(seen.values)}, and --binary takes 0 and 1, or 0 and 255; "
                "--threshold N takes all values from N on as the figure"
            )
    account.note(
        "0 is the background, other values are the foreground"
        if least is None
        else f"values below {least} are the background, others the foreground"
    )
    samples = _samples(
        scanned, lambda mask: (_label_of(mask, options)[0].values >= (least or 1)).astype(np.uint8)
    )
    names = read_classes(options.names) if options.names else FIGURE
    if len(names) != 2:
        raise FCNXSError(f"{options.names}: names {len(names)} classes; expected the background and the figure")
    classes = [Class(name, None, number) for number, name in enumerate(names)]
    return Found(classes, samples, "--binary" if least is None else f"--threshold {least}")


def _numbers(source: Path, both: Sequence[Pair], options: Options, account: Account) -> Found:
    """Pairs whose masks have class numbers."""
    scanned = _scan_values(both, options, account)
    masks: Dict[int, List[Path]] = {}
    for pair, seen in scanned:
        for value in seen.values:
            masks.setdefault(value, []).append(pair.mask)
    _refuse_palettes(scanned)
    file = options.names or (source / CLASSES if (source / CLASSES).is_file() else None)
    free = {IGNORE_LABEL, *(int(each) for each in options.ignored if each.isascii() and each.isdigit())}
    values = sorted({*masks} - free)
    if {*masks} == {0, IGNORE_LABEL}:
        raise FCNXSError(
            f"{masks[255][0]}: the masks have only the values 0 and 255, and 255 means that a pixel is "
            "ignored; --binary takes 255 as the figure"
        )
    names = read_classes(file) if file else [f"class_{i}" for i in range(max(values, default=-1) + 1)]
    wrong = [value for value in values if value >= len(names)] if file else _behind_a_gap(values)
    if wrong:
        of = masks[wrong[0]]
        raise FCNXSError(
            f"{of[0]}: has the value {wrong[0]}, as {len(of)} of {counted(len(both), 'mask')}, "
            + (f"but {file} names {len(names)} classes" if file else f"far from the others ({_shown(values)})")
            + f"; --ignore {wrong[0]} leaves it out, --threshold N takes grey levels as a figure on a ground"
            + ", --names FILE gives the names of all classes" * (file is None)
        )
    if file is None:
        account.note("the classes have no names; --names FILE gives them, one a line")
    palette, table = _palette(scanned), np.full(256, IGNORE_LABEL, np.uint8)
    table[: len(names)] = range(len(names))
    classes = [Class(name, palette.get(number), number) for number, name in enumerate(names)]
    samples = _samples(scanned, lambda mask: table[_label_of(mask, options)[0].values])
    void = tuple(value for value in free if value >= len(names))
    return Found(checked_classes(classes, file or source), samples, str(file or "the masks' numbers"), void)


def _behind_a_gap(values: List[int]) -> List[int]:
    """Values from the first one on that is far from the one before it."""
    return next((values[i:] for i, value in enumerate(values) if value - (values[i - 1] if i else 0) > GAP), [])


def _refuse_palettes(scanned: Sequence[Tuple[Pair, _Values]]) -> None:
    """Refuse masks in whose palettes a number has different colours: it may mean different classes."""
    palettes = [
        (str(pair.mask), dict(zip(seen.values, seen.colours))) for pair, seen in scanned if seen.colours
    ]
    for text in differing(palettes):
        raise FCNXSError(f"{text}; or --colors FILE reads the masks by their colours")


def _palette(scanned: Sequence[Tuple[Pair, _Values]]) -> Dict[int, Tuple[int, int, int]]:
    """Colour of each value in the masks' palettes."""
    return {
        value: (colour % 256, colour // 256 % 256, colour // 65536)
        for _, seen in scanned
        if seen.colours
        for value, colour in zip(seen.values, seen.colours)
    }


def _scanned(both: Sequence[Pair], look: Callable, account: Account) -> List[Tuple[Pair, object]]:
    """What `look` gives for the mask of each pair; those that cannot be read are counted and left out.

    Raises:
        FCNXSError: no mask can be read, or one has colours where values are expected.
    """

    def tried(pair: Pair) -> object:
        try:
            return look(pair.mask)
        except FCNXSError as error:
            return error

    result, error = [], None
    for pair, seen in zip(both, in_threads(tried, both)):
        if isinstance(seen, _Coloured):
            raise seen
        if isinstance(seen, FCNXSError):
            account.add("unreadable", seen)
            error = error or seen
        else:
            result.append((pair, seen))
    if not result:
        raise error
    return result


def _samples(scanned: Sequence[Tuple[Pair, object]], draw: Callable[[Path], np.ndarray]) -> List[Sample]:
    """Samples whose labels `draw` reads from the masks."""

    def drawn(mask: Path, size: Size) -> np.ndarray:
        return draw(mask)

    return [Sample(pair.image, pair.name, partial(drawn, pair.mask), pair.split) for pair, _ in scanned]


def _shown(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:SHOWN])) + ", ..." * (len(values) > SHOWN)
