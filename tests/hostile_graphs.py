"""Graphs as an attacker would make them: real ones, changed at random.

`mutated(graphs, seed)` always gives the same text for a seed.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any, List

from fcnxs.symbols.graph.operators import INPUTS

ADDRESS = "123456789012"
DANGEROUS = {  # operators, with settings that MXNet takes
    **dict.fromkeys(("_Native", "_NDArray"), {"info": ADDRESS, "need_top_grad": "True"}),
    "Custom": {"op_type": "x"},
    "_foreach": {"num_args": "3", "num_outputs": "1", "num_out_data": "1", "in_data_locs": "(9,)",
                 "in_state_locs": "(7,)", "remain_locs": "()", "in_state_index": "()"},
    "_while_loop": {"num_args": "3", "num_outputs": "1", "num_out_data": "1", "max_iterations": "9",
                    "cond_input_locs": "(9,)", "func_input_locs": "(9,)", "func_var_locs": "(9,)"},
    "_cond": {"num_args": "3", "num_outputs": "1", "cond_input_locs": "(9,)", "then_input_locs": "(9,)",
              "else_input_locs": "(9,)"},
    **dict.fromkeys(("_CachedOp", "_FusedOp", "_subgraph_op", "_CrossDeviceCopy", "_copyto", "_set_value"), {}),
    **dict.fromkeys(("_sg_mkldnn_fully_connected", "_sg_mkldnn_batch_dot", "_sg_mkldnn_selfatt_qk"), {}),
    **dict.fromkeys(("_contrib_Proposal", "_npi_add", "_npx_nonzero", "_backward_Crop", "x"), {}),
    "RNN": {"state_size": "9", "num_layers": "9", "mode": "lstm"},
    "_cvimread": {"filename": "/etc/hostname"},
    "Embedding": {"input_dim": "9", "output_dim": "9"},
    "_random_uniform": {"shape": "(9,)"},
}  # fmt: skip
WINDOW = ("kernel", "stride", "dilate", "pad", "num_filter", "num_group")
RANGED = {
    **{"Convolution": WINDOW, "Deconvolution": (*WINDOW, "adj", "target_shape"), "Pooling": WINDOW[:4]},
    **{
        "Crop": ("offset", "h_w", "num_args"),
        "Reshape": ("shape",),
        "slice": ("begin", "end"),
        "LRN": ("nsize",),
    },
    **{
        "Concat": ("dim", "num_args"),
        "UpSampling": ("scale",),
        "Pad": ("pad_width",),
        "SwapAxis": ("dim1", "dim2"),
    },
    **{"slice_axis": ("axis", "begin", "end"), "softmax": ("axis",), "SliceChannel": ("num_outputs", "axis")},
}
NUMBERS = (
    *("0", "1", "-1", "2", "3", "4", "5", "7", "8", "16", "100", "255", "1000", "65535", "65536", "1000000"),
    *("16777216", "2147483647", "2147483648", "-2147483648", "4294967295", "4294967296", "9223372036854775807"),
    *(
        "18446744073709551616",
        "1" + "0" * 400,
        "nan",
        "inf",
        "-inf",
        "1e9",
        "1e-30",
        "0.5",
        "2.0",
        "",
        " ",
        "None",
    ),
    *("True", "False", "true", "0x10", "٣", "three", "\u0000", "(", ")", "()", "(,)", "None,", "3L"),
)
KEYS = (
    *(
        "kernel",
        "stride",
        "pad",
        "dilate",
        "adj",
        "target_shape",
        "num_filter",
        "num_group",
        "no_bias",
        "layout",
    ),
    *(
        "workspace",
        "offset",
        "h_w",
        "center_crop",
        "num_args",
        "pool_type",
        "pooling_convention",
        "global_pool",
    ),
    *("p_value", "act_type", "slope", "axis", "axes", "dim", "shape", "begin", "end", "step", "dtype", "scale"),
    *(
        "sample_type",
        "num_outputs",
        "squeeze_axis",
        "mode",
        "pad_width",
        "height",
        "width",
        "output_size",
        "size",
    ),
    *(
        "depth",
        "nsize",
        "p",
        "eps",
        "use_global_stats",
        "output_mean_var",
        "multi_output",
        "use_ignore",
        "with_sum",
    ),
    *("with_bn", "with_act", "with_postsum_act", "quantized", "min_calib_range", "max_calib_range", "out_type"),
    *("__shape__", "__dtype__", "__storage_type__", "__init__", "__lr_mult__", "ctx_group", "__ctx_group__"),
    *("weight_lr_mult", "lr_mult", "__profiler_scope__", "__subgraph_name__", "keepdims", "exclude", "reps"),
    *("transpose_a", "count_include_pad", "normalization", "preserve_shape", "reverse", "block_size", "ord"),
)
WORDS = (
    *("avg", "max", "sum", "lp", "full", "valid", "same", "relu", "prelu", "gelu", "rrelu", "like", "bilinear"),
    *("nearest", "channel", "instance", "spatial", "constant", "edge", "reflect", "float16", "float64", "int8"),
    *("uint8", "int32", "int64", "bfloat16", "bool", "NCHW", "NHWC", "NCDHW", "NCW", "batch", "null", "auto"),
    *("size", "odd_scale", "to_even_up", "csr", "row_sparse"),
)


def mutated(graphs: List[Any], seed: int) -> str:
    """Text of one of the graphs with one to three changes."""
    draw = random.Random(seed)
    graph = copy.deepcopy(draw.choice(graphs))
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        with contextlib.suppress(
            LookupError, TypeError, ValueError, AttributeError
        ):  # an earlier change broke what is changed
            draw.choice(CHANGES)(draw, graph)
    return json.dumps(graph)


def _layer(draw: random.Random, graph: Any) -> Any:
    """A node to change: a layer, or one of the graph within a layer."""
    layers = [node for node in graph["nodes"] if node["op"] != "null"]
    node = draw.choice(layers if draw.random() < 0.9 else graph["nodes"])
    return _layer(draw, node["subgraphs"][0]) if "subgraphs" in node and draw.random() < 0.4 else node


def _value(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.25:
        return draw.choice(WORDS)
    if kind < 0.55:
        return draw.choice(NUMBERS)
    numbers = draw.choices(NUMBERS[: draw.choice((8, 8, 18, 40))], k=draw.choice((1, 2, 2, 2, 3, 4, 8)))
    return f"({', '.join(numbers)})" if draw.random() < 0.9 else f"[{','.join(numbers)}"


def setting(draw: random.Random, graph: Any) -> None:
    """Another value of a setting that is there."""
    node = _layer(draw, graph)
    node["attrs"][draw.choice([*node["attrs"]])] = _value(draw)


def nearby(draw: random.Random, graph: Any) -> None:
    """A value that is as long, of small numbers."""
    node = _layer(draw, graph)
    key = draw.choice([*node["attrs"]])
    parts = node["attrs"][key].strip("()[]").split(",")
    small = [draw.choice(("0", "1", "2", "3", "4", "7", "16", "-1")) for _ in parts]
    node["attrs"][key] = small[0] if len(small) == 1 else f"({', '.join(small)})"


def added_setting(draw: random.Random, graph: Any) -> None:
    _layer(draw, graph).setdefault(draw.choice(("attrs", "attrs", "attr", "param")), {})[draw.choice(KEYS)] = (
        _value(draw)
    )


def removed_setting(draw: random.Random, graph: Any) -> None:
    node = _layer(draw, graph)
    del node["attrs"][draw.choice([*node["attrs"]])]


def operator(draw: random.Random, graph: Any) -> None:
    """Another operator, of this graph or of the table."""
    _layer(draw, graph)["op"] = draw.choice(draw.choice(([node["op"] for node in graph["nodes"]], [*INPUTS])))


def dangerous(draw: random.Random, graph: Any) -> None:
    """An operator that no file may have."""
    node, op = _layer(draw, graph), draw.choice([*DANGEROUS])
    node.update(op=op, attrs=dict(DANGEROUS[op]))


def extreme(draw: random.Random, graph: Any) -> None:
    """A number at the ends of what fits, in a setting that says how much is read or made."""
    node = draw.choice([node for node in graph["nodes"] if node["op"] in RANGED])
    key = draw.choice(RANGED[node["op"]])
    number = draw.choice(("0", "-1", "65535", "100000", "2147483647", "-2147483648", "4294967296", "1"))
    single = key in ("num_filter", "num_group", "nsize", "num_args", "scale", "dim", "axis", "dim1", "dim2")
    old = node["attrs"].get(key, "(0, 0)").strip("()[]").split(",")
    old[draw.randrange(len(old))] = number
    node["attrs"][key] = number if single else f"({', '.join(old)})"


def entry(draw: random.Random, graph: Any) -> None:
    """Another source of an input or of the graph's output."""
    node = _layer(draw, graph)
    entries = node["inputs"] if draw.random() < 0.9 else graph["heads"]
    place, of = draw.randrange(len(entries)), len(graph["nodes"])
    near = graph["nodes"].index(node) if node in graph["nodes"] else 3
    new = draw.choice((draw.randrange(max(near, 1)), draw.randrange(of), of, -1, 10**6, 2**32, 2**64))
    entries[place] = [
        new,
        draw.choice((0, 0, 0, 0, 1, 2, 3, -1, 10**9, 2**32)),
        draw.choice((0, 0, 0, 1, -1, 2**40)),
    ]


