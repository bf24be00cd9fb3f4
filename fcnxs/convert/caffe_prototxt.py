"""The nets as Caffe's prototxt files, with which OpenCV runs a caffemodel.

They follow the published files (shelhamer/fcn.berkeleyvision.org voc-fcn*/val.prototxt), crop offsets included.
They share no code with `fcnxs.symbols`, because `verify.py` checks the one against the other.
"""

from __future__ import annotations

from typing import Dict, Sequence

VGG16_GROUPS = {"pool1": 2, "pool2": 2, "pool3": 3, "pool4": 3, "pool5": 3}  # convolutions before each

# Each FCN on VGG-16: its skips (upsampling, pool, crop offset, sum), its last upsampling (name, kernel,
# stride), and the offset of the last crop.
SKIP16 = ("pool4", 5, "fuse_pool4")
SKIP8 = ("pool3", 9, "fuse_pool3")
UPSAMPLING = {
    "fcn32s": ([], ("upscore", 64, 32), 19),
    "fcn16s": ([("upscore2", *SKIP16)], ("upscore16", 32, 16), 27),
    "fcn8s": ([("upscore2", *SKIP16), ("upscore_pool4", *SKIP8)], ("upscore8", 16, 8), 31),
    "fcn8s_atonce": ([("upscore2", *SKIP16), ("upscore_pool4", *SKIP8)], ("upscore8", 16, 8), 31),
}
# Layers that have an output for each class, and are not those of the weights' names here.
OF_CLASSES = ("score_fr", "upscore2", "upscore_pool4", "upscore", "upscore16", "upscore8")
FUSION = ("color", "hha")  # images of nyud_fcn32s_color_hha, which end the names of their layers


def prototxt(net: str, outputs: Dict[str, int], height: int, width: int, channelwise: bool = False) -> str:
    """Prototxt of a net for one image (1, 3, height, width), BGR minus the mean; its output is the scores.

    Args:
        net: vgg16 or alexnet (the classifiers), vgg16fc, alexnetfc, or the name of an FCN of
            `fcnxs.symbols.NETS`.
        outputs: output channels of every layer that has weights, by Caffe's names. A classifier without fc8
            ends in relu7.
        channelwise: each deconvolution has a group for each channel.
    """
    images = FUSION if net == "nyud_fcn32s_color_hha" else ("data",)
    text = _Text(outputs, height, width, channelwise, images)
    if "alexnet" in net:
        _alexnet(text, net)
    if net == "fcn_alexnet":
        text.convolution("score_fr", 1)
        text.upsample("upscore", text.last, 63, 32)
        text.crop("score", "upscore", "data", 18)
    elif images == FUSION:
        for image in FUSION:
            text.last = image
            _vgg16(text, net, image)
            text.convolution(f"score_fr{image}", 1)
        mean = "eltwise_param { operation: SUM coeff: 0.5 coeff: 0.5 }"
        text.layer("score_fused", "Eltwise", mean, *(f"score_fr{image}" for image in FUSION))
        text.upsample("upscore", text.last, 64, 32)
        text.crop("score", "upscore", "color", 19)
    elif "alexnet" not in net:
        _vgg16(text, net)
    single, top = net.removeprefix("siftflow_"), text.last
    for suffix in (("_sem", "_geo") if single != net else ("",)) if single in UPSAMPLING else ():
        text.last = top
        _upsampled(text, single, suffix)
    return text.text


def _upsampled(text: _Text, net: str, suffix: str) -> None:
    """Add the layers from an FCN's coarse scores on, for one head, whose names have a suffix."""
    skips, (up, kernel, stride), offset = UPSAMPLING[net]
    text.convolution(f"score_fr{suffix}", 1)
    for up2, pool, skip_offset, fused in skips:
        up2 = text.upsample(f"{up2}{suffix}", text.last, 4, 2)
        if net == "fcn8s_atonce":
            text.layer(f"scale_{pool}", "Scale", "", pool)
        below = text.last if net == "fcn8s_atonce" else pool
        score = text.convolution(f"score_{pool}{suffix}", 1, bottom=below)
        text.crop(f"{score}c", score, up2, skip_offset)
        text.layer(f"{fused}{suffix}", "Eltwise", "eltwise_param { operation: SUM }", up2, f"{score}c")
    up = text.upsample(f"{up}{suffix}", text.last, kernel, stride)
    text.crop(f"score{suffix}", up, "data", offset)


