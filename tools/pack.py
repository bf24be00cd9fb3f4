"""Write a data set as one RecordIO file, as MXNet keeps large ones; --data of the other commands reads it.

Each record has the bytes of an image's file and of its label's, which are not encoded again. Only labels that
are no files of class numbers, such as COCO's polygons, are written as PNG. OUT.idx is the index of the records,
and classes.txt beside them has the names of the classes, if the data set has names.

Examples:
    fcnxs pack VOCdevkit/VOC2012 voc-train.rec
    fcnxs pack VOCdevkit/VOC2012 voc-val.rec --split val
    fcnxs finetune --data voc-train.rec --val voc-val.rec --prefix vgg16fc --epoch 0 --output run
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from PIL import Image
from tqdm import tqdm

from ..data.class_names import read_classes
from ..data.datasets import NAMED
from ..data.labels import read_label
from ..data.records import SUFFIX, Records, write_records
from ..data.samples import RecordedSamples, Samples
from ..data.scenes import kinds_of
from ..errors import FCNXSError, quoted, reason
from ..system.files import real, refuse_irregular, written_whole
from ..system.own import refuse_strangers
from .shared import data_checks, data_options, options
from .shared.printing import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs pack`."""
    add = parser.add_argument
    add("data", metavar="DIR|LST|NAME", help=data_options.DATA_HELP)
    add("out", metavar="OUT.rec", type=Path, help="file to write; OUT.idx is written beside it")
    data_options.add_root_and_split(parser, "train")
    data_options.add_modality(parser, "color")
    data_checks.add_allow(parser)
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Write the records, their index, and the names of the classes."""
    file, index = args.out, args.out.with_suffix(".idx")
    if file.suffix != SUFFIX:
        raise FCNXSError(f"{file}: give a name that ends in {SUFFIX}, such as {file}{SUFFIX}")
    data_options.folder_here(vars(args))
    head = _head_of(args.data)
    how = {"data_option": "pack", "allow": args.allow, "head": head}
    samples = data_options.samples_of(args.data, args.split, args.root, "train", **how)
    samples = samples.of_kinds(kinds_of(args.modality))
    if samples.kinds[0] != "color":
        raise FCNXSError(f"--modality {args.modality}: a record has colour, and perhaps others; add color")
    if real(file) == real(args.data):
        raise FCNXSError(f"{file}: is the file that is read; choose another name")
    options.refuse_unwritable("the folder", file.parent)
    refuse_strangers([file, index], args.overwrite, lambda _: _is_own(file))
    data_options.tell_split(args.data, args.split, "train")
    names = data_options.classes_of(None, samples, head=head)
    listed = _names_beside(file, names or [])
    with written_whole(index, *listed, file) as parts:
        hidden = not sys.stderr.isatty()
        with tqdm(total=len(samples), desc="packing", unit="image", leave=False, disable=hidden) as bar:
            write_records(parts[-1], parts[0], _pairs(samples), bar.update)
        for part in parts[1:-1]:
            part.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        size = parts[-1].stat().st_size
    say(f"wrote {len(samples)} pairs to {file} ({size / 1e6:.1f} MB) and its index to {index}")
    say(f"check them: fcnxs check-data {quoted(file)}")
    return 0


def _head_of(data: str) -> str:
    """Head whose labels are packed; "" for the labels that nets of one head read.

    Raises:
        FCNXSError: a folder has labels of several heads.
    """
    heads = data_options.heads_alone(data)
    if heads[1:] and data not in NAMED:
        raise FCNXSError(
            f"{data}: has labels of the heads {' and '.join(heads)}, and a record has one label; pack a list "
            "(.lst) of the images and the labels of one, or give the folder as it is to --data"
        )
    if heads[1:]:
        say(f"a record has one label: those of the head {heads[0]} are packed")
    return heads[0] if heads else ""


def _is_own(file: Path) -> bool:
    """Whether a file, with its index, is one that this command wrote."""
    try:
        return bool(Records(file))
    except FCNXSError:
        return False


def _names_beside(file: Path, names: List[str]) -> List[Path]:
    """The file classes.txt to write, if there are names and it does not have them already.

    Raises:
        FCNXSError: it has others.
    """
    listed = file.with_name(data_options.CLASSES)
    if not names or (listed.exists() and read_classes(listed) == names):
        return []
    if listed.exists():
        raise FCNXSError(
            f"{listed}: names other classes than this data set; choose another folder for {file.name}"
        )
    return [listed]


def _pairs(samples: Samples) -> Iterator[Tuple[str, bytes, bytes, Dict[str, bytes]]]:
    """Name of each image, bytes of its file and of its label's, and those of further images by their kinds."""
    for number in range(len(samples)):
        if isinstance(samples, RecordedSamples):
            name = samples.records.names[samples.labels[number]]
            *images, label = (source.getvalue() for source in samples.sources(number))
        else:
            path = real(samples.images[number])
            inside = path.is_relative_to(real(samples.root))
            name = path.relative_to(real(samples.root)).as_posix() if inside else path.name
            images, label = [_content(file) for file in samples.sources(number)[:-1]], _label(samples, number)
        yield name, images[0], label, dict(zip(samples.kinds[1:], images[1:]))


def _label(samples: Samples, number: int) -> bytes:
    if samples.label_of is read_label:
        return _content(samples.labels[number])
    stream = io.BytesIO()
    Image.fromarray(samples.label_of(samples.labels[number])).save(stream, "PNG")
    return stream.getvalue()


def _content(file: Path) -> bytes:
    refuse_irregular(file)
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise FCNXSError(f"{file}: cannot read: {reason(error)}") from None
