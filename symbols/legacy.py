"""Symbols that versions of the original example before `adj` have saved."""

from __future__ import annotations

import json

from ..compat import mxnet as mx
from .graph.nodes import rounds_up, setting


def completed(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net, running at every size that its layers take.

    Without `adj`, and with pooling that rounds down, the last upsampling of the oldest nets ends before
    the image does at some sizes, and MXNet refuses to crop it: of the 65 sizes from 32 to 96, at 24 for
    FCN-32s, at 8 for FCN-16s, at none for FCN-8s. `adj` lets it go on, with the numbers that MXNet gives
    wherever no cell of the scores reaches. At the other sizes these rows and columns are cropped away:
    nothing changes.
    """
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    changed = False
    for node in nodes:
        if node["op"] == "Crop" and len(node["inputs"]) == 2:
            x, like = (nodes[entry[0]] for entry in node["inputs"])
            attrs = x.get("attrs", {})
            if (
                x["op"] == "Deconvolution"
                and like["op"] == "null"
                and not {"adj", "target_shape"} & attrs.keys()
            ):
                attrs["adj"] = str(tuple(setting(x, "stride", axis, 1) - 1 for axis in (0, 1)))
                changed = True
    return mx.sym.load_json(json.dumps(graph)) if changed and not rounds_up(nodes) else symbol
