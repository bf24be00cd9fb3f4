"""Sizes and rows, each against something that does not share their code."""

import re
from fractions import Fraction
from math import ceil, floor, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnxs import FCNXSError, symbols
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.graph.layer_sizes import Size
from fcnxs.symbols.graph.nodes import Graph

NETS = [(name, convention) for name in symbols.NETS for convention in ("valid", "full")]
FCNS = [(name, convention) for name, convention in NETS if "fcn" in name]


def build(name, convention):
    return symbols.NETS[name](pooling_convention=convention)


def value(formula, height):
    """Read a formula as a person does: exact fractions, and floor and ceil where it says so."""
    expression = re.sub(r"(\d) (floor|ceil|H)", r"\1 * \2", formula)
    return eval(expression, {"H": Fraction(height), "floor": floor, "ceil": ceil})


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(-300, 300)),
        st.tuples(st.just("multiply"), st.integers(0, 8)),
        st.tuples(st.sampled_from(["floor", "ceil"]), st.integers(1, 8)),
    ),
    max_size=8,
)


@given(steps, st.integers(0, 1000))
def test_a_formula_and_its_text_have_the_value_of_the_steps_in_turn(operations, height):
    size, number = Size(), height
    for what, operand in operations:
        if what == "add":
            size, number = size + operand, number + operand
        elif what == "multiply":
            size, number = size * operand, number * operand
        else:
            size = size.divided(operand, up=what == "ceil")
            number = {"floor": floor, "ceil": ceil}[what](Fraction(number, operand))
    assert size.value(height) == number == value(str(size), height)


@given(steps, st.integers(0, 1000), st.integers(0, 1000))
def test_a_size_grows_by_the_same_number_over_each_period(operations, height, other):
    size = Size()
    for what, operand in operations:
        if what == "add":
            size = size + operand
        elif what == "multiply":
            size = size * operand
        else:
            size = size.divided(operand, up=what == "ceil")
    grown = [size.value(n + size.period) - size.value(n) for n in (height, other)]
    assert grown[0] == grown[1]


def test_formulas_are_as_simple_as_they_can_be():
    pool3 = (Size() + 198).divided(2).divided(2).divided(2)
    score = pool3.divided(4) - 6
    assert [str(pool3), str(score)] == ["floor((H + 198)/8)", "floor((H + 6)/32)"]
    assert str(score * 32 + 63) == "32 floor((H + 6)/32) + 63"
    assert str((score * 32 + 63).divided(16)) == "2 floor((H + 6)/32) + 3"
    assert str(Size().divided(2, up=True).divided(2)) == "floor(ceil(H/2)/2)"
    assert [str(Size() * 3 - 1), str((Size() * 4 + 8).divided(4)), str(Size() * 0 + 7)] == [
        "3 H - 1",
        "H + 2",
        "7",
    ]
    assert (Size() - 3).text("W") == "W - 3"


@given(
    st.sampled_from(["Convolution", "valid", "full", "Deconvolution", "UpSampling"]),
    st.tuples(st.integers(1, 7), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3)),
    st.integers(1, 40),
)
def test_every_kind_of_layer_has_the_size_that_mxnet_infers(kind, numbers, height):
    kernel, stride, pad, dilate = numbers
    settings = {key: (value, value) for key, value in zip(("kernel", "stride", "pad"), numbers)}
    data = mx.sym.Variable("data")
    if kind in ("valid", "full"):
        settings["pad"] = (min(pad, kernel - 1),) * 2  # MXNet's condition
        x = mx.sym.Pooling(data, pooling_convention=kind, **settings)
    elif kind == "UpSampling":
        x = mx.sym.UpSampling(data, scale=stride, sample_type="nearest")
    else:
        settings.update(
            dilate=(dilate, dilate), **({"adj": (stride - 1,) * 2} if kind == "Deconvolution" else {})
        )
        x = getattr(mx.sym, kind)(data, num_filter=1, **settings)
    try:
        _, ((_, _, rows, _),), _ = x.infer_shape_partial(data=(1, 3, height, 40))
    except mx.MXNetError:
        rows = 0
    if rows > 0:
        (row,) = symbols.describe(x, (height, 40))
        assert value(row.formula, height) == rows == row.shape[2]
    else:
        with pytest.raises(FCNXSError, match=f"image of {height} rows and 40 columns does not fit"):
            symbols.describe(x, (height, 40))


