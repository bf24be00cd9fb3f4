"""Training in Gluon: images, labels, loss, the trainer of a stage, and `finetune`, a loop over the stages."""

from __future__ import annotations

import math
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from ..checkpoint import Meta
from ..checkpoint.source import Source, checkpoint_of
from ..class_weights import ARGUMENT, check_weights, weigh
from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL, VGG_MEAN, PathLike
from ..data.loader import Loader
from ..errors import FCNXSError, finite_mean
from ..finetune.run_folder import refuse_to_overwrite
from ..lr_schedule import schedule_of
from ..net import devices_of
from ..stages import Stage
from .block import FCNxs
from .zoo import get_fcnxs


class transform:  # noqa: N801  (called like a function of mxnet.gluon.data.vision.transforms)
    """Convert an image (H, W, 3), RGB of 0 to 255, to the nets' input (3, H, W), float32, minus the mean.

    Give it to a GluonCV data set as `transform`, instead of `ToTensor` and `Normalize`: these scale images to 0
    to 1 and divide by ImageNet's deviation, and these nets were not trained so.

    Args:
        mean: R, G, B; a net's is `net.mean`.

    >>> transform((1, 2, 3))(mx.nd.full((40, 60, 3), 9, dtype="uint8"))[:, 0, 0]
    <BLANKLINE>
    [8. 7. 6.]
    <NDArray 3 @cpu(0)>
    """

    def __init__(self, mean: Sequence[float] = VGG_MEAN) -> None:
        self.mean = finite_mean(mean, "mean")

    def __call__(self, image: mx.nd.NDArray) -> mx.nd.NDArray:
        """Convert an image (H, W, 3) to (3, H, W)."""
        mean = mx.nd.array(np.float32(self.mean), image.context)
        return mx.nd.transpose(mx.nd.broadcast_sub(image.astype("float32"), mean), (2, 0, 1))


def gluoncv_label(label: mx.nd.NDArray) -> mx.nd.NDArray:
    """Replace 255, the ignored label here, by -1, which GluonCV's losses and metric ignore; any shape, int32.

    GluonCV's own data sets give -1 already; `PixelLoss` takes both.

    >>> gluoncv_label(mx.nd.array([0, 20, 255])).asnumpy()
    array([ 0, 20, -1], dtype=int32)
    """
    label = label.astype("int32")
    return mx.nd.where(label == IGNORE_LABEL, -mx.nd.ones_like(label), label)


class PixelLoss(mx.gluon.loss.Loss):
    """Softmax cross-entropy of each image: its sum over the pixels, divided by H*W.

    It takes scores (N, C, H, W) and labels (N, H, W), of any type, and returns (N,), float32. Pixels labelled
    255, or -1 as in GluonCV, have no loss, but count in H*W, by which `Solver` divides too.

    Args:
        class_weights: weight of each class, (C,), by which the loss of its pixels is multiplied; the
            loss is then to be given its devices: `loss.initialize(ctx=...)`. None: all count alike.

    >>> scores = mx.nd.array([[[[9.0, 0.0]], [[0.0, 0.0]]]])  # of two classes and two pixels
    >>> float(PixelLoss()(scores, mx.nd.array([[[255, 1]]])).asscalar())  # log(2) / 2
    0.3465735912322998
    """

    def __init__(self, class_weights: Sequence[float] | None = None, **options: str | None) -> None:
        super().__init__(None, 0, **options)
        if class_weights is not None:
            with self.name_scope():
                self.class_weights = self.params.get_constant(ARGUMENT, np.float32(class_weights))

    def hybrid_forward(
        self,
        F: ModuleType,
        scores: mx.nd.NDArray,
        label: mx.nd.NDArray,
        class_weights: mx.nd.NDArray | None = None,
    ) -> mx.nd.NDArray:
        """Loss (N,). Its gradient is bit for bit `SoftmaxOutput`'s; log_softmax would round it otherwise.

        Args:
            F: mx.nd or mx.sym.
            scores: (N, C, H, W).
            label: (N, H, W), classes; 255 or -1 where there is none.
            class_weights: (C,), if the loss has any.
        """
        scores, label = F.cast(scores, "float32"), F.cast(label, "float32")
        counted = value_weight = (label >= 0) * (label != 255)  # (N, H, W)
        if class_weights is not None:
            scores = weigh(F, scores, F.expand_dims(label, axis=1), class_weights)
            value_weight = counted * F.take(class_weights, label, mode="clip")
        p = F.BlockGrad(F.softmax(scores, axis=1))
        classes = F.reshape(F.contrib.arange_like(scores, axis=1), (1, -1, 1, 1))
        truth = F.broadcast_equal(F.expand_dims(label, axis=1), classes)  # (N, C, H, W)
        slope = F.BlockGrad(F.broadcast_mul(p - truth, F.expand_dims(counted, axis=1)))
        value = F.BlockGrad(-F.log(F.maximum(F.pick(p, label, axis=1), 1e-37)) * value_weight)
        linear = F.sum(slope * scores, axis=1)  # its gradient is the slope; its value is subtracted again
        return F.mean(linear - F.BlockGrad(linear) + value, axis=0, exclude=True)