def inputs(draw: random.Random, graph: Any) -> None:
    """An input more, or less, or others in their order."""
    entries = _layer(draw, graph)["inputs"]
    change = draw.choice(("more", "less", "shuffle", "none"))
    if change == "more":
        entries.append(draw.choice([*entries, [0, 0, 0]]))
    elif change == "less":
        del entries[draw.randrange(len(entries))]
    elif change == "shuffle":
        draw.shuffle(entries)
    else:
        entries.clear()


def variable(draw: random.Random, graph: Any) -> None:
    """What a variable says about itself."""
    node = draw.choice([node for node in graph["nodes"] if node["op"] == "null"])
    key = draw.choice(("__shape__", "__shape__", "__dtype__", "__storage_type__", "__init__", "shape"))
    node.setdefault("attrs", {})[key] = _value(draw)


def subgraph(draw: random.Random, graph: Any) -> None:
    """Graphs within layers: taken out, doubled, put into another layer, or the whole graph in itself."""
    node, change = _layer(draw, graph), draw.choice(("out", "twice", "in", "deep"))
    if change == "out":
        node.pop("subgraphs", None)
    elif change == "twice":
        node["subgraphs"] = node["subgraphs"] * 2
    elif change == "in":
        node["subgraphs"] = [copy.deepcopy(graph)]
    else:
        inner = copy.deepcopy(node)
        for _ in range(draw.choice((2, 20, 60))):
            inner = {**node, "subgraphs": [{"nodes": [inner], "heads": [[0, 0, 0]], "arg_nodes": []}]}
        node.update(inner)


