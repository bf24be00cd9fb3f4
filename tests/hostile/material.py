"""Sound files for `readers.py` to change: data, nets of many formats, a run that stopped, one that ended."""

import contextlib
import io
import shutil
from unittest import mock

import numpy as np

from fcnxs.compat import mxnet as mx
from fcnxs.convert.arrays import TORCHVISION, VGG16_LAYERS
from fcnxs.convert.caffe_prototxt import prototxt
from fcnxs.convert.caffe_schema import CLASSES
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.data.generated import write_voc
from fcnxs.tools import finetune
from fcnxs.tools.benchmarks.parity import random_blobs
from fcnxs.tools.main import main

NARROW = {"width": 1 / 64, "fc": 2, "numclass": 5}
TRAINED = ("--recipe", "adam", "--epochs", "2", "--checkpoint-every", "1", "--quiet", "--seed", "3")


class StopSoon:
    """In place of the command's handling of signals: asks to stop behind so many steps."""

    def __init__(self, steps):
        self.left = steps

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def asked(self):
        self.left -= 1
        return self.left < 0

    def end(self, more):
        raise SystemExit(143)


def stopping(steps):
    """Context in which `finetune` stops behind so many steps."""
    return mock.patch.object(finetune, "Stopping", lambda: StopSoon(steps))


def command(*words):
    """Exit code of a command, and what it wrote to stderr."""
    told = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")), contextlib.redirect_stderr(told):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        told.flush()
    return code, told.buffer.getvalue().decode()


def make(folder):
    """Write all material, in a few seconds."""
    write_voc(folder / "voc", {"train": 3, "val": 2})
    (folder / "list.lst").write_text(
        "".join(
            f"{i}\tvoc/JPEGImages/{file.name}\tvoc/SegmentationClass/{file.stem}.png\n"
            for i, file in enumerate(sorted((folder / "voc/JPEGImages").glob("*")))
        )
    )
    write_caffemodel(folder / "vgg.caffemodel", random_blobs("vgg16", **NARROW))
    write_caffemodel(folder / "fcn.caffemodel", random_blobs("fcn8s", **NARROW))
    outputs = {layer: len(blobs[0]) for layer, blobs in random_blobs("fcn8s", **NARROW).items()}
    (folder / "fcn.prototxt").write_text(prototxt("fcn8s", outputs, 64, 64))
    mean = CLASSES["BlobProto"](num=1, channels=3, height=2, width=2)
    mean.data.append(np.full(12, 100, "<f4").tobytes())
    (folder / "mean.binaryproto").write_bytes(mean.SerializeToString())
    write_frameworks(folder)
    assert command("convert", folder / "vgg.caffemodel", folder / "vgg")[0] == 0
    begun = ["finetune", "--data", folder / "voc", "--prefix", folder / "vgg", "--epoch", 0, *TRAINED]
    with stopping(2):
        code, told = command(*begun, "--no-val", "--output", folder / "stopped")
    assert code == 143 and len([*folder.glob("stopped/*-last.*.json")]) == 2, told
    code, told = command(*begun, "--stages", "fcn32s", "--output", folder / "ended")
    assert code == 0, told
    for file in folder.glob("ended/*-last.*"):
        file.unlink()
    shutil.copytree(folder / "ended", folder / "net")


def write_frameworks(folder):
    """The narrow VGG-16 as torchvision names it, for safetensors and Gluon."""
    from safetensors.numpy import save_file

    blobs = random_blobs("vgg16", **NARROW)
    arrays = {}
    for theirs, ours in zip(TORCHVISION, VGG16_LAYERS):
        if ours in blobs:
            arrays[f"{theirs}.weight"], arrays[f"{theirs}.bias"] = blobs[ours]
    save_file(
        {name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / "vgg.safetensors"
    )
    names = [
        name.replace("classifier.0", "features.31").replace("classifier.3", "features.33") for name in arrays
    ]
    names = [name.replace("classifier.6", "output") for name in names]
    mx.nd.save(str(folder / "gluon.params"), dict(zip(names, map(mx.nd.array, arrays.values()))))
