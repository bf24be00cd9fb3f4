"""The onnx form, in ONNX Runtime: sizes, heads, raw input, trimmed nets, and what the file says of itself."""

import builtins
import importlib.util
import json

import cv2
import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.deploy import compare
from fcnxs.deploy.compare import ExportMismatch
from fcnxs.deploy.form import Form
from fcnxs.deploy.write import export
from fcnxs.net import Net, scores_of
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.interpolation import bilinear
from fcnxs.system.files import sha256_of

MEAN = (120.0, 110.0, 100.0)
pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(compare, "SIZES", ((40, 56), (61, 33)))


def make(folder, name="fcn8s", **options):
    symbol = NETS[name](5, width=WIDTH, fc=FC, **options)
    meta = Meta([f"c{i}" for i in range(5)], [[i, i, i] for i in range(5)], MEAN)
    checkpoint.save(folder / name, 0, symbol, random_params(symbol, 3), {}, meta)
    return checkpoint.load(folder / name, 0)


def scores(source, images):
    """Of the checkpoint, by MXNet, for images, RGB uint8 (N, H, W, 3)."""
    data = (images.astype(np.float64) - MEAN).transpose(0, 3, 1, 2)
    return scores_of(Net(scores_symbol(source.symbol), source.arg_params, {}), data)


def session(file):
    import onnxruntime

    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("pooling", ["valid", "full"])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn_alexnet"])
def test_every_net_at_every_size(name, pooling, tmp_path):
    """In batches too; the input is the image alone, and its sizes have names."""
    source = make(tmp_path, name, pooling_convention=pooling)
    report = export(source, tmp_path / "net", Form(format="onnx", head="logits"))
    assert all(each.difference <= 1e-5 * each.largest for each in report.compared)
    net = session(tmp_path / "net.onnx")
    (data,), (output,) = net.get_inputs(), net.get_outputs()
    assert (data.name, data.shape, data.type) == ("data", ["N", 3, "H", "W"], "tensor(float)")
    assert (output.name, output.shape) == ("scores_output", ["N", "C", "H", "W"])
    rng = np.random.default_rng(0)
    for batch, height, width in ((1, 64, 64), (2, 47, 93), (1, 120, 65)):
        images = rng.integers(0, 256, (batch, height, width, 3)).astype(np.uint8)
        centred = (images - np.float32(MEAN)).transpose(0, 3, 1, 2).astype(np.float32)
        ours, theirs = net.run(None, {"data": centred})[0], scores(source, images)
        assert ours.shape == (batch, 5, height, width)
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def test_raw_images_in_and_class_maps_out(tmp_path):
    source, image = make(tmp_path), photo(45, 61)
    expected = scores(source, image[np.newaxis]).argmax(1)
    blue_last = image.transpose(2, 0, 1)[np.newaxis]
    for raw, bgr in (("uint8", False), ("float32", True)):
        export(source, tmp_path / "net", Form(format="onnx", head="argmax", raw=raw, bgr=bgr))
        net = session(tmp_path / "net.onnx")
        (data,), (output,) = net.get_inputs(), net.get_outputs()
        assert data.type == {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[raw]
        assert (output.name, output.shape) == ("class_map_output", ["N", "H", "W"])
        classes = net.run(None, {"data": (blue_last[:, ::-1] if bgr else blue_last).astype(raw)})[0]
        assert classes.dtype == np.uint8
        np.testing.assert_array_equal(classes, expected)


def _outputs(file, data):
    """Outputs of a file by the runtimes that are installed, by name."""
    net = cv2.dnn.readNetFromONNX(str(file))
    net.setInput(data)
    found = {"OpenCV": net.forward(), "ONNX Runtime": session(file).run(None, {"data": data})[0]}
    if importlib.util.find_spec("openvino"):
        import openvino

        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        found["OpenVINO"] = openvino.Core().compile_model(str(file), "CPU", exact)([data])[0]
    return found


@pytest.mark.parametrize("last", ["trained", "bilinear"])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn_alexnet"])
def test_a_trimmed_net_in_every_runtime(name, last, tmp_path):
    """Its layers compute no shapes, which OpenCV cannot do, and no 1x1 convolution has a pad (OpenCV 5.0)."""
    import onnx

    source, image = make(tmp_path, name), photo(64, 96)
    if last == "bilinear":
        weight = source.arg_params["bigscore_weight"]
        weight[:] = bilinear(weight.shape)
    form = Form(format="onnx", head="logits", size=(64, 96), trimmed=True)
    report = export(source, tmp_path / "net", form)
    assert report.trimmed and [each.size for each in report.compared] == [(64, 96)] * 2
    data = (image - np.float32(MEAN)).transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    expected = scores(source, image[np.newaxis])
    for runtime, found in _outputs(tmp_path / "net.onnx", data).items():
        assert found.shape == (1, 5, 64, 96), runtime
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), runtime
    nodes = onnx.load(str(tmp_path / "net.onnx")).graph.node
    assert not {"Shape", "Expand", "Reshape"} & {node.op_type for node in nodes}
    for settings in ({a.name: [*a.ints] for a in n.attribute} for n in nodes if n.op_type == "Conv"):
        assert settings["kernel_shape"] != [1, 1] or not any(settings.get("pads", ()))