@pytest.mark.parametrize(("name", "convention"), NETS)
def test_rows_are_what_mxnet_infers_at_every_size(name, convention):
    symbol = build(name, convention)
    internals = symbol.get_internals()
    rows = symbols.describe(symbol, (230, 250))
    assert len(rows) == sum(output.endswith("_output") for output in internals.list_outputs())
    least = symbols.smallest_input(symbol)[0]
    images = Graph.of(symbol).image_shapes
    for height in (230, *range(least, least + 33)):
        _, shapes, _ = internals.infer_shape(**images((height, 250)))
        shapes = dict(zip(internals.list_outputs(), shapes))
        for row in rows:
            if row.formula is not None:
                assert value(row.formula, height) == shapes[f"{row.name}_output"][2], (row.name, height)
            if height == 230:
                assert row.shape == shapes[f"{row.name}_output"], row.name
    sized = [row.name for row in rows if row.formula is not None]
    trunk = {"pool3hha", "conv5_3color"} if "hha" in name else {"pool3", "conv5_3"}
    assert trunk < set(sized) or "alexnet" in name
    assert {end.removesuffix("_output") for end in symbol.list_outputs()} <= set(sized) or name in (
        "vgg16",
        "vgg16fc",
        "alexnetfc",
        "mask_regression",
    )


@pytest.mark.parametrize("name", symbols.NETS)
def test_parameters_are_those_of_the_arguments(name):
    symbol = symbols.NETS[name]()
    images = Graph.of(symbol).image_shapes((224, 224))
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(**images)[0]))
    for row in symbols.describe(symbol, (224, 224)):
        own = [shapes.pop(f"{row.name}_{kind}", None) for kind in ("weight", "bias")]
        assert row.parameters == sum(prod(shape) for shape in own if shape), row.name
    assert all(name in images or name.endswith("label") for name in shapes)


def test_the_weights_of_the_regression_of_masks_are_counted_exactly():
    rows = {row.name: row for row in symbols.describe(symbols.get_mask_regression_symbol(), (224, 224))}
    assert rows["mask"].parameters == 8_631_877_632 + 21 * 64 * 64
    assert rows["relu5_3"].shape == (1, 512, 14, 14) and rows["masks"].shape == (1, 21, 64, 64)
    assert rows["mask"].formula is rows["mask"].map is rows["mask"].receptive_field is None
    assert rows["masks"].map is rows["euclidean"].map is rows["euclidean"].formula is None


def test_maps_are_those_of_coordinate_maps():
    symbol = symbols.get_fcn8s_symbol()
    rows, maps = symbols.describe(symbol, (64, 64)), symbols.coordinate_maps(symbol)
    assert all(row.map == maps[row.name] for row in rows)
    rows = {row.name: row for row in rows}
    assert rows["fc6"][5:9] == (7, 1, 0, (1, 3)) and rows["pool1"][5:9] == (2, 2, 0, (2, 0))
    assert rows["conv1_1"].own_map == (1, -99) and rows["score2"].own_map == symbols.inv_fp((2, 1))
    assert rows["relu1_1"].kernel is None and rows["relu1_1"].own_map == (1, 0)