class _Text:
    """A prototxt to which each method adds a layer; `last` is the name of the newest output."""

    def __init__(
        self, outputs: Dict[str, int], height: int, width: int, channelwise: bool, images: Sequence[str]
    ) -> None:
        sizes = "".join(f"input_dim: {size}\n" for size in (1, 3, height, width))
        self.text, self.last = "".join(f'input: "{image}"\n{sizes}' for image in images), images[0]
        self.outputs, self.channelwise = outputs, channelwise

    def layer(self, name: str, kind: str, settings: str, *bottoms: str, in_place: bool = False) -> str:
        """Add a layer on `bottoms`, by default the last output; in place, it keeps its input's name."""
        bottoms = bottoms or (self.last,)
        self.last = bottoms[0] if in_place else name
        inputs = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.text += f'layer {{ name: "{name}" type: "{kind}" {inputs} top: "{self.last}" {settings} }}\n'
        return self.last

    def convolution(
        self, name: str, kernel: int, pad: int = 0, stride: int = 1, group: int = 1, bottom: str | None = None
    ) -> str:
        settings = f"num_output: {self.outputs[name]} kernel_size: {kernel} pad: {pad} stride: {stride}"
        bottoms = () if bottom is None else (bottom,)
        return self.layer(name, "Convolution", f"convolution_param {{ {settings} group: {group} }}", *bottoms)

    def convolution_relu(self, name: str, *settings: int) -> None:
        self.convolution(name, *settings)
        self.layer(f"relu_{name}", "ReLU", "", in_place=True)

    def pool(self, name: str, kernel: int) -> None:
        self.layer(name, "Pooling", f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: 2 }}")

    def upsample(self, name: str, bottom: str, kernel: int, stride: int) -> str:
        settings = f"num_output: {self.outputs[name]} kernel_size: {kernel} stride: {stride}"
        settings += f" group: {self.outputs[name] if self.channelwise else 1} bias_term: false"
        return self.layer(name, "Deconvolution", f"convolution_param {{ {settings} }}", bottom)

    def crop(self, name: str, bottom: str, like: str, offset: int) -> None:
        self.layer(name, "Crop", f"crop_param {{ axis: 2 offset: {offset} }}", bottom, like)


def _vgg16(text: _Text, net: str, end: str = "") -> None:
    """Add VGG-16 up to relu7; the classifier up to fc8, if there are weights for it. `end` ends all names."""
    for stage, (pool, count) in enumerate(VGG16_GROUPS.items(), 1):
        for i in range(1, count + 1):
            first = stage == i == 1 and net != "vgg16"
            text.convolution_relu(f"conv{stage}_{i}{end}", 3, 100 if first else 1)
        text.pool(f"{pool}{end}", 2)
    _fully_connected(text, 7, net == "vgg16", end)


def _fully_connected(text: _Text, side: int, classifier: bool, end: str = "") -> None:
    """Add fc6, on windows of `side`, and fc7; of the classifier as inner products, and fc8."""
    for name, kernel in (("fc6", side), ("fc7", 1)):
        if classifier:
            text.layer(name, "InnerProduct", f"inner_product_param {{ num_output: {text.outputs[name]} }}")
            text.layer(f"relu_{name}", "ReLU", "", in_place=True)
        else:
            text.convolution_relu(f"{name}{end}", kernel)
    if classifier and "fc8" in text.outputs:
        text.layer("fc8", "InnerProduct", f"inner_product_param {{ num_output: {text.outputs['fc8']} }}")


def _alexnet(text: _Text, net: str) -> None:
    """Add CaffeNet, an AlexNet that pools before it normalises, up to relu7; the classifier up to fc8."""
    norm = "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
    text.convolution_relu("conv1", 11, 0 if net == "alexnet" else 100, 4)
    text.pool("pool1", 3)
    text.layer("norm1", "LRN", norm)
    text.convolution_relu("conv2", 5, 2, 1, 2)
    text.pool("pool2", 3)
    text.layer("norm2", "LRN", norm)
    text.convolution_relu("conv3", 3, 1)
    text.convolution_relu("conv4", 3, 1, 1, 2)
    text.convolution_relu("conv5", 3, 1, 1, 2)
    text.pool("pool5", 3)
    _fully_connected(text, 6, net == "alexnet")