def test_a_trimmed_net_takes_one_size_in_any_batch(tmp_path):
    source, images = make(tmp_path), np.stack([photo(64, 96), photo(64, 96, seed=1)])
    weight = source.arg_params["bigscore_weight"]
    weight[:] = bilinear(weight.shape)
    export(source, tmp_path / "net", Form(format="onnx", size=(64, 96), trimmed=True))
    net = session(tmp_path / "net.onnx")
    assert net.get_inputs()[0].shape == ["N", 3, 64, 96]
    assert net.get_outputs()[0].shape == ["N", 5, 64, 96]  # the runtime knows the classes
    data = (images - np.float32(MEAN)).transpose(0, 3, 1, 2).astype(np.float32)
    expected = np.exp(scores(source, images).astype(np.float64))
    softmax = expected / expected.sum(1, keepdims=True)
    np.testing.assert_allclose(net.run(None, {"data": data})[0], softmax, atol=1e-4)
    with pytest.raises(Exception, match="Got invalid dimensions for input: data"):
        net.run(None, {"data": data[:, :, :, :80]})


def test_the_file_and_the_json_beside_it_say_how_to_use_it(tmp_path):
    import onnx

    source = make(tmp_path)
    report = export(source, tmp_path / "net", Form(format="onnx", raw="uint8"))
    assert list(report.files) == [str(tmp_path / "net.onnx"), str(tmp_path / "net.json")]
    beside = json.loads((tmp_path / "net.json").read_text())
    model = onnx.load(str(tmp_path / "net.onnx"))
    inside = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    for key in ("classes", "palette", "mean", "source", "versions"):
        assert inside[key] == beside[key]
    assert beside["classes"] == source.meta.classes and beside["mean"] == [0, 0, 0]
    assert inside["export"] == {key: each for key, each in beside["export"].items() if key != "compared"}
    assert inside["export"]["input"]["mean_folded"] == list(MEAN)
    assert beside["source"] == checkpoint.source_of(source.params_file)
    assert beside["checksums"] == {"net.onnx": [sha256_of(tmp_path / "net.onnx")]}
    assert set(beside["versions"]) >= {"onnx", "onnxruntime", "mxnet"}
    assert beside["export"]["compared"]["agreement"] == 1


def test_a_mismatch_and_a_missing_package_leave_nothing(tmp_path, monkeypatch):
    source = make(tmp_path)
    (tmp_path / "net.onnx").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(compare, "outputs_of", lambda net, images: [scores_of(net, images["data"])[..., ::-1]])
        with pytest.raises(ExportMismatch, match="differs from the checkpoint by"):
            export(source, tmp_path / "net", Form(format="onnx"))
    assert (tmp_path / "net.onnx").read_text() == "old" and not (tmp_path / "net.json").exists()
    monkeypatch.setattr(compare, "find_spec", lambda name: None if name == "onnxruntime" else builtins)
    with pytest.raises(FCNXSError, match=r"needs onnxruntime: pip install '.\[onnx\]'"):
        export(source, tmp_path / "net", Form(format="onnx"))


def test_an_operator_that_the_converter_does_not_know_is_named(tmp_path):
    source = make(tmp_path)
    x = source.symbol.get_children()[0]
    strange = mx.sym.SoftmaxOutput(mx.sym.contrib.div_sqrt_dim(mx.sym.smooth_l1(x)), name="softmax")
    source.symbol = strange
    with pytest.raises(FCNXSError, match="ONNX converter cannot convert this net: .*smooth_l1"):
        export(source, tmp_path / "net", Form(format="onnx"))
    assert not (tmp_path / "net.onnx").exists()