def make_trainer(net: FCNxs, stage: Stage, steps: int | None = None) -> mx.gluon.Trainer:
    """Make the trainer of a stage, and apply the stage's settings to the net's parameters (`set_stage`).

    With `PixelLoss`, `trainer.step(N / pixels)` makes the same step as `Solver` on a batch of N images; pixels
    is H*W in a stage that is `unnormalised`, and 1 in the others. A schedule of the learning rate needs the
    number of all `steps` of the stage.
    """
    net.set_stage(stage)
    parameters = net.collect_params()
    settings = {} if stage.momentum is None else {"momentum": stage.momentum}
    settings.update(learning_rate=stage.learning_rate, wd=stage.wd, lr_scheduler=schedule_of(stage, steps))
    optimizer = mx.optimizer.create(stage.optimizer, **settings)
    if all(ctx.device_type == "cpu" for ctx in parameters["bigscore_weight"].list_ctx()):
        optimizer.aggregate_num = 0  # on CPUs MXNet updates parameters faster one by one
    return mx.gluon.Trainer(parameters, optimizer)


def _renamed(**older: str) -> Callable[[Callable], Callable]:
    """Let a function take arguments by their older names too: `older` has the names of today."""

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def call(*args: object, **named: object) -> object:
            return function(*args, **{older.get(name, name): value for name, value in named.items()})

        return call

    return decorate


@_renamed(prefix="parent", ctx="devices")
def finetune(
    parent: Source,
    epoch: int | str | None,
    stages: Sequence[Stage],
    train: Loader,
    output: PathLike,
    meta: Meta,
    devices: mx.Context | Sequence[mx.Context] | None = None,
    class_weights: Sequence[float] | None = None,
) -> List[Dict[str, Any]]:
    """Train stages one after the other, the first from a checkpoint, each further one from the stage before.

    The parameters are the same as with `fcnxs finetune --no-trim`; there are no scores, states and reports.
    OUTPUT gets STAGE-symbol.json, STAGE-meta.json, and STAGE-NNNN.params for every epoch from 1.

    Args:
        parent: VGG-16 or an FCN to start the first stage from: the prefix of a checkpoint's files, a
            Checkpoint, or a function that returns one, such as the method `checkpoint` of a net. Of an FCN for
            another number of classes VGG-16 alone is taken, with an `FCNXSWarning`.
        epoch: epoch of the parent, if it is a prefix: a number, "best" or "last"; None: as for `Segmenter`.
        stages: for example `fcnxs.stages.RECIPES["mxnet"].values()`.
        train: images and labels; its seed determines order, augmentation and dropout.
        output: folder for the checkpoints.
        meta: meta data of the checkpoints; its classes are those of the labels.
        devices: device or devices; several share each batch. None: the CPU.
        class_weights: weight of each class in the loss; None: all count alike.

    `prefix` and `ctx` are older names of `parent` and `devices`.

    Returns:
        For every epoch stage, epoch and loss, the mean of `PixelLoss` over the images; with class weights also
        weighted_loss, the same of the weighted `PixelLoss`, which is trained.

    Raises:
        FCNXSError: `output` has checkpoints of one of these stages, the checkpoint does not fit, a batch has
            fewer images than there are devices, or the loss is no longer finite.
    """
    refuse_to_overwrite(Path(output), stages)
    for stage in stages:
        if stage.labelled or stage.accumulate > 1:
            raise FCNXSError(f"{stage.name}: its recipe accumulates batches; train it with `fcnxs finetune`")
        if stage.resize is not None:
            raise FCNXSError(f"{stage.name}: has another loss than FCNs; train it with `fcnxs finetune`")
    devices = devices_of(devices)
    if min(train.batch_size, len(train) % train.batch_size or train.batch_size) < len(devices):
        raise FCNXSError(
            f"batches of {train.batch_size} of {len(train)} images: one has less than {len(devices)}"
        )
    before, epoch = checkpoint_of(parent, epoch), 0
    plain, history = PixelLoss(), []
    criterion = plain
    if class_weights is not None:
        criterion = PixelLoss(check_weights(class_weights, len(meta.classes)))
        criterion.initialize(ctx=devices)
    for stage in stages:
        net = get_fcnxs(stage.name, len(meta.classes), before, epoch, devices, other_classes=True)
        before = None  # it has been copied
        net.meta = meta
        trainer = make_trainer(net, stage, stage.epochs * train.batches)
        for epoch in range(1, stage.epochs + 1):
            total = weighted = 0.0
            train.seek(len(history) + 1)  # each epoch has its own order
            for batch in train:
                for device in devices:
                    mx.random.seed(batch.seed, device)  # of dropout
                images, labels = (_split(batch[name], devices) for name in (train.data_name, train.label_name))
                with mx.autograd.record():
                    scores = [net(x) for x in images]
                    losses = [criterion(each, y) for each, y in zip(scores, labels)]
                mx.autograd.backward(losses)
                count, _, height, width = batch[train.data_name].shape
                trainer.step(count / (height * width if stage.unnormalised else 1))
                weighted += sum(float(loss.sum().asscalar()) for loss in losses)
                if criterion is not plain:
                    losses = [plain(each, y) for each, y in zip(scores, labels)]
                total += sum(float(loss.sum().asscalar()) for loss in losses)
                if not math.isfinite(total + weighted):
                    files = ", ".join(map(str, batch.files))
                    raise FCNXSError(f"{stage.name}, epoch {epoch} ({files}): the loss is not finite")
            net.save_checkpoint(Path(output) / stage.name, epoch)
            more = {} if criterion is plain else {"weighted_loss": weighted / len(train)}
            history.append({"stage": stage.name, "epoch": epoch, "loss": total / len(train), **more})
        before, epoch = Path(output) / stage.name, stage.epochs
        del net, trainer  # before the next stage has its own
    return history


def _split(batch: np.ndarray, devices: List[mx.Context]) -> List[mx.nd.NDArray]:
    """Share of each device of a batch; of an array of NumPy's, MXNet would copy all to the first device."""
    return mx.gluon.utils.split_and_load(mx.nd.array(batch, mx.cpu()), devices, even_split=False)
