"""The arithmetic of the page of `fcnxs explain --html`, in headless Chromium, is ours."""

import json
import random
from copy import deepcopy

import pytest
from browser import CHROMIUM, chromium

from fcnxs import symbols
from fcnxs.compat import mxnet as mx
from fcnxs.errors import FCNXSError
from fcnxs.symbols.coord_map import IDENTITY, format_map
from fcnxs.symbols.graph.crops import exact_sizes
from fcnxs.symbols.graph.layer_sizes import layer_sizes, misfit
from fcnxs.symbols.graph.maps import _offset, misaligned, own_map, walk
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.reach import receptive_fields
from fcnxs.tools.explanations.page import nodes_of, write_page
from fcnxs.tools.explanations.tables import exact_text

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
NARROW = {"width": 1 / 16, "fc": 16}
CHANGES = 40  # of each net

READ = """(() => { const told = [];
for (const step of %s) {
  if (step.undo) begin();
  for (const [name, key, axis, value] of step.windows)
    setWindow(nodes.find((node) => node.name === name), key, axis, value);
  const {axes, shapes, parameters} = computed(nodes, step.size), text = (map) => map && mapText(map);
  told.push({shapes, parameters, axes: axes.map((a) => ({
    maps: a.maps.map(text), own: a.own.map(text), offsets: a.offsets, sizes: a.sizes, fields: a.fields,
    exact: a.exact.map((size) => size && exactText(size, "H")), refused: [...a.refused.values()],
    fault: a.fault && a.fault.why }))});
}
return JSON.stringify(told); })()"""


def odd():
    """Layers of many kinds: windows that are not square, a dilation, holes, joins, a crop to a given size."""
    sym, data = mx.sym, mx.sym.Variable("data")
    x = sym.Convolution(data, kernel=(3, 5), stride=(2, 1), pad=(1, 2), num_filter=4, name="oblong")
    y = sym.Convolution(x, kernel=(3, 3), dilate=(2, 2), pad=(2, 2), num_filter=4, no_bias=True, name="dilated")
    x = sym.Concat(sym.InstanceNorm(x, sym.Variable("g"), sym.Variable("b"), name="norm"), y, name="joined")
    x = sym.Pooling(
        x, kernel=(3, 3), stride=(3, 3), pad=(1, 1), pool_type="avg", pooling_convention="full", name="pool"
    )
    z = sym.UpSampling(x, scale=3, sample_type="nearest", name="nearest")
    z = sym.slice_like(symbols.crop(z, y, "near"), y, axes=(2, 3), name="cut")
    settings = {"kernel": (1, 3), "stride": (3, 3), "adj": (2, 1), "num_group": 2}
    x = symbols.crop(sym.Deconvolution(x, num_filter=4, name="holes", **settings), y, "crop")
    x = sym.broadcast_mul(x, sym.Variable("scale", shape=(1, 4, 1, 1)), name="scaled")
    sums = sym.elemwise_add(sym.Convolution(z, kernel=(1, 1), num_filter=4, name="thin"), x, name="sum")
    flat = sym.Flatten(
        sym.Pooling(sums, global_pool=True, kernel=(1, 1), pool_type="avg", name="whole"), name="flat"
    )
    middle = sym.Convolution(sym.Crop(sums, h_w=(5, 6), offset=(1, 2), num_args=1, name="patch"), kernel=(3, 3),
                             num_filter=2, name="small")  # fmt: skip
    dense = sym.FullyConnected(sym.Dropout(middle, name="drop"), num_hidden=3, name="dense")
    return sym.Group([sym.FullyConnected(flat, num_hidden=3, no_bias=True, name="scores"), dense])


