"""Graphs of strangers: what is refused before MXNet sees it, in which words, and what is not refused."""

import json
import re

import pytest
from conftest import FC, WIDTH

from fcnxs import FCNXSError, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.operators import ALIASES, BY_INPUTS, INPUTS
from fcnxs.symbols.legacy import load, loadable

CONV = {"kernel": "(3, 3)", "num_filter": "4", "no_bias": "True"}


def variable(name, **attrs):
    return {"op": "null", "name": name, "inputs": [], "attrs": attrs}


def node(op, inputs, name="x", **more):
    return {"op": op, "name": name, "inputs": [[*each, 0] for each in inputs], **more}


def text(*nodes, heads=None, **more):
    return json.dumps({"nodes": nodes, "heads": heads or [[len(nodes) - 1, 0, 0]], "arg_nodes": [0], **more})


def conv(key="attrs", **settings):
    """A convolution with settings changed, under a key of any version of MXNet."""
    layer = node("Convolution", [(0, 0), (1, 0)], "conv", **{key: {**CONV, **settings}})
    return text(variable("data"), variable("weight"), layer)


def one(op, **settings):
    return text(variable("data"), node(op, [(0, 0)], attrs=settings))


def fused(*inner, **settings):
    """A convolution fused with others: layers of its inner graph, of which each takes the one before."""
    data, weight = variable("data"), variable("weight")
    layers = [node("Convolution", [(0, 0), (1, 0)], attrs=CONV), *inner]
    graph = {"nodes": [data, weight, *layers], "heads": [[1 + len(layers), 0, 0]], "arg_nodes": [0, 1]}
    outer = node("_sg_mkldnn_conv", [(0, 0), (1, 0)], "sg", attrs=settings, subgraphs=[graph])
    return text(data, weight, outer)


RELU = node("Activation", [(2, 0)], attrs={"act_type": "relu"})
FOREACH = text(variable("data"), node("_foreach", [(0, 0)], subgraphs=[json.loads(one("relu"))]))

