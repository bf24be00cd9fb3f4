"""The ncnn form: the structure of its files, and what ncnn computes from them."""

import builtins
import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.deploy import compare
from fcnxs.deploy.compare import ExportMismatch
from fcnxs.deploy.form import Form, with_ends
from fcnxs.deploy.ncnn_file import write_ncnn
from fcnxs.deploy.write import export
from fcnxs.net import Net, scores_of
from fcnxs.predict.forward import trim
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.interpolation import bilinear
from fcnxs.system.files import sha256_of

ROOT = Path(__file__).parent.parent.parent
MEAN = (120.0, 110.0, 100.0)
pytestmark = pytest.mark.usefixtures("in_process")


def make(folder, name="fcn8s", upsampling="trained", **options):
    """A checkpoint of 5 classes, whose upsampling is random or, in all deconvolutions, bilinear."""
    symbol = NETS[name](5, width=WIDTH, fc=FC, **options)
    params = random_params(symbol, 3)
    for weight in params.values():
        if upsampling == "bilinear" and weight.shape[:2] == (5, 5):
            weight[:] = bilinear(weight.shape)
    meta = Meta([f"c{i}" for i in range(5)], [[i, i, i] for i in range(5)], MEAN)
    checkpoint.save(folder / name, 0, symbol, params, {}, meta)
    return checkpoint.load(folder / name, 0)


def scores(source, image):
    """Of the checkpoint, by MXNet, (C, H, W), for an image, RGB uint8 (H, W, 3)."""
    return scores_of(Net(scores_symbol(source.symbol), source.arg_params, {}), centred(image)[np.newaxis])[0]


def centred(image):
    return (image - np.float32(MEAN)).transpose(2, 0, 1).astype(np.float32)


def computed(prefix, data, output, name="data"):
    """By ncnn, for data (3, H, W)."""
    ncnn = pytest.importorskip("ncnn")
    net, data = ncnn.Net(), np.ascontiguousarray(data, np.float32)
    assert net.load_param(f"{prefix}.param") == 0 and net.load_model(f"{prefix}.bin") == 0
    extractor = net.create_extractor()
    extractor.input(name, ncnn.Mat(data))
    failed, result = extractor.extract(output)
    assert failed == 0
    return np.array(result)


def read(file):
    """Layers of a .param file: (type, name, inputs, outputs, settings)."""
    magic, counts, *lines = file.read_text().splitlines()
    assert magic == "7767517"
    layers = []
    for line in lines:
        kind, name, inputs, outputs, *rest = line.split()
        ends = int(inputs), int(inputs) + int(outputs)
        settings = dict(each.split("=") for each in rest[ends[1] :])
        layers.append((kind, name, rest[: ends[0]], rest[ends[0] : ends[1]], settings))
    assert counts == f"{len(layers)} {sum(len(layer[3]) for layer in layers)}"
    return layers


def floats(kind, settings):
    """How many numbers of 4 bytes ncnn reads for a layer."""

    def value(number):
        return int(float(settings.get(number, 0)))

    if kind.startswith(("Convolution", "Deconvolution")):
        return 1 + value("6") + value("5") * value("0")
    if kind == "MemoryData":
        return prod(map(value, "012"))
    return {"Padding": value("6"), "Scale": (1 + value("1")) * value("0")}.get(kind, 0)


@pytest.mark.parametrize("form", [Form("ncnn"), Form("ncnn", "argmax", (56, 64), raw="uint8", trimmed=True)])
def test_each_output_is_read_once_and_the_weights_are_as_long_as_the_layers_say(form, tmp_path):
    source = make(tmp_path, "fcn8s_atonce")
    net = Net(scores_symbol(source.symbol), source.arg_params, {})
    net = trim(net, (1, 3, *form.size), bilinear=()) if form.trimmed else net
    write_ncnn(with_ends(net, form, MEAN), form, tmp_path / "net.param", tmp_path / "net.bin")
    layers, known, left = read(tmp_path / "net.param"), set(), set()
    for _, _, inputs, outputs, _ in layers:
        assert left.issuperset(inputs) and known.isdisjoint(outputs)
        left = (left - {*inputs}) | {*outputs}
        known |= {*outputs}
    assert left == {*form.outputs}
    assert len({layer[1] for layer in layers}) == len(layers)
    size = sum(floats(kind, settings) for kind, *_, settings in layers)
    assert (tmp_path / "net.bin").stat().st_size == 4 * size
    (convolution,) = (layer for layer in layers if layer[1] == "conv2_1")
    assert convolution[4]["9"] == "1"  # its ReLU is part of it
    assert ("conv2_1_border" in known) == form.trimmed


