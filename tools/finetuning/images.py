"""Images of a run of `fcnxs finetune`: colour, HHA or depth, and the two nets that late fusion begins from."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Dict, List, Sequence, Tuple

from ...conventions import COLOR, FUSION, IMAGE_MEANS
from ...data.check import unlike_depth
from ...data.scenes import kinds_of
from ...errors import FCNXSError
from ...stages import Stage
from ..shared import data_options
from ..shared.printing import say

if TYPE_CHECKING:
    from ...checkpoint import Meta
    from ...data.samples import Samples

# Nets that take two images; the others take one.
OF_TWO = {"nyud_fcn32s_color_d": ("color", "depth"), "nyud_fcn32s_color_hha": FUSION}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --init and --modality."""
    parser.add_argument(
        "--init",
        nargs=len(FUSION),
        type=_initial,
        metavar="IMAGE=PREFIX",
        help="in the place of --prefix and --epoch, for late fusion (--stages nyud_fcn32s_color_hha): an "
        "FCN-32s of each image, at its best epoch, color=PREFIX hha=PREFIX",
    )
    data_options.add_modality(parser, "those that the stages and the parent take")


def _initial(text: str) -> str:
    """The value of --init as it is stored, with an absolute path."""
    kind, _, prefix = text.partition("=")
    if kind not in FUSION or not prefix:
        raise argparse.ArgumentTypeError(f"{text!r}: expected color=PREFIX and hha=PREFIX")
    return f"{kind}={Path(prefix).absolute()}"


def initial(texts: Sequence[str]) -> Dict[str, str]:
    """Prefixes of --init by the kinds of their images."""
    return dict(text.partition("=")[::2] for text in texts)


def with_images(
    args: argparse.Namespace, stages: Sequence[Stage], meta: Meta, samples: Dict[str, Samples], quiet: bool
) -> Tuple[Meta, Dict[str, Samples]]:
    """Meta and data with the images that the stages take, by --modality or the parent where they take one.

    Means are the parent's; of images that it does not take, those of NYUDv2's authors.

    Raises:
        FCNXSError: the stages take other images than --modality says, or than one another.
    """
    takes = {OF_TWO.get(stage.name, COLOR) for stage in stages}
    one = meta.images if len(meta.images) == 1 else COLOR
    wanted = takes.pop() if len(takes) == 1 else COLOR
    kinds = kinds_of(args.modality) if args.modality else (one if wanted == COLOR else wanted)
    if takes or (kinds != wanted and (wanted != COLOR or len(kinds) > 1)):
        nets = "; ".join(f"{name} takes {','.join(images)}" for name, images in OF_TWO.items())
        raise FCNXSError(
            f"--modality {','.join(kinds)}: does not fit --stages {args.stages}: {nets}, others one"
        )
    known = dict(zip(meta.images, (meta.means or {"color": meta.mean}).values()))
    means = {kind: tuple(known.get(kind, IMAGE_MEANS[kind])) for kind in kinds}
    meta = replace(meta, mean=means[kinds[0]], means=None if kinds == COLOR else means)
    if kinds != COLOR and not quiet:
        say("; ".join(f"{kind} minus {', '.join(map(str, mean))}" for kind, mean in means.items()))
    return meta, {name: part.of_kinds(kinds) for name, part in samples.items()}


def depth_warnings(samples: Dict[str, Samples], meta: Meta) -> List[str]:
    """Warnings of depth whose unit is not that of the mean, for data that is good."""
    if "depth" not in meta.images:
        return []
    return [*filter(None, (unlike_depth(part, meta.input_mean[-1]) for part in samples.values()))]