REFUSED = {
    "an operator that calls an address": (
        one("_Native", info="12345"),
        r"node 'x' \(_Native\).*--allow-operator",
    ),
    "an array's address": (one("_NDArray", info="12345"), r"'x' \(_NDArray\): this operator is not among"),
    "code of Python": (one("Custom", op_type="softmax"), r"'x' \(Custom\)"),
    "a loop": (FOREACH, r"'x' \(_foreach\)"),
    "another fusion": (one("_sg_mkldnn_fully_connected"), r"'x' \(_sg_mkldnn_fully_connected\)"),
    "an address under an old key": (
        text(variable("data"), node("_Native", [(0, 0)], param={"info": "1"})),
        r"\(_Native\)",
    ),
    "a graph within a layer": (
        text(variable("data"), node("relu", [(0, 0)], subgraphs=[json.loads(one("relu"))])),
        r"'x' \(relu\)",
    ),
    "an operator that MXNet does not know": (one("Foo"), r"'x' \(Foo\)"),
    "a later input": (text(variable("a"), node("relu", [(2, 0)]), variable("b")), "no node before it"),
    "an input below 0": (text(variable("a"), node("relu", [(-1, 0)])), "no node before it"),
    "a high output": (text(variable("a"), node("relu", [(0, 7)])), "takes output 7 of 'a', which has 1"),
    "an output below 0": (text(variable("a"), node("relu", [(0, -1)])), "takes output -1 of 'a'"),
    "a head out of range": (text(variable("a"), heads=[[5, 0, 0]]), "no node before it"),
    "a head's output": (text(variable("a"), heads=[[0, 9, 0]]), "the output: takes output 9 of 'a'"),
    "no head": (text(variable("a"), heads=[]).replace("[[0, 0, 0]]", "[]"), "it has no heads"),
    "a part of a split": (
        text(
            variable("a"),
            node("SliceChannel", [(0, 0)], "parts", attrs={"num_outputs": "2"}),
            node("relu", [(1, 2)]),
        ),
        "takes output 2 of 'parts', which has 2",
    ),
    "a variable with inputs": (text(variable("a"), node("null", [(0, 0)])), "a variable that takes inputs"),
    "too few inputs": (
        text(variable("a"), node("Convolution", [(0, 0)], attrs=CONV)),
        "number of inputs is 1; expected 2",
    ),
    "too many inputs": (
        text(variable("a"), node("relu", [(0, 0), (0, 0)])),
        "number of inputs is 2; expected 1",
    ),
    "a setting of an input that is not there": (
        text(
            *map(variable, "abc"),
            node("BatchNorm", [(0, 0), (1, 0), (2, 0)], param={"moving_var_lr_mult": "2"}),
        ),
        "has settings of inputs that it does not take",
    ),
    "a number with a space": (one("Concat", num_args=" 2"), "num_args is ' 2'; expected a whole number"),
    "two numbers of parts": (one("SliceChannel", num_outputs="(1, 2)"), r"num_outputs is '\(1, 2\)'"),
    "another number of parts": (one("Concat", num_args="2"), "number of inputs is 1; expected 2"),
    "no group": (
        conv(num_group="0"),
        r"node 'conv' \(Convolution\): num_group is '0'; expected whole numbers from 1",
    ),
    "no group, in an old key": (conv("param", num_group="0"), "num_group is '0'"),
    "no group, in another": (conv("attr", num_group="0"), "num_group is '0'"),
    "no filter": (conv(num_filter="0"), "num_filter is '0'"),
    "no kernel": (conv(kernel="(0, 3)"), r"kernel is '\(0, 3\)'"),
    "no stride": (conv(stride="(1, 0)"), r"stride is '\(1, 0\)'"),
    "no dilation": (conv(dilate="[0, 0]"), "dilate"),
    "a huge pad": (conv(pad="(65536, 0)"), "pad is .* from 0 to 65535"),
    "a pad below 0": (conv(pad="(-1, 0)"), "pad"),
    "a number that is none": (conv(num_filter="NaN"), "num_filter is 'NaN'"),
    "a number beyond any": (conv(num_filter="9" * 5000), "num_filter is '9999"),
    "other digits": (conv(num_filter="٣"), "num_filter"),
    "text": (conv(kernel="three"), "kernel is 'three'"),
    "a stride of one number": (conv(stride="(2,)"), "stride is '\\(2,\\)', 1 numbers, but its kernel has 2"),
    "four sides": (conv(kernel="(1, 1, 1, 1)"), "kernel .* expected 1 to 3 numbers"),
    "a flag that is none": (conv(no_bias="perhaps"), "no_bias is 'perhaps'; expected True or False"),
    "a far offset": (
        text(variable("a"), variable("b"), node("Crop", [(0, 0), (1, 0)], attrs={"offset": "(100000, 0)"})),
        r"node 'x' \(Crop\): offset is '\(100000, 0\)'",
    ),
    "an offset of one number": (
        text(variable("a"), variable("b"), node("Crop", [(0, 0), (1, 0)], attrs={"offset": "5"})),
        "expected two numbers",
    ),
    "a shape below": (text(variable("a", __shape__="(1, -7)")), "__shape__ is"),
    "a type out of range": (text(variable("a", __dtype__="99")), "__dtype__ is '99'"),
    "sparse storage": (text(variable("a", __storage_type__="2")), "__storage_type__ is '2'"),
    "a fusion without its graph": (one("_sg_mkldnn_conv"), "its inner graph has nothing"),
    "a fusion of something else": (fused(RELU), "has Convolution, Activation, where its settings say conv"),
    "a fusion that claims more": (fused(with_sum="true"), "where its settings say conv, sum"),
    "a fusion of another operator": (
        fused(node("_Native", [(2, 0)]), with_act="true"),
        "has Convolution, _Native",
    ),
    "a fusion with wrong settings": (
        fused(RELU, with_act="true").replace('"num_filter": "4"', '"num_filter": "0"'),
        "num_filter is '0'",
    ),
    "a fusion with few inputs": (
        fused(RELU, with_act="true", quantized="true"),
        "number of inputs is 2; expected 4",
    ),
    "a control character": (text(variable("a\x1b[2J")), "its name cannot be printed"),
    "a name without end": (text(variable("a" * 1000)), "has more than 500 characters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_mxnet_must_not_see_is_refused_with_its_node(case):
    given, words = REFUSED[case]
    with pytest.raises(FCNXSError, match=words) as raised:
        loadable(given)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "given", [conv(), one("relu"), one("identity"), fused(), fused(RELU, with_relu="true"), conv("param")]
)
def test_their_sound_twins_load(given):
    assert load(given).list_outputs()


def test_more_nodes_than_20000_are_refused():
    def chain(length):
        return text(variable("data"), *(node("relu", [(i, 0)], f"r{i}") for i in range(length)))

    loadable(chain(19_999))
    with pytest.raises(FCNXSError, match="the graph has 20001 nodes; expected at most 20000"):
        loadable(chain(20_000))


def test_what_was_not_read_does_not_reach_mxnet():
    """Lists of variables and rows, dependencies and keys of compiled graphs are written anew, or not at all."""
    symbol = NETS["fcn8s"](width=WIDTH, fc=FC)
    content = json.loads(symbol.tojson())
    content.update(arg_nodes=[99_999], node_row_ptr=[7], attrs={"storage_id": ["list_int", [1 << 40]]})
    for each in content["nodes"]:
        each.update(control_deps=[1 << 40], backward_source_id=-5)
    assert load(json.dumps(content)).tojson() == symbol.tojson()
    twice = json.dumps(content).replace('"op": "Pooling"', '"op": "_Native", "op": "Pooling"')
    assert json.loads(loadable(twice)) == json.loads(loadable(json.dumps(content)))


@pytest.mark.parametrize("net", NETS)
def test_every_net_is_allowed_and_unchanged(net):
    written = NETS[net]().tojson()
    assert load(written).tojson() == written


def test_the_table_is_of_operators_that_mxnet_has():
    """Each with the number of inputs that MXNet says, and each other name stands for the same operator."""
    for op in (op for number, ops in BY_INPUTS.items() for op in ops if number is not None):
        names = re.findall(
            r"^(\w+) : (?:NDArray|Symbol)\b", getattr(mx.sym, op, mx.sym.relu).__doc__ or "", re.M
        )
        if hasattr(mx.sym, op) and op not in ("LRN", "log_softmax"):
            assert len({*names} - {"length"}) == INPUTS[op], (op, names)
    for alias, op in ALIASES.items():
        assert op in INPUTS and alias not in INPUTS


def test_an_operator_can_be_added_on_purpose(tmp_path):
    symbol = mx.sym.sin(mx.sym.Variable("data"), name="wave")
    file = tmp_path / "net-symbol.json"
    symbol.save(str(file))
    with pytest.raises(FCNXSError, match=r"net-symbol.json: node 'wave' \(sin\).*--allow-operator sin"):
        checkpoint.load_symbol(file)
    assert checkpoint.load_symbol(file, operators=["sin"]).tojson() == symbol.tojson()
    assert checkpoint.read_symbol(file, operators=("sin",)).symbol.tojson() == symbol.tojson()


def test_a_symbol_of_python_is_not_checked():
    assert Graph.of(mx.sym.sin(mx.sym.Variable("data"))).ops == ["null", "sin"]


def test_a_file_of_any_size_is_not_read_whole(tmp_path):
    file = tmp_path / "net-symbol.json"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FCNXSError, match="net-symbol.json: not a symbol JSON: it has more than 32 MB"):
        checkpoint.load_symbol(file)
