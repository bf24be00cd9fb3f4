"""The nets as Gluon blocks: they train with `autograd` and `Trainer`, and work with GluonCV.

Begin with `zoo.py`, which builds the nets by name, and `block.py`, the block, with the same graphs, checkpoints
and exports as elsewhere. `training.py` prepares images, and has the loss and a short training loop.

This room may import `deploy`, `finetune` and what is below them; not `report`.

GluonCV's data sets, losses, metric and evaluators take these blocks; `transform(net.mean)` replaces GluonCV's
normalisation of images:

>>> import tempfile
>>> from pathlib import Path
>>> from fcnxs.compat import gluoncv, mxnet as mx
>>> from fcnxs.shapes import write_voc
>>> folder = tempfile.TemporaryDirectory()
>>> devkit = Path(folder.name)
>>> write_voc(devkit / "VOC2012", {"trainval": 3, "val": 1})  # what GluonCV calls train is VOC's trainval

>>> net = get_fcn8s(numclass=21, width=1 / 16, fc=16)  # or get_fcn8s(prefix="run/fcn8s", epoch=3)
>>> data = gluoncv.data.VOCSegmentation(
...     str(devkit), "train", transform=transform(net.mean), base_size=80, crop_size=64
... )
>>> loss = gluoncv.loss.MixSoftmaxCrossEntropyLoss(aux=False)
>>> trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 1e-4, "momentum": 0.9})
>>> for images, labels in mx.gluon.data.DataLoader(data, batch_size=3):
...     with mx.autograd.record():
...         losses = loss(net(images), labels)
...     losses.backward()
...     trainer.step(1)  # the loss is a mean over all labelled pixels
>>> images.shape, labels.shape, losses.shape
((3, 3, 64, 64), (3, 64, 64), (3,))

GluonCV's mean IU counts absent classes as 0; `fcnxs evaluate` leaves them out:

>>> metric = gluoncv.utils.metrics.SegmentationMetric(21)
>>> val = gluoncv.data.VOCSegmentation(str(devkit), "val", "testval", transform=transform(net.mean))
>>> for image, label in val:
...     metric.update([label.expand_dims(0)], [net.predict(image.expand_dims(0))])
>>> pixel_accuracy, mean_iu = metric.get()
>>> bool(0 < mean_iu < pixel_accuracy < 1)
True

GluonCV also spreads a batch over several devices, and evaluates at several scales with mirror images:

>>> from gluoncv.model_zoo.segbase import MultiEvalModel
>>> from gluoncv.utils.parallel import DataParallelCriterion, DataParallelModel
>>> devices = [mx.cpu(0), mx.cpu(1)]
>>> outputs = DataParallelModel(net, devices)(images)
>>> [scores.shape for (scores,) in outputs]
[(2, 21, 64, 64), (1, 21, 64, 64)]
>>> [each.shape for each in DataParallelCriterion(loss, devices)(outputs, labels)]
[(2,), (1,)]
>>> net.base_size, net.crop_size = 80, 64
>>> MultiEvalModel(net, 21, [mx.cpu(0)], scales=[0.5, 1, 1.5])(images[0]).shape
(1, 21, 64, 64)
"""

from .block import FCNxs
from .training import PixelLoss, finetune, gluoncv_label, make_trainer, transform
from .zoo import get_fcn8s, get_fcn8s_atonce, get_fcn16s, get_fcn32s, get_fcn_alexnet, get_fcnxs

__all__ = [
    "FCNxs",
    "PixelLoss",
    "finetune",
    "get_fcn16s",
    "get_fcn32s",
    "get_fcn8s",
    "get_fcn8s_atonce",
    "get_fcn_alexnet",
    "get_fcnxs",
    "gluoncv_label",
    "make_trainer",
    "transform",
]