def kind(draw: random.Random, graph: Any) -> None:
    """Something of another type of JSON."""
    node = draw.choice((graph, _layer(draw, graph), _layer(draw, graph)))
    node[draw.choice([*node])] = draw.choice((None, 0, -1, 1.5, "x", [], {}, [[]], [[0, 0, 0]], {"a": 1}, True))


def about(draw: random.Random, graph: Any) -> None:
    """What the graph says about itself."""
    lists = ("arg_nodes", "node_row_ptr", "heads")
    new = [draw.choice((0, 1, -1, 10**6, 2**40)) for _ in range(draw.choice((0, 1, 5, 100)))]
    graph[draw.choice(lists)] = new
    version = draw.choice((0, -1, 800, 900, 904, 10000, 10901, 20000, 2**31, 2**40, "x"))
    graph["attrs"] = {
        "mxnet_version": ["int", version],
        **draw.choice(({}, {"shape": ["list_shape", [[1 << 40]]]})),
    }


def doubled(draw: random.Random, graph: Any) -> None:
    """Names that occur twice."""
    draw.choice(graph["nodes"])["name"] = draw.choice(graph["nodes"])["name"]


CHANGES = (
    *(setting, setting, nearby, nearby, nearby, added_setting, added_setting, removed_setting, operator),
    *(extreme, extreme, extreme, dangerous, entry, entry, inputs, variable, variable, subgraph),
    *(kind, about, doubled),
)
