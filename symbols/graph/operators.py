"""The operators that the graph of a file may have, the inputs that each takes, and the ranges of settings.

They are those of this package's nets in all their forms, of the coordinate maps, of GluonCV's nets for
classification and segmentation, and arithmetic that nets are commonly built with. MXNet has a thousand more.
Some of them call an address that the graph gives, run code of Python, or end the process on wrong settings.
"""

from __future__ import annotations

from typing import Dict, Tuple

from .nodes import Node, flag

ARITHMETIC = ("add", "sub", "mul", "div", "maximum", "minimum")

# Operators by the number of their inputs. None: their settings say it (`inputs_of`).
BY_INPUTS: Dict[int | None, Tuple[str, ...]] = {
    1: (
        *("Activation", "BlockGrad", "Cast", "Dropout", "Flatten", "L2Normalization", "LRN", "MakeLoss", "Pad"),
        *("Pooling", "Reshape", "SliceChannel", "SoftmaxActivation", "SwapAxis", "_copy", "abs", "amp_cast"),
        *("argmax", "argmin", "broadcast_axis", "broadcast_to", "clip", "depth_to_space", "exp", "expand_dims"),
        *(
            "hard_sigmoid",
            "log",
            "log_softmax",
            "max",
            "mean",
            "min",
            "negative",
            "norm",
            "one_hot",
            "ones_like",
        ),
        *("prod", "reciprocal", "relu", "repeat", "rsqrt", "sigmoid", "slice", "slice_axis", "softsign"),
        *("space_to_depth", "sqrt", "square", "squeeze", "sum", "tanh", "tile", "transpose", "zeros_like"),
        *("_contrib_AdaptiveAvgPooling2D", "_contrib_quantize_v2"),
        *(f"_{name}_scalar" for name in ("plus", "minus", "mul", "div", "rminus", "rdiv", "power")),
        *(f"_{name}_scalar" for name in ("maximum", "minimum", "equal", "greater", "lesser")),
    ),
    2: (
        *(f"broadcast_{name}" for name in ARITHMETIC),
        *("elemwise_add", "elemwise_sub", "elemwise_mul", "elemwise_div", "_maximum", "_minimum"),
        *("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "SoftmaxOutput"),
        *("batch_dot", "broadcast_like", "dot", "reshape_like", "slice_like"),
    ),
    3: (
        *("GroupNorm", "InstanceNorm", "LayerNorm", "where"),
        *("_contrib_dequantize", "_contrib_requantize", "_contrib_quantized_act", "_contrib_quantized_flatten"),
        "_contrib_quantized_pooling",
    ),
    5: ("BatchNorm",),
    6: ("_contrib_quantized_elemwise_add",),
    7: ("_contrib_quantized_batch_norm",),
    None: (
        *(
            "Concat",
            "Convolution",
            "Crop",
            "Deconvolution",
            "FullyConnected",
            "LeakyReLU",
            "UpSampling",
            "add_n",
        ),
        *("amp_multicast", "softmax", "stack", "_contrib_BilinearResize2D", "_contrib_quantized_concat"),
        "_sg_mkldnn_conv",  # whose inner graph is checked too (`trust.py`)
    ),
}
INPUTS = {op: number for number, ops in BY_INPUTS.items() for op in ops}

# Names that earlier versions of MXNet wrote, and other names of the same operators.
ALIASES = {
    **{f"_{name.capitalize()}Scalar": f"_{name}_scalar" for name in ("plus", "minus", "mul", "div", "power")},
    **{f"_{name}Scalar": f"_{name.lower()}_scalar" for name in ("RMinus", "RDiv", "Maximum", "Minimum")},
    **{f"_{name}Scalar": f"_{name.lower()}_scalar" for name in ("Equal", "Greater", "Lesser")},
    **{
        name: f"elemwise_{op}"
        for op in ("add", "sub", "mul", "div")
        for name in (f"_{op}", f"_{op.capitalize()}")
    },
    **{"_plus": "elemwise_add", "_Plus": "elemwise_add", "_minus": "elemwise_sub", "_Minus": "elemwise_sub"},
    **{"_Maximum": "_maximum", "_Minimum": "_minimum", "ElementWiseSum": "add_n", "Softmax": "SoftmaxOutput"},
    **{"cast": "Cast", "concat": "Concat", "crop": "slice", "flatten": "Flatten", "identity": "_copy"},
    **{"pad": "Pad", "reshape": "Reshape", "split": "SliceChannel", "stop_gradient": "BlockGrad"},
    "swapaxes": "SwapAxis",
}

SIDE = 65_535  # largest kernel, stride, pad or offset
MOST_NODES = 20_000
COUNT = 1 << 24  # largest number of channels, or of rows that a layer makes
ANY = (-(1 << 31), (1 << 31) - 1)

# Smallest and largest value of settings that are whole numbers, or tuples of them with None in places.
RANGES: Dict[str, Tuple[int, int]] = {
    **dict.fromkeys(("kernel", "stride", "dilate", "scale", "block_size", "nsize"), (1, SIDE)),
    **dict.fromkeys(("pad", "adj", "offset", "pad_width", "workspace"), (0, SIDE)),
    **dict.fromkeys(("num_filter", "num_group", "num_groups", "num_hidden", "depth"), (1, COUNT)),
    **dict.fromkeys(("height", "width", "output_size", "size", "reps", "repeats"), (1, COUNT)),
    **dict.fromkeys(("h_w", "target_shape"), (0, COUNT)),
    **dict.fromkeys(("num_args", "num_outputs"), (1, MOST_NODES)),
    **dict.fromkeys(("axis", "axes", "dim", "dim1", "dim2", "lhs_axes", "rhs_axes"), (-32, 31)),
    **dict.fromkeys(("begin", "end", "step", "shape"), ANY),
    **dict.fromkeys(("lhs_begin", "lhs_end", "rhs_begin", "rhs_end"), (-32, 32)),
    **{"ord": (1, 2), "p_value": (1, 3)},
}
ZERO_TOO = {("UpSampling", "num_filter")}  # what MXNet writes where it is not given
WINDOWS = ("Convolution", "Deconvolution", "Pooling", "_contrib_quantized_pooling")
OF_A_WINDOW = ("stride", "dilate", "pad", "adj", "target_shape")  # as long as the kernel, or not given
TWO = ("offset", "h_w")  # settings of Crop, for rows and columns
FLAGS = (
    *(
        "no_bias",
        "global_pool",
        "center_crop",
        "use_length",
        "output_mean_var",
        "quantized",
        "with_act",
        "with_bn",
    ),
    *("with_postsum_act", "with_sum"),
)


def inputs_of(node: Node) -> int | None:
    """Number of inputs that a node of the table takes; None if a setting that says it is missing."""
    op, attrs = node["op"], node["attrs"]
    if INPUTS[op] is not None:
        return INPUTS[op]
    if op in ("Convolution", "FullyConnected"):
        return 2 if flag(node, "no_bias") else 3
    if op == "Deconvolution":
        return 3 if "no_bias" in attrs and not flag(node, "no_bias") else 2
    if op == "LeakyReLU":
        return 2 if attrs.get("act_type") == "prelu" else 1
    if op == "softmax":
        return 2 if flag(node, "use_length") else 1
    if op == "_contrib_BilinearResize2D":
        return 2 if attrs.get("mode") == "like" else 1
    if op == "UpSampling" and attrs.get("sample_type") == "bilinear":
        return 2
    count = attrs.get("num_outputs" if op == "amp_multicast" else "num_args", "")
    each = 3 if op == "_contrib_quantized_concat" else 1
    return each * int(count) if count.isdecimal() else None


def outputs_of(node: Node) -> int:
    """Number of outputs of a node of the table."""
    op = node["op"]
    if op in ("SliceChannel", "amp_multicast"):
        return int(node["attrs"].get("num_outputs", "1"))
    lowered = (
        op == "_contrib_quantize_v2" or op.startswith("_contrib_quantized_") or op == "_contrib_requantize"
    )
    many = lowered or flag(node, "output_mean_var") or (op == "_sg_mkldnn_conv" and flag(node, "quantized"))
    return 3 if many else 1
