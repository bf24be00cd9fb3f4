"""One import, from a source to the plain layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Callable, List, NamedTuple, Tuple

from .. import __version__
from ..conventions import PathLike
from ..data.class_names import IMPORT, read_classes
from ..errors import FCNXSError
from ..system.files import real, write_json
from .account import Account
from .formats import format_of, read
from .found import BACKGROUND, Options, Sample
from .selection import Selection, select
from .splits import divided, own
from .write import Form, new_folder, write


class Choices(NamedTuple):
    """What is taken of a source: the arguments of `selection.select` and `splits.divided`."""

    ignore: Tuple[str, ...] = ()
    merge: Tuple[str, ...] = ()
    keep: Tuple[str, ...] = ()
    rest: str = BACKGROUND
    val_fraction: float | None = None
    seed: int = 0
    group: str | None = None


class Result(NamedTuple):
    """What an import wrote: the format it read, class names, images by split ("" for none), the account."""

    format: str
    said_by: str
    classes: List[str]
    images: Counter[str]
    account: Account


def import_data(
    source: PathLike,
    target: PathLike,
    format: str | None = None,
    options: Options | None = None,
    choices: Choices | None = None,
    form: Form | None = None,
    progress: Callable[[int], Callable[[], None]] | None = None,
) -> Result:
    """Write the plain layout of a source to a new folder; the source is only read.

    Args:
        source: folder, or file of annotations.
        target: folder that does not exist, or is empty.
        options, choices, form: None: as they are by default.
        format: name in `formats.FORMATS`; None: the one that is recognised.
        progress: called with the number of images; returns what is called after each.

    Raises:
        FCNXSError: the source cannot be read in this format, or has something that its rules refuse; an option
            does not fit it; or the target cannot be written. There is no target then.
    """
    source, account = Path(source), Account()
    options, choices, form = options or Options(), choices or Choices(), form or Form()
    around = [real(folder) for folder in (source, options.images) if folder is not None]
    if any(folder in (real(target), *real(target).parents) for folder in around):
        raise FCNXSError(f"{target}: lies in the source, which is not changed; choose a folder elsewhere")
    with new_folder(target) as folder:
        format = format or format_of(source)
        options = options._replace(scratch=folder.parent / "embedded")
        found = read(source, format, options, account)
        selection = select(found, choices.ignore, choices.merge, choices.keep, choices.rest)
        samples = divided(own(found.samples, account), choices.val_fraction, choices.seed, choices.group)
        each = progress(len(samples)) if progress is not None else None
        images = write(samples, selection, folder, form, options, account, each)
        _refuse_unreadable_names(folder / "classes.txt")
        result = Result(format, found.said_by, selection.names, images, account)
        write_json(folder / IMPORT, _report(source, result, selection, samples))
    return result


def _refuse_unreadable_names(file: Path) -> None:
    """Refuse names that could not be read back; what would look like another kind of file is one."""
    try:
        read_classes(file)
    except FCNXSError as error:
        text = str(error).partition(": ")[2]
        raise FCNXSError(
            f"the names of the classes: {text}; --merge OLD=NEW gives a class another name"
        ) from None


def _report(source: Path, result: Result, selection: Selection, samples: List[Sample]) -> dict:
    return {
        "fcnxs": __version__,
        "source": str(real(source)),
        "format": result.format,
        "classes": [
            {"name": name, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for name, colour in zip(selection.names, selection.palette)
        ],
        "images": {split or "all": number for split, number in result.images.items()},
        "found": len(samples),
        **result.account.content(),
    }
