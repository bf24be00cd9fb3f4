"""The form of an export: input, output, size and precision; and the graph that has this form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import List, Sequence, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..conventions import COLOR
from ..errors import FCNXSError
from ..heads import with_head
from ..net import Net
from ..symbols.graph.nodes import Graph
from .precision import FUSED, KEEP

ENDS = {"softmax": "softmax", "logits": "scores", "argmax": "class_map"}  # the last layer
LOWERED_BY = {  # in these formats, exports are in fp32, and other tools lower the precision
    "onnx": "onnxruntime.quantization, TensorRT",
    "ncnn": "opt.use_bf16_storage, opt.use_fp16_storage, ncnn2int8",
}
CHANNELS = {"color": "RGB", "hha": "HHA", "depth": "logarithm of the depth"}  # by the kind of the image
MEAN = "input_mean"  # name of the parameter that a graph with a folded mean has


@dataclass(frozen=True)
class Form:
    """The form of an export; each value is the one of the option of `fcnxs export`.

    Args:
        format: json, onnx, ncnn or mar.
        head: the output: `softmax`, probabilities (N, C, H, W); `logits`, the scores before the softmax;
            `argmax`, the class map (N, H, W).
        size: (H, W) of the only images that the net takes; None: any size.
        precision: fp32, bf16 or int8.
        raw: type of the input, uint8 or float32, if it is an image of 0 to 255 from which the graph subtracts
            the mean; None: float32, with the mean subtracted already.
        bgr: whether the channels of a raw input are blue, green, red.
        trimmed: whether the graph computes only what depends on the image.
        keep: patterns of convolutions that stay in float32.
        heads: names of the net's heads, in the order of its outputs; `export` sets them. A net of one head
            has the name "".

    Raises:
        FCNXSError: the options exclude each other; the message names the way out.
    """

    format: str = "json"
    head: str = "softmax"
    size: Tuple[int, int] | None = None
    precision: str = "fp32"
    raw: str | None = None
    bgr: bool = False
    trimmed: bool = False
    keep: Tuple[str, ...] = KEEP
    heads: Tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        if self.format in LOWERED_BY and self.precision != "fp32":
            raise FCNXSError(
                f"--precision {self.precision} with --format {self.format}: MXNet cannot convert such nets; "
                f"export fp32, and lower the precision in the runtime ({LOWERED_BY[self.format]})"
            )
        if self.trimmed and self.size is None:
            raise FCNXSError("--trim: a trimmed net takes images of one size; give it with --image-size WxH")
        if self.bgr and self.raw is None:
            raise FCNXSError("--bgr: works only with --raw-input; without it the input is RGB minus the mean")
        if self.bgr and self.format == "mar":
            raise FCNXSError("--bgr with --format mar: the server decodes images itself; leave --bgr out")
        if self.keep != KEEP and self.precision == "fp32":
            raise FCNXSError("--keep-layers: has no effect with --precision fp32; give bf16 or int8")

    @property
    def ends(self) -> List[str]:
        """Name of the last layer of each head."""
        return [with_head(ENDS[self.head], head) for head in self.heads]

    @property
    def outputs(self) -> List[str]:
        """Name of the output of each head: in ONNX and ncnn the head's own; MXNet names outputs by layers."""
        own = self.heads if self.format in LOWERED_BY else ()
        return [*own] if any(own) else [f"{end}_output" for end in self.ends]

    def fitted(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, C), resized if the form takes one size only."""
        if self.size is None or image.shape[:2] == self.size:
            return image
        import cv2

        return cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA)

    def ordered(self, values: Sequence[float]) -> Sequence[float]:
        """Values of red, green and blue in the order of the form's channels."""
        return values[::-1] if self.bgr else values

    def input_of(self, image: np.ndarray, mean: Sequence[float]) -> np.ndarray:
        """Input (1, C, H, W) of the form for an image (H, W, C), RGB uint8 or of several kinds."""
        if self.raw is None:
            image = image.astype(np.float32) - np.asarray(mean, np.float32)
        elif self.bgr:
            image = image[..., ::-1]
        return np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis], self.raw or np.float32)

    def described(self, mean: Sequence[float], counts: Sequence[int], images: Sequence[str] = COLOR) -> dict:
        """Description of input and outputs for the meta file: all that a user of the export needs.

        Args:
            mean: of each channel.
            counts: number of classes of each head.
            images: kinds of the images whose channels are the input's.
        """
        batch = [] if self.format == "ncnn" else ["N"]
        height, width = self.size or ("H", "W")
        # MXNet's argmax is float32, and the C API returns float32 only.
        kind = "uint8" if self.format == "onnx" and self.head == "argmax" else "float32"
        outputs = {}
        for head, name, count in zip(self.heads, self.outputs, counts):
            shape = [*batch, *([] if self.head == "argmax" else [count]), height, width]
            outputs[head] = {"name": name, "head": self.head, "shape": shape, "dtype": kind}
        return {
            "format": self.format,
            "precision": self.precision,
            "size": list(self.size) if self.size else "dynamic",
            "input": {
                "name": "data",
                "shape": [*batch, len(mean), height, width],
                "dtype": "float32" if self.format == "ncnn" else self.raw or "float32",
                "channel_order": "BGR" if self.bgr else ", ".join(CHANNELS[kind] for kind in images),
                "values": "0 to 255" if self.raw else "0 to 255, minus the mean",
                "mean_folded": list(self.ordered(mean)) if self.raw else None,
            },
            **({"output": outputs[""]} if "" in outputs else {"outputs": outputs}),
        }