@pytest.mark.parametrize("upsampling", ["trained", "bilinear"])
@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("fcn32s", "valid"),
        ("fcn16s", "full"),
        ("fcn8s", "valid"),
        ("fcn8s", "full"),
        ("fcn8s_atonce", "valid"),
        ("fcn_alexnet", "valid"),
        ("fcn_alexnet", "full"),
        ("fcn2s", "full"),
    ],
)
def test_every_net_at_every_size(name, pooling, upsampling, tmp_path):
    pytest.importorskip("ncnn")
    source = make(tmp_path, name, upsampling, pooling_convention=pooling)
    report = export(source, tmp_path / "net", Form("ncnn", "logits"))
    assert all(each.difference <= 2e-5 * each.largest for each in report.compared)
    for height, width in ((47, 93), (66, 64)):
        image = photo(height, width)
        ours, theirs = computed(tmp_path / "net", centred(image), "scores_output"), scores(source, image)
        assert ours.shape == (5, height, width)
        assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("upsampling", ["trained", "bilinear"])
@pytest.mark.parametrize("name", ["fcn8s", "fcn32s", "fcn_alexnet"])
def test_a_trimmed_net_of_one_size(name, upsampling, tmp_path):
    pytest.importorskip("ncnn")
    source, image = make(tmp_path, name, upsampling), photo(65, 96)
    report = export(source, tmp_path / "net", Form("ncnn", size=(65, 96), trimmed=True))
    assert report.trimmed and [each.size for each in report.compared] == [(65, 96)] * 2
    expected = np.exp(scores(source, image).astype(np.float64))
    softmax = expected / expected.sum(0)
    np.testing.assert_allclose(computed(tmp_path / "net", centred(image), "softmax_output"), softmax, atol=2e-4)


def test_raw_images_in_and_class_maps_out(tmp_path):
    pytest.importorskip("ncnn")
    source, image = make(tmp_path), photo(45, 61)
    expected = scores(source, image).argmax(0)
    for raw, bgr in (("uint8", False), ("float32", True)):
        export(source, tmp_path / "net", Form("ncnn", "argmax", raw=raw, bgr=bgr))
        data = (image[..., ::-1] if bgr else image).transpose(2, 0, 1)
        np.testing.assert_array_equal(computed(tmp_path / "net", data, "class_map_output"), expected)
        described = json.loads((tmp_path / "net-ncnn.json").read_text())["export"]
        assert described["input"]["shape"] == [3, "H", "W"] and described["input"]["dtype"] == "float32"
        assert described["output"]["shape"] == ["H", "W"]


def test_pnnx_makes_the_same_scores_of_the_onnx_form(tmp_path):
    """A second opinion: by ncnn's own converter, for one size (`pip install --no-deps pnnx`)."""
    found = find_spec("pnnx")
    if found is None:
        pytest.skip("pnnx is not installed")
    source, image = make(tmp_path, upsampling="bilinear"), photo(64, 96)
    for format in ("onnx", "ncnn"):
        export(source, tmp_path / format, Form(format, "logits", (64, 96), trimmed=format == "ncnn"))
    command = [Path(found.origin).with_name("pnnx"), "onnx.onnx", "inputshape=[1,3,64,96]", "fp16=0"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    ours = computed(tmp_path / "ncnn", centred(image), "scores_output")
    theirs = computed(tmp_path / "onnx.ncnn", centred(image), "out0", "in0")
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max()


def test_the_cpp_program_of_the_readme(tmp_path, monkeypatch):
    """With a compiler and ncnn's headers and library; CPATH and LIBRARY_PATH name their folders to it."""
    headers = ["g++", "-fsyntax-only", "-include", "ncnn/net.h", "-xc++", "/dev/null"]
    if not shutil.which("g++") or subprocess.run(headers, capture_output=True).returncode:
        pytest.skip("no C++ compiler with ncnn's headers")
    monkeypatch.chdir(tmp_path)
    source, image = make(tmp_path), photo(45, 61)
    export(source, "deploy/fcn8s", Form("ncnn", "argmax", raw="uint8"))
    Image.fromarray(image).save("photo.ppm")
    (code,) = re.findall(r"```cpp\n(.*?)```", (ROOT / "tools/README.md").read_text(), re.S)
    Path("segment.cpp").write_text(code)
    subprocess.run(["g++", "segment.cpp", "-o", "segment", "-lncnn", "-fopenmp"], check=True)
    output = subprocess.run(["./segment"], check=True, capture_output=True).stdout
    classes = np.frombuffer(output, np.uint8).reshape(45, 61)
    np.testing.assert_array_equal(classes, scores(source, image).argmax(0))


def written(folder, symbol, params=None):
    """Write a graph that ends in scores, as a net of its own; returns the scores' file prefix."""
    net = Net(symbol, {name: mx.nd.array(array) for name, array in (params or {}).items()}, {})
    form = Form("ncnn", "logits")
    write_ncnn(with_ends(net, form, MEAN), form, folder / "net.param", folder / "net.bin")
    return folder / "net"


def test_layers_of_other_nets(tmp_path):
    """Groups, pads, dilations, strides that differ by axis, and names that ncnn could not read."""
    sym, rng = mx.sym, np.random.default_rng(0)
    x = sym.Convolution(
        sym.Variable("data"),
        kernel=(3, 5),
        pad=(2, 1),
        stride=(1, 2),
        dilate=(2, 1),
        num_filter=4,
        name="a b,c=é",
    )
    x = sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_group=2, num_filter=6, no_bias=True, name="a_b_c__")
    x = sym.Pooling(x, kernel=(3, 2), stride=(2, 1), pad=(1, 0), pool_type="max", name="pool")
    x = sym.elemwise_add(sym.Activation(x, act_type="relu"), x, name="twice")
    settings = {"kernel": (4, 3), "stride": (3, 2), "pad": (1, 0), "adj": (2, 1), "no_bias": False}
    x = sym.Deconvolution(x, num_filter=4, num_group=2, name="up", **settings)
    x = sym.slice(x, begin=(None, 1, 2, None), end=(None, None, 19, None), name="cut")
    shapes = dict(zip(x.list_arguments(), x.infer_shape(data=(1, 3, 20, 26))[0]))
    params = {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items() if name != "data"}
    data = rng.normal(0, 1, (3, 20, 26)).astype(np.float32)
    prefix = written(tmp_path, x, params)
    arrays = {name: mx.nd.array(array) for name, array in params.items()}
    expected = scores_of(Net(x, arrays, {}), data[np.newaxis])[0]
    np.testing.assert_allclose(computed(prefix, data, "scores_output"), expected, atol=1e-5)