NETS = {
    "fcn8s": lambda: symbols.get_fcn8s_symbol(5, **NARROW),
    "fcn16s": lambda: symbols.get_fcn16s_symbol(5, pooling_convention="full", **NARROW),
    "fcn_alexnet": symbols.get_fcn_alexnet_symbol,
    "late fusion": lambda: symbols.NETS["nyud_fcn32s_color_hha"](**NARROW),  # of two images
    "odd": odd,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def write(symbol, file, size=(120, 150)):
    graph = Graph.of(symbol)
    write_page(graph, file.stem, size, symbols.describe(symbol, size, 0, graph), file)
    return graph


def steps_of(graph, rng):
    """Random changes, each on top of those before it, or of the net as it was."""
    names = [graph.nodes[i]["name"] for i in graph.layers if "kernel" in graph.nodes[i]["attrs"]]
    names = [name for name in names if name != "whole"]
    steps = []
    for _ in range(CHANGES):
        windows = []
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            name, axes = rng.choice(names), rng.choice(((0, 1), (0, 1), (0,), (1,)))
            key = rng.choice(("kernel", "stride", "pad"))
            value = rng.randint(key != "pad", {"kernel": 9, "stride": 4, "pad": 5}[key])
            if rng.random() < 0.2:
                key, value = "pad", rng.randint(60, 120)
            windows += [(name, key, axis, value) for axis in axes]
        size = [rng.randint(1, 300), rng.randint(100, 600)]
        steps.append({"undo": rng.random() < 0.4, "windows": windows, "size": size})
    return steps


def changed(nodes, windows):
    """Nodes of a graph after changes of kernels, strides and pads; an adj of stride - 1 stays so."""
    for name, key, axis, value in windows:
        node = next(node for node in nodes if node["name"] == name)
        now = {"kernel": [1, 1], "stride": [1, 1], "pad": [0, 0], "adj": [0, 0]}
        now.update((each, list(eval(node["attrs"][each]))) for each in now if each in node["attrs"])
        follows = now["adj"][axis] == now["stride"][axis] - 1 > 0
        now[key][axis] = value
        most = now["stride"][axis] - 1
        now["adj"][axis] = most if follows else min(now["adj"][axis], most)
        if node["op"] != "Deconvolution":
            del now["adj"]
        node["attrs"].update({each: str(tuple(pair)) for each, pair in now.items()})


def ours(nodes, heads, places, axis, height):
    """What `symbols` makes of one axis, with every crop at the offset that its maps give."""
    nodes, refused, offsets = deepcopy(nodes), [], {}
    for i, node in enumerate(nodes):
        if node["op"] == "Crop" and len(node["inputs"]) == 2:
            maps = walk(Graph(nodes[:i], [[i - 1, 0, 0]]), axis, strict=False).maps
            x, like = (entry[0] for entry in node["inputs"])
            pair = [
                (nodes[j]["name"], maps[j] or (IDENTITY if nodes[j]["op"] == "null" else None))
                for j in (x, like)
            ]
            try:
                offsets[i] = None if None in (pair[0][1], pair[1][1]) else _offset(*pair)
            except FCNXSError as error:
                refused.append(str(error))
                offsets[i] = None
            node["attrs"]["offset"] = str((offsets[i] or 0,) * 2)
            node["attrs"]["center_crop"] = str(offsets[i] is None)  # which has no map
    graph = Graph(nodes, heads)
    maps, sizes = walk(graph, axis, strict=False).maps, layer_sizes(graph, axis)
    fields, values = receptive_fields(graph, maps, axis), [size and size.value(height) for size in sizes]
    owns = [own_map(node, axis) if node["op"] != "null" else None for node in nodes]
    crops = [i for i in places if i in offsets]
    return {
        "maps": {i: fp and format_map(fp) for i, fp in enumerate(maps) if nodes[i]["op"] != "null"},
        "own": {i: fp and format_map(fp) for i, fp in enumerate(owns) if nodes[i]["op"] != "null"},
        "offsets": {i: offsets[i] for i in crops},
        "sizes": {i: value for i, value in enumerate(values) if nodes[i]["op"] != "null"},
        "fields": {i: field for i, field in enumerate(fields) if nodes[i]["op"] != "null"},
        "exact": {
            i: size and exact_text(size, "H")
            for i, size in enumerate(exact_sizes(graph, axis))
            if nodes[i]["op"] != "null"
        },
        "refused": sorted([*refused, *misaligned(graph, axis)]),
        "fault": misfit(graph, axis, height),
    }


@pytest.mark.parametrize("net", NETS)
def test_random_changes_give_what_our_arithmetic_gives(net, browser, tmp_path):
    symbol = NETS[net]()
    graph = write(symbol, tmp_path / "page.html")
    places = [i for i, node in enumerate(graph.nodes) if node["op"] != "null" or i == graph.image]
    every = nodes_of(graph, (120, 150), symbols.describe(symbol, (120, 150), 0, graph))
    number = {node["name"]: k for k, node in enumerate(every)}
    steps = steps_of(graph, random.Random(sum(map(ord, net))))
    browser.open((tmp_path / "page.html").as_uri(), 1400)
    told, nodes, seen = json.loads(browser.evaluate(READ % json.dumps(steps))), deepcopy(graph.nodes), set()
    for step, told_of in zip(steps, told):
        nodes = deepcopy(graph.nodes) if step["undo"] else nodes
        changed(nodes, step["windows"])
        for axis in (0, 1):
            expected = ours(nodes, graph.heads, places, axis, step["size"][axis])
            given = told_of["axes"][axis]
            for key in ("maps", "own", "offsets", "sizes", "exact", "fields"):
                for i, value in expected[key].items():
                    assert given[key][number[nodes[i]["name"]]] == value, (key, nodes[i]["name"], step)
            assert sorted(given["refused"]) == expected["refused"]
            if None not in expected["offsets"].values():  # else what a crop cuts is not known
                assert given["fault"] == expected["fault"]
            seen |= {("refused", bool(given["refused"])), ("fault", bool(given["fault"]))}
        if not any(each["refused"] or each["fault"] for each in told_of["axes"]):
            compare_with_mxnet(Graph(nodes, graph.heads, graph.version), step["size"], told_of, number)
            seen.add("MXNet")
    assert len(told) == CHANGES and len(seen) == 5


def compare_with_mxnet(graph, size, told_of, number):
    """Shapes and parameters as MXNet infers them, with the page's offsets."""
    graph = Graph(deepcopy(graph.nodes), graph.heads, graph.version)
    for node in graph.nodes:
        if node["op"] == "Crop" and len(node["inputs"]) == 2:
            node["attrs"]["offset"] = str(
                tuple(each["offsets"][number[node["name"]]] for each in told_of["axes"])
            )
    for row in symbols.describe(mx.sym.load_json(json.dumps(graph.content)), size):
        assert told_of["parameters"][number[row.name]] == row.parameters, row.name
        shape = told_of["shapes"][number[row.name]]
        assert shape is None or tuple(shape) == row.shape[1:], row.name
        assert shape is not None or row.formula is None
