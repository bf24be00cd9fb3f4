"""Symbols as MXNet wrote them before 0.9: every setting that it knew, no version, sums as `_Plus`.

The settings of a month are those of `src/operator/*-inl.h` in apache/mxnet at that time.
"""

import json

from conftest import FC, WIDTH

from fcnxs.symbols import NETS

SHARED = {"num_group": "1", "stride": "(1,1)", "pad": "(0,0)", "dilate": "(1,1)"}
DEFAULTS = {
    "Convolution": {**SHARED, "no_bias": "False"},
    "Deconvolution": {"num_group": "1", "pad": "(0,0)", "no_bias": "True"},
    "Pooling": {"pad": "(0,0)"},
    "Crop": {"center_crop": "False"},
    "SoftmaxOutput": {"grad_scale": "1"},
}
SINCE = (  # what came later, with its first month
    ("2016-01", "Crop", {"num_args": "2", "h_w": "(0,0)"}),
    ("2016-06", "Pooling", {"global_pool": "False"}),
    ("2016-06", "Deconvolution", {"adj": "(0,0)", "target_shape": "(0,0)"}),
    ("2016-07", "Convolution", {"cudnn_tune": "limited_workspace"}),
    ("2016-09", "Convolution", {"cudnn_off": "False"}),
    ("2016-10", "Pooling", {"pooling_convention": "valid"}),
)
NAMES = {"relu5_2": "conv1_2", "score_fused": "_plus0", "score_final": "_plus1"}
FIRST = {"score": "fc8", "bigscore": "deconv8", "upscore": "crop8"}


def as_saved(net, month="2015-12", numclass=5, offset=None, first=False, **options):
    """Text of the example's symbol as it was saved in a month of 2015 or 2016, before it had `adj`.

    offset: of the last crop. first: with the first names of the last layers. options: of the builder.
    """
    graph = json.loads(NETS[net](numclass, width=WIDTH, fc=FC, **options).tojson())
    nodes = []
    for node in graph["nodes"]:
        op, settings = node["op"], dict(DEFAULTS.get(node["op"], {}))
        for since, its_op, more in SINCE:
            settings.update(more if its_op == op and since <= month else {})
        given = {} if op == "null" else node.get("attrs", {})
        given = {
            key: value.replace(", ", ",") for key, value in given.items() if key not in ("adj", "num_args")
        }
        if node["name"] == "upscore" and offset is not None:
            given["offset"] = "({},{})".format(*offset)
        layer, _, kind = node["name"].partition("_") if op == "null" else (node["name"], "", "")
        name = NAMES.get(node["name"], node["name"])
        if first and layer in FIRST and kind in ("", "weight", "bias"):
            name = FIRST[layer] + (f"_{kind}" if kind else "")
        nodes.append(
            {
                "op": "_Plus" if op == "elemwise_add" else op,
                "param": {**settings, **given},
                "name": name,
                "inputs": [entry[:2] for entry in node["inputs"]],
                "backward_source_id": -1,
            }
        )
    heads = [entry[:2] for entry in graph["heads"]]
    return json.dumps({"nodes": nodes, "arg_nodes": graph["arg_nodes"], "heads": heads})


def without(text, *settings):
    """The same text without these settings of any node."""
    graph = json.loads(text)
    for node in graph["nodes"]:
        for setting in settings:
            node["param"].pop(setting, None)
    return json.dumps(graph)
