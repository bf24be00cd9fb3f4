"""Evaluate the nets of a run on validation images: confusion matrices, and the best and worst images."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..data.images import preprocess
from ..data.labels import check_label
from ..data.samples import Samples
from ..epoch_choice import best_of
from ..errors import FCNXSError
from ..finetune.run_folder import params_file
from ..predict.inputs import picture_of
from ..predict.segmenter import Segmenter
from ..regression import MASKS
from ..score import Scores, confusion_matrix, scores
from ..system.threads import default_workers, in_order
from .run import RunRecord

SHOWN = 4  # best images, and worst ones
TOLERANCE = 1e-3  # difference of mean IU from the one in the run's records that rounding may make


@dataclass(frozen=True)
class Scored:
    """Result of a stage's chosen epoch (`RunRecord.chosen`) on the validation images.

    Args:
        matrix: confusion matrix, int64 (C, C); rows are true classes.
        image_iu: mean IU of each image (N,); NaN if no pixel of the image is labelled.
    """

    stage: str
    epoch: int
    matrix: np.ndarray
    image_iu: np.ndarray

    @cached_property
    def scores(self) -> Scores:
        """Scores of all images together."""
        return scores(self.matrix)


@dataclass
class Example:
    """An image for the page.

    Args:
        number, name: its number in the data set, and its file.
        image, truth: RGB uint8 (H, W, 3), the first of several images; labels uint8 (H, W).
        class_maps: class map, uint8 (H, W), of each stage's net.
    """

    number: int
    name: str
    image: np.ndarray
    truth: np.ndarray
    class_maps: Dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Args:
        images: number of images.
        stages: scored stages in the order of training; empty if no stage's parameters exist.
        best, worst: images with the best and the worst mean IU in the last stage, the best and the worst first;
            no image is in both.
        notes: sentences on parameters that are missing, and scores that differ from the records.
    """

    images: int
    stages: List[Scored]
    best: List[Example]
    worst: List[Example]
    notes: List[str]


def evaluate(
    run: RunRecord,
    samples: Samples,
    ctx: mx.Context | None = None,
    on_image: Callable[[str, int], None] = lambda stage, epoch: None,
    same_data: bool = True,
) -> Evaluation:
    """Score the chosen epoch of each stage of a run, and choose the images to show.

    Args:
        on_image: called with stage and epoch after each image of each stage.
        same_data: `samples` are those of the run: a note tells if the scores differ from the run's records.

    Raises:
        FCNXSError: a checkpoint is damaged, or an image or a label cannot be used.
    """
    files = {stage: _file(run, stage, record["epoch"]) for stage, record in run.chosen.items()}
    gone = [(stage, file.name) for stage, file in files.items() if not file.is_file()]
    notes = [f"{stage} is not compared: its parameters {name} have been removed." for stage, name in gone]
    stages: List[Scored] = []
    best: List[Example] = []
    worst: List[Example] = []
    for stage, file in reversed(files.items()):  # the last one chooses the images to show
        if stage == MASKS:
            notes.append(f"{stage} regresses masks of one size, which only training evaluates.")
        if not file.is_file() or stage == MASKS:
            continue
        epoch = run.chosen[stage]["epoch"]
        prefix, _, number = file.stem.rpartition("-")
        segmenter = Segmenter(file.with_name(prefix), int(number), ctx=ctx, head=run.head or None)
        scored = _scored(segmenter, samples, stage, epoch, on_image)
        stages.insert(0, scored)
        if len(stages) == 1:
            best, worst = ([_example(samples, i) for i in chosen] for chosen in choose(scored.image_iu))
        for example in (*best, *worst):
            example.class_maps[stage] = _class_map(segmenter, samples.image(example.number))
        written, now = run.chosen[stage]["mean_iu"], scored.scores.mean_iu
        if same_data and written is not None and not abs(written - now) <= TOLERANCE:  # NaN is not
            notes.append(
                f"{stage} has mean IU {now:.4f} on the validation images as they are now; training wrote "
                f"{written:.4f}. The images or labels have changed since, under the same names."
            )
        del segmenter  # before the next one takes as much memory
    return Evaluation(len(samples), stages, best, worst, notes)


def _example(samples: Samples, number: int) -> Example:
    image, truth = samples.read(number)
    return Example(number, samples.name(number), picture_of(image), truth)


def _class_map(segmenter: Segmenter, image: np.ndarray) -> np.ndarray:
    return segmenter.class_map(preprocess(image, segmenter.mean))


def _file(run: RunRecord, stage: str, epoch: int) -> Path:
    """Parameters of an epoch; of the best one the copy, if they have been removed."""
    own, copy = params_file(run.folder, stage, epoch), params_file(run.folder, f"{stage}-best", 0)
    best = best_of(run.records[stage])
    return copy if best and best["epoch"] == epoch and copy.is_file() and not own.is_file() else own


def choose(image_iu: np.ndarray, shown: int = SHOWN) -> Tuple[List[int], List[int]]:
    """Choose the best images, best first, and the worst, worst first; at most `shown` of each.

    If there are few images, the better half are the best. Equal images keep their order; NaN is left out.

    Args:
        image_iu: mean IU of each image, (images,).
    """
    ranked = [int(i) for i in np.argsort(-image_iu, kind="stable") if not np.isnan(image_iu[i])]
    best = ranked[: min(shown, (len(ranked) + 1) // 2)]
    return best, ranked[len(best) :][::-1][:shown]


def _scored(
    segmenter: Segmenter, samples: Samples, stage: str, epoch: int, on_image: Callable[[str, int], None]
) -> Scored:
    numclass = segmenter.numclass
    total, image_iu = np.zeros((numclass, numclass), np.int64), []
    workers = default_workers()
    reading = in_order(samples.read, range(len(samples)), workers, ahead=2 * workers)
    for number, future in enumerate(reading):
        image, truth = future.result()
        check_label(truth, numclass, samples.label_name(number))
        try:
            matrix = confusion_matrix(truth, _class_map(segmenter, image), numclass)
        except FCNXSError as error:
            raise FCNXSError(f"{samples.name(number)}: {error}") from None
        total += matrix
        image_iu.append(scores(matrix).mean_iu)
        on_image(stage, epoch)
    return Scored(stage, epoch, total, np.asarray(image_iu))
