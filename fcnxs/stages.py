"""The stages of finetuning: one row of settings for each recipe and net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, Sequence, Tuple

from .conventions import HEADED

CLASSIFIERS = {"vgg16": "VGG-16 (conv1_1 to fc7)", "alexnet": "AlexNet (conv1 to fc7)"}  # and their layers
BIGSCORE = ("bigscore_weight",)
SCHEDULES = ("constant", "poly", "step", "cosine")  # of the learning rate; see `lr_schedule.py`
ALL_DECONVOLUTIONS = ("bigscore_weight", "score2_weight", "score4_weight")


@dataclass(frozen=True)
class Stage:
    """How one net is trained.

    Args:
        name: the net, by its name in `fcnxs.symbols.NETS`.
        parent: net that its initial parameters come from; vgg16 and alexnet are the classifiers. Late fusion
            has none: it begins from two nets (`checkpoint.source.fused`).
        optimizer: MXNet's name of the optimizer.
        learning_rate, momentum, wd: settings of the optimizer; momentum is None if it has none.
        epochs: passes over the training images.
        fixed: parameters that are not trained.
        caffe_biases: biases have twice the rate and no weight decay.
        unnormalised: the loss is summed over an image's pixels, not averaged.
        schedule: how the learning rate changes, one of `SCHEDULES`.
        warmup: steps in which it rises from 0 first.
        biases: with `caffe_biases`, the end of these biases' names.
        labelled: the loss is averaged over the pixels that are not ignored, not over all.
        accumulate: batches of each device in a step, whose gradients are averaged.
        image_size: (height, width) that images are resized to; None: as they are.
        mask_size: height and width that their labels are resized to, with `image_size`.
    """

    name: str
    parent: str
    optimizer: str
    learning_rate: float
    momentum: float | None
    wd: float
    epochs: int
    fixed: Tuple[str, ...] = BIGSCORE
    caffe_biases: bool = False
    unnormalised: bool = False
    schedule: str = "constant"
    warmup: int = 0
    biases: str = "_bias"
    labelled: bool = False
    accumulate: int = 1
    image_size: Tuple[int, int] | None = None
    mask_size: int | None = None

    @property
    def resize(self) -> Tuple[Tuple[int, int], Tuple[int, int]] | None:
        """Sizes (height, width) of images and labels, as `Loader` takes them."""
        return self.image_size and (self.image_size, (self.mask_size, self.mask_size))

    @property
    def headed(self) -> bool:
        """Whether the net has several heads."""
        return self.name.startswith(HEADED)

    def multipliers(self, names: Iterable[str]) -> Dict[str, Dict[str, float]]:
        """`lr_mult` and `wd_mult` of the solver for parameters of these names.

        >>> RECIPES["caffe"]["fcn8s"].multipliers(["fc6_weight", "fc6_bias"])
        {'lr_mult': {'fc6_bias': 2.0}, 'wd_mult': {'fc6_bias': 0.0}}
        """
        biases = [name for name in names if self.caffe_biases and name.endswith(self.biases)]
        return {"lr_mult": dict.fromkeys(biases, 2.0), "wd_mult": dict.fromkeys(biases, 0.0)}


def lineage(name: str) -> Tuple[str, ...]:
    """Nets that a stage can start from: itself, its parent, the parent's parent, down to the classifier.

    >>> lineage("fcn16s")
    ('fcn16s', 'fcn32s', 'vgg16')
    """
    parents = {stage.name: stage.parent for recipe in ALL_STAGES.values() for stage in recipe.values()}
    return (name, *lineage(parents[name])) if parents.get(name) else (name,)


def _recipe(*stages: Stage) -> Dict[str, Stage]:
    return {stage.name: stage for stage in stages}


# The three nets of the original example, one after the other.
RECIPES: Dict[str, Dict[str, Stage]] = {
    # Rates and epochs: README of apache/mxnet 1.4.1 example/fcn-xs. The rest: its fcn_xs.py.
    "mxnet": _recipe(
        Stage("fcn32s", "vgg16", "sgd", 1e-4, 0.99, 5e-4, 31),
        Stage("fcn16s", "fcn32s", "sgd", 1e-5, 0.99, 5e-4, 27),
        Stage("fcn8s", "fcn16s", "sgd", 1e-6, 0.99, 5e-4, 19),
    ),
    # shelhamer/fcn.berkeleyvision.org voc-fcn*s/solver.prototxt and net.py. Its 100,000 steps of one
    # image are 12 epochs of the 8,498 images of SBD.
    "caffe": _recipe(
        Stage("fcn32s", "vgg16", "sgd", 1e-10, 0.99, 5e-4, 12, ALL_DECONVOLUTIONS, True, True),
        Stage("fcn16s", "fcn32s", "sgd", 1e-12, 0.99, 5e-4, 12, ALL_DECONVOLUTIONS, True, True),
        Stage("fcn8s", "fcn16s", "sgd", 1e-14, 0.99, 5e-4, 12, ALL_DECONVOLUTIONS, True, True),
    ),
    # For narrow nets and small data.
    "adam": _recipe(
        Stage("fcn32s", "vgg16", "adam", 1e-3, None, 0.0, 10),
        Stage("fcn16s", "fcn32s", "adam", 1e-3, None, 0.0, 5),
        Stage("fcn8s", "fcn16s", "adam", 3e-4, None, 0.0, 5),
    ),
}

# voc-fcn-alexnet/solver.prototxt and net.py of the same: 100,000 steps of 20 images, 235 epochs of SBD. Of the
# biases, only the scores' have twice the rate and no decay. The loss is averaged, so any recipe can have it.
_FCN_ALEXNET = Stage(
    *("fcn_alexnet", "alexnet", "sgd", 1e-4, 0.9, 5e-4, 235, BIGSCORE, True),
    biases="score_bias",
    labelled=True,
    accumulate=20,
)

# nyud-fcn32s-color-d and -color-hha/solver.prototxt and solve.py of the same: 100,000 steps of one image, 126
# epochs of the 795 images of NYUDv2's trainval. Averaged losses have FCN-32s's rates above, in their ratio.
_COLOR_D, _COLOR_HHA = ("nyud_fcn32s_color_d", "vgg16"), ("nyud_fcn32s_color_hha", "")


def _siftflow(
    optimizer: str,
    rates: Sequence[float],
    epochs: Sequence[int],
    fixed: Tuple[str, ...] = BIGSCORE,
    caffe: bool = False,
) -> Iterator[Stage]:
    """FCN-32s, 16s and 8s with several heads, each from the one before."""
    parent, how = "vgg16", (0.99, 5e-4) if optimizer == "sgd" else (None, 0.0)
    for name, rate, count in zip(("fcn32s", "fcn16s", "fcn8s"), rates, epochs):
        yield Stage(f"{HEADED}{name}", parent, optimizer, rate, *how, count, fixed, caffe, caffe)
        parent = f"{HEADED}{name}"


# Other nets, each with the settings of a recipe. Of several heads, Caffe's rates and steps are those of
# siftflow-fcn*s/solver.prototxt and solve.py: 100,000 steps of one image, 40 epochs of SIFT Flow's 2,488.
OTHER_STAGES: Dict[str, Dict[str, Stage]] = {
    # Nobody has published these with an averaged loss: nets of several heads have the settings of those of one,
    # FCN-4s and FCN-2s continue the rates above, FCN-8s at-once has FCN-32s's rate for three times its epochs,
    # as in Caffe.
    "mxnet": _recipe(
        *_siftflow("sgd", (1e-4, 1e-5, 1e-6), (31, 27, 19)),
        Stage("fcn4s", "fcn8s", "sgd", 1e-7, 0.99, 5e-4, 19),
        Stage("fcn2s", "fcn4s", "sgd", 1e-8, 0.99, 5e-4, 19),
        Stage("fcn8s_atonce", "vgg16", "sgd", 1e-4, 0.99, 5e-4, 93),
        Stage(*_COLOR_D, "sgd", 1e-4, 0.99, 5e-4, 126),
        Stage(*_COLOR_HHA, "sgd", 1e-6, 0.99, 5e-4, 126),
        _FCN_ALEXNET,
    ),
    # voc-fcn8s-atonce/solver.prototxt: 300,000 steps of one image.
    "caffe": _recipe(
        *_siftflow("sgd", (1e-10, 1e-12, 1e-12), (40, 40, 40), fixed=ALL_DECONVOLUTIONS, caffe=True),
        Stage("fcn8s_atonce", "vgg16", "sgd", 1e-10, 0.99, 5e-4, 36, ALL_DECONVOLUTIONS, True, True),
        Stage(*_COLOR_D, "sgd", 1e-10, 0.99, 5e-4, 126, BIGSCORE, True, True),
        Stage(*_COLOR_HHA, "sgd", 1e-12, 0.99, 5e-4, 126, BIGSCORE, True, True),
        _FCN_ALEXNET,
    ),
    "adam": _recipe(
        *_siftflow("adam", (1e-3, 1e-3, 3e-4), (10, 5, 5)),
        Stage("fcn4s", "fcn8s", "adam", 3e-4, None, 0.0, 5),
        Stage("fcn2s", "fcn4s", "adam", 3e-4, None, 0.0, 5),
        Stage("fcn8s_atonce", "vgg16", "adam", 1e-3, None, 0.0, 10),
        Stage(*_COLOR_D, "adam", 1e-3, None, 0.0, 10),
        Stage(*_COLOR_HHA, "adam", 3e-4, None, 0.0, 5),
        Stage("fcn_alexnet", "alexnet", "adam", 1e-3, None, 0.0, 10),
        # Nobody has published settings; sizes as in the article, of 21 masks, and VGG-16's.
        Stage(
            *("mask_regression", "vgg16", "adam", 1e-3, None, 0.0, 10, ()), image_size=(224, 224), mask_size=64
        ),
    ),
}

ALL_STAGES = {recipe: {**RECIPES[recipe], **OTHER_STAGES[recipe]} for recipe in RECIPES}