def test_equal_scores_have_the_first_class(tmp_path):
    data, names = np.zeros((3, 2, 4), np.float32), ("net.param", "net.bin")
    data[:, 0] = [[1, 1, 0, 5], [1, 2, 0, 5 + 5e-7], [0, 2, 0, -5]]
    form = Form("ncnn", "argmax")
    net = with_ends(Net(mx.sym.identity(mx.sym.Variable("data")), {}, {}), form, MEAN)
    write_ncnn(net, form, *(tmp_path / name for name in names))
    expected = [[0, 1, 0, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(computed(tmp_path / "net", data, "class_map_output"), expected)


def test_a_layer_that_ncnn_cannot_compute_is_named(tmp_path):
    sym, data = mx.sym, mx.sym.Variable("data")
    for layer, why in (
        (sym.smooth_l1(data, name="odd"), r"'odd' \(smooth_l1\)"),
        (sym.Pooling(data, kernel=(2, 2), pool_type="avg", name="mean"), r"'mean' \(Pooling\).* pool_type=avg"),
        (sym.Activation(data, act_type="tanh", name="act"), r"'act' \(Activation\).* act_type=tanh"),
        (sym.Crop(data, data, center_crop=True, name="centre"), r"'centre' \(Crop\).* center_crop=True"),
        (sym.slice(data, begin=(None, None, -4), end=(None, None, None), name="last"), r"'last' \(slice\)"),
        (sym.Deconvolution(data, kernel=(2, 2), num_filter=3, target_shape=(9, 9), name="up"), "target_shape"),
    ):
        params = {"up_weight": np.ones((3, 3, 2, 2), np.float32)}
        with pytest.raises(FCNXSError, match=rf"^--format ncnn: layer .*{why}"):
            written(tmp_path, layer, params)
    assert not [*tmp_path.iterdir()]


def test_files_are_whole_known_as_an_export_and_say_how_to_use_them(tmp_path, monkeypatch):
    pytest.importorskip("ncnn")
    from fcnxs.deploy.own import refuse_to_replace

    source, files = make(tmp_path), [tmp_path / f"net{end}" for end in (".param", ".bin", "-ncnn.json")]
    with monkeypatch.context() as patch:
        patch.setattr(compare, "outputs_of", lambda net, images: [scores_of(net, images["data"])[..., ::-1]])
        with pytest.raises(ExportMismatch, match="differs from the checkpoint by"):
            export(source, tmp_path / "net", Form("ncnn"))
    assert not any(file.exists() for file in files)
    report = export(source, tmp_path / "net", Form("ncnn"))
    assert [*report.files] == [*map(str, files)]
    content = json.loads(files[2].read_text())
    assert content["checksums"] == {file.name: [sha256_of(file)] for file in files[:2]}
    assert content["versions"]["ncnn"] and content["export"]["compared"]["agreement"] == 1
    refuse_to_replace(str(tmp_path / "net"), "ncnn", overwrite=False)
    files[1].write_bytes(b"mine")
    with pytest.raises(FCNXSError, match=r"net\.bin: "):
        refuse_to_replace(str(tmp_path / "net"), "ncnn", overwrite=False)
    monkeypatch.setattr(compare, "find_spec", lambda name: None if name == "ncnn" else builtins)
    with pytest.raises(FCNXSError, match=r"needs ncnn: pip install '.\[ncnn\]'"):
        export(source, tmp_path / "net", Form("ncnn"))