def with_ends(net: Net, form: Form, mean: Sequence[float]) -> Net:
    """Put the form's input in front of the net and the form's output behind the scores of each head.

    Args:
        net: takes images minus the mean, in the form's order of channels, and ends in scores.
        mean: of each channel, RGB.

    Raises:
        FCNXSError: an output would have the name of a layer.
    """
    shape = (0, len(mean), *(form.size or (0, 0)))
    data = mx.sym.Variable("data", shape=None if form.size is None and len(mean) == 3 else shape)
    args = dict(net.arg_params)
    if form.raw is not None:
        data = mx.sym.Cast(data, dtype="float32", name="raw")  # takes uint8 as well as float32
        # A bias of conv1_1 cannot do this: the zeros that conv1_1 pads with stand for the mean.
        data = mx.sym.broadcast_sub(data, mx.sym.Variable(MEAN, shape=(1, len(mean), 1, 1)), name="centred")
        args[MEAN] = mx.nd.array(np.reshape(form.ordered(mean), (1, -1, 1, 1)))
    make = {"softmax": partial(mx.sym.softmax, axis=1), "argmax": partial(mx.sym.argmax, axis=1)}
    make = make.get(form.head, mx.sym.identity)
    ends = [make(scores, name=end) for scores, end in zip(net.symbol(data=data), form.ends)]
    symbol = mx.sym.Group(ends)
    for name in {node["name"] for node in Graph.of(symbol).nodes}.intersection(form.outputs):
        raise FCNXSError(
            f"--format {form.format}: the head {name} would name its output, but a layer has this name; "
            f"export the head alone (--task {name}), or use another --format"
        )
    return Net(symbol, args, net.aux_params)


def for_bgr(net: Net) -> Net:
    """The net for BGR images: the input channels of the convolutions on the image are reversed."""
    nodes, args = Graph.of(net.symbol).nodes, dict(net.arg_params)
    for node in nodes:
        if node["op"] == "Convolution" and nodes[node["inputs"][0][0]]["name"] == "data":
            weight = nodes[node["inputs"][1][0]]["name"]
            args[weight] = mx.nd.reverse(args[weight], axis=1)
    return net._replace(arg_params=args)


def refuse_exported(symbol: mx.sym.Symbol, where: object) -> None:
    """Refuse an export that cannot be exported again.

    Raises:
        FCNXSError: the graph subtracts the mean, or is in bfloat16 or int8.
    """
    graph = Graph.of(symbol, casts=True)
    names, ops = {node["name"] for node in graph.nodes}, graph.ops
    for what, found in (
        ("takes raw input", MEAN in names),
        ("is in int8", FUSED in ops),
        ("is in bfloat16", "amp_cast" in ops),
    ):
        if found:
            raise FCNXSError(f"{where}: {what}, so it is an export itself; export its original")
