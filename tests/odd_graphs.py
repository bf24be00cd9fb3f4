"""Graphs that fit few sizes, and which crops of a graph do not fit."""

import json
from ast import literal_eval

from fcnxs import symbols
from fcnxs.compat import mxnet as mx


def gaps():
    """A net for even sizes only: what is cut has no row more than the image, and one less where it is odd."""
    data = mx.sym.Variable("data")
    same = mx.sym.Convolution(data, kernel=(1, 1), num_filter=2, name="same")
    x = mx.sym.Convolution(data, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=2, name="half")
    x = mx.sym.Deconvolution(x, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=2, name="twice")
    return symbols.crop(x, same, "cut")


def once():
    """A net for images of 20x30 alone."""
    data = mx.sym.Variable("data")
    return mx.sym.elemwise_add(data, mx.sym.Crop(data, h_w=(20, 30), num_args=1), name="sum")


def crops_that_do_not_fit(symbol, height, width):
    """Names of the crops that begin too late in their input to be whole. (MXNet finds it when it runs.)"""
    nodes, internals = json.loads(symbol.tojson())["nodes"], symbol.get_internals()
    shapes = internals.infer_shape_partial(data=(1, 3, height, width))[1]
    shapes = dict(zip(internals.list_outputs(), shapes))
    return [
        node["name"]
        for node in nodes
        if node["op"] == "Crop"
        for axis in (0, 1)
        if literal_eval(node["attrs"]["offset"])[axis] + shapes[f"{node['name']}_output"][2 + axis]
        > shapes[f"{nodes[node['inputs'][0][0]]['name']}_output"][2 + axis]
    ]