@pytest.mark.parametrize(("name", "convention"), NETS)
def test_windows_adj_and_groups_give_sizes_and_weights(name, convention):
    """The formulas that `explain` prints, with the numbers of its table."""
    symbol = build(name, convention)
    images = Graph.of(symbol).image_shapes((230, 250))
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(**images)[0]))
    for axis in (0, 1):
        rows = {row.name: row for row in symbols.describe(symbol, (230, 250), axis)}
        nodes = {node["name"]: node for node in Graph.of(symbol).nodes}
        names = [node["name"] for node in Graph.of(symbol).nodes]
        for row in rows.values():
            before = rows.get(names[nodes[row.name]["inputs"][0][0]]) if row.kernel else None
            n = before.shape[2 + axis] if before else (230, 250)[axis]
            rounded = ceil if row.op == "Pooling" and convention == "full" else floor
            if row.op in ("Convolution", "Pooling"):
                made = rounded(Fraction(n + 2 * row.pad - row.kernel, row.stride)) + 1
                assert row.shape[2 + axis] == made and row.adj is None
            if row.op == "Deconvolution":
                made = row.stride * (n - 1) + row.kernel - 2 * row.pad + row.adj
                assert row.shape[2 + axis] == made and row.adj == (row.stride - 1) * (convention == "valid")
            if row.op == "Convolution":
                image = names[nodes[row.name]["inputs"][0][0]]
                channels = before.shape[1] if before else images[image][1]
                assert shapes[f"{row.name}_weight"][1] * row.group == channels
            assert (row.group is None) == (row.op not in ("Convolution", "Deconvolution"))


def test_names_that_occur_twice_stay_apart():
    """In the oldest version of the original example the activation relu5_2 is named conv1_2."""
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=4, name="conv1_2")
    x = mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
    x = mx.sym.Activation(x, act_type="relu", name="conv1_2")
    rows = symbols.describe(x, (9, 8))
    assert [(row.name, row.op, row.parameters, row.formula, row.shape) for row in rows] == [
        ("conv1_2", "Convolution", 112, "H", (1, 4, 9, 8)),
        ("pool", "Pooling", 0, "floor(H/2)", (1, 4, 4, 4)),
        ("conv1_2", "Activation", 0, "floor(H/2)", (1, 4, 4, 4)),
    ]


def test_rows_and_columns_have_formulas_and_maps_of_their_own():
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(
        data, kernel=(3, 5), pad=(1, 8), dilate=(1, 2), stride=(2, 1), num_filter=2, name="x"
    )
    (rows,), (columns,) = symbols.describe(x, (20, 30)), symbols.describe(x, (20, 30), axis=1)
    assert rows[3:9] == ("floor((H + 1)/2)", (1, 2, 10, 38), 3, 2, 1, (2, Fraction(-1, 2)))
    assert columns[3:9] == ("W + 8", (1, 2, 10, 38), 9, 1, 8, (1, -4))
    assert symbols.crop_derivations(symbols.crop(x.get_internals()["data"], data)) != []


def test_what_is_not_known_is_none_from_there_on():
    data = mx.sym.Variable("picture")
    x = mx.sym.Convolution(data, kernel=(3, 3), num_filter=2, no_bias=True, name="a")
    x = mx.sym.BatchNorm(
        mx.sym.broadcast_mul(x, mx.sym.Variable("scale", shape=(1, 2, 1, 1)), name="s"), name="n"
    )
    x = mx.sym.contrib.BilinearResize2D(x, height=7, width=9, name="r")
    x = mx.sym.Convolution(x, kernel=(3, 3), num_filter=4, name="b")
    x = mx.sym.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg", name="p")
    a, s, n, r, b, p = symbols.describe(x, (20, 30))
    assert [row.parameters for row in (a, s, n, r, b, p)] == [54, 2, 4, 0, 76, 0]  # no statistics of BatchNorm
    assert a.map == s.map == n.map == (1, 1) and r.map is b.map is p.map is r.own_map is None
    assert b.own_map == (1, 1) and b.receptive_field is None and a.formula == "H - 2"
    assert b.formula is None and b.shape == (1, 4, 5, 7) and p.kernel is None and p.shape == (1, 4, 1, 1)


def test_an_image_that_is_too_small_is_refused_with_the_smallest():
    symbol = symbols.get_fcn8s_symbol()
    with pytest.raises(
        FCNXSError, match="kernel of 7 columns and an input of 6; .* has 26 rows and 26 columns"
    ):
        symbols.describe(symbol, (300, 25))
    assert symbols.describe(symbol, (300, 26))[-1].shape == (1, 21, 300, 26)
    with pytest.raises(FCNXSError, match="no layer that takes an image"):
        symbols.describe(mx.sym.Variable("data"), (30, 30))
