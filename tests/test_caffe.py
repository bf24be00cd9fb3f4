import tracemalloc
from pathlib import Path

import caffe_prototxt
import cv2
import numpy as np
import pytest
from conftest import FC, WIDTH, random_vgg16

from fcnxs import FCNXSError
from fcnxs.caffe import _MESSAGES, FCN_MEAN, iterate_layers, read_vgg16, write_caffemodel
from fcnxs.compat import mxnet as mx
from fcnxs.symbols import get_vgg16_symbol


def fully_convolutional(blobs):
    """The same net as Caffe's FCNs have it: fc6 and fc7 are convolutions, fc8 is gone."""
    fc6, fc7 = blobs["fc6"], blobs["fc7"]
    rest = {name: arrays for name, arrays in blobs.items() if not name.startswith("fc")}
    fc6 = [fc6[0].reshape(FC, -1, 7, 7), fc6[1]]
    return {**rest, "fc6": fc6, "fc7": [fc7[0].reshape(FC, FC, 1, 1), fc7[1]]}


def run(symbol, params, data, ctx):
    args = {name: array.as_in_context(ctx) for name, array in params.items()}
    args["data"] = mx.nd.array(data, ctx)
    return symbol.bind(ctx, args, grad_req="null").forward(is_train=False)[0].asnumpy()


def run_opencv(prototxt, caffemodel, rgb, folder):
    (folder / "net.prototxt").write_text(prototxt)
    net = cv2.dnn.readNetFromCaffe(str(folder / "net.prototxt"), str(caffemodel))
    net.setInput(np.ascontiguousarray(rgb[:, ::-1]))  # Caffe's nets take BGR
    return net.forward()


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize("size", [(58, 90), (122, 26)])  # where Caffe's pooling rounds as the original's does
def test_trunk_equals_opencv_s_caffe_runtime(v1, size, tmp_path, ctx):
    blobs = fully_convolutional(random_vgg16(1))
    write_caffemodel(tmp_path / "net.caffemodel", blobs, v1)
    vgg16 = read_vgg16(tmp_path / "net.caffemodel")
    data = np.random.default_rng(0).normal(0, 50, (1, 3, *size)).astype(np.float32)
    prototxt = caffe_prototxt.vgg16(blobs, *size, pad=100, fully_convolutional=True)
    expected = run_opencv(prototxt, tmp_path / "net.caffemodel", data, tmp_path)
    ours = run(vgg16.symbol, vgg16.arg_params, data, ctx)
    assert ours.shape == expected.shape and expected.max() > 1
    np.testing.assert_allclose(ours, expected, atol=1e-5 * expected.max())


def test_classifier_s_inner_products_equal_opencv_s_caffe_runtime(tmp_path, ctx):
    """The Oxford file's kind: inner products on 224x224, here against the same convolutions."""
    blobs = random_vgg16(2)
    write_caffemodel(tmp_path / "net.caffemodel", blobs, v1=True)
    vgg16 = read_vgg16(tmp_path / "net.caffemodel")
    data = np.random.default_rng(0).normal(0, 50, (1, 3, 224, 224)).astype(np.float32)
    prototxt = caffe_prototxt.vgg16(blobs, 224, 224)
    expected = run_opencv(prototxt, tmp_path / "net.caffemodel", data, tmp_path)
    relu7 = get_vgg16_symbol(width=WIDTH, fc=FC).get_internals()["relu7_output"]
    ours = run(relu7, vgg16.arg_params, data, ctx)
    np.testing.assert_allclose(ours.reshape(1, -1), expected.reshape(1, -1), atol=1e-5 * expected.max())


@pytest.mark.parametrize("v1", [False, True])
def test_every_blob_and_every_parameter_is_accounted_for(v1, tmp_path):
    blobs = random_vgg16(3)
    write_caffemodel(tmp_path / "net.caffemodel", blobs, v1)
    vgg16 = read_vgg16(tmp_path / "net.caffemodel")
    params = {name: array.asnumpy() for name, array in vgg16.arg_params.items()}
    assert set(params) == set(vgg16.symbol.list_arguments()) - {"data"}
    for layer, (weight, bias) in blobs.items():
        if layer == "fc8":
            continue
        if layer == "conv1_1":
            weight = weight[:, ::-1]
        np.testing.assert_array_equal(params[f"{layer}_weight"].reshape(weight.shape), weight)
        np.testing.assert_array_equal(params[f"{layer}_bias"], bias)
    assert params["fc6_weight"].shape == (FC, 32, 7, 7) and params["fc7_weight"].shape == (FC, FC, 1, 1)
    assert len(vgg16.fates) == 32
    made = [fate.parameter.split()[0] for fate in vgg16.fates if fate.parameter]
    assert sorted(made) == sorted(params)
    assert [fate.blob.split()[0] for fate in vgg16.fates if not fate.parameter] == ["fc8[0]", "fc8[1]"]
    assert vgg16.fates[0].what == "copied, BGR to RGB" and "dropped" in vgg16.fates[-1].what
    assert vgg16.mean == (123.68, 116.779, 103.939)


def test_trunk_of_an_fcn_keeps_that_net_s_mean(tmp_path):
    blobs = fully_convolutional(random_vgg16(3))
    blobs["score_fr"] = [np.zeros((21, FC, 1, 1)), np.zeros(21)]
    blobs["upscore"] = [np.zeros((21, 21, 64, 64))]
    write_caffemodel(tmp_path / "net.caffemodel", blobs)
    vgg16 = read_vgg16(tmp_path / "net.caffemodel")
    assert vgg16.mean == FCN_MEAN == (122.67892, 116.66877, 104.00699)
    assert [fate.blob for fate in vgg16.fates if not fate.parameter] == [
        "score_fr[0] (21, 16, 1, 1)",
        "score_fr[1] (21,)",
        "upscore[0] (21, 21, 64, 64)",
    ]


def change(blobs, layer, index, array):
    arrays = list(blobs[layer])
    arrays[index] = array
    return {**blobs, layer: arrays}


NAN = random_vgg16()["conv3_2"][0].copy()
NAN[1, 2, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda b: {k: v for k, v in b.items() if k != "conv3_2"}, "layers conv3_2 of VGG-16 are not in"),
        (
            lambda b: change(b, "conv3_2", 0, NAN),
            r"conv3_2\[0\] \(16, 16, 3, 3\) holds values that are not finite",
        ),
        (lambda b: change(b, "fc8", 0, b["fc8"][0] * np.nan), r"fc8\[0\] \(7, 16\) holds values that are not"),
        (lambda b: change(b, "fc7", 1, np.array([np.inf] * FC)), r"fc7\[1\] \(16,\) holds values that are not"),
        (lambda b: change(b, "fc6", 0, b["fc6"][0][:, :-1]), r"fc6\[0\] \(16, 1567\) .*wrong shapes for a 7x7"),
        (
            lambda b: change(b, "conv2_1", 0, b["conv2_1"][0][..., :2]),
            r"conv2_1\[0\] \(8, 4, 3, 2\) .*wrong shapes",
        ),
        (
            lambda b: change(b, "conv2_1", 0, b["conv2_1"][0][:, :2]),
            r"conv2_1_weight has shape \(8, 2, 3, 3\).*needs",
        ),
        (lambda b: change(b, "conv5_1", 1, b["conv5_1"][1][:5]), r"conv5_1\[1\] \(5,\): wrong shapes"),
        (lambda b: {**b, "conv1_2": b["conv1_2"][:1]}, "layer conv1_2 has 1 blobs"),
    ],
)
def test_a_damaged_net_is_refused_by_the_layer_s_name(broken, message, tmp_path):
    file = tmp_path / "net.caffemodel"
    write_caffemodel(file, broken(random_vgg16()))
    with pytest.raises(FCNXSError, match=f"net.caffemodel: .*{message}"):
        read_vgg16(file)


def test_a_file_cut_off_anywhere_is_refused(caffemodel, tmp_path):
    content, file = caffemodel.read_bytes(), tmp_path / "cut.caffemodel"
    for length in [0, 1, 2, 5, 100, *np.random.default_rng(0).integers(0, len(content), 60)]:
        file.write_bytes(content[:length])
        with pytest.raises(FCNXSError, match="cut.caffemodel"):
            read_vgg16(file)


@pytest.mark.parametrize(
    "content", [b"not a caffemodel", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(50), b"{}" * 99]
)
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(FCNXSError, match="other: (not a caffemodel|layers conv1_1)"):
        read_vgg16(tmp_path / "other")
    with pytest.raises(FCNXSError, match="nix: cannot read this caffemodel: No such file"):
        read_vgg16(tmp_path / "nix")
    with pytest.raises(FCNXSError, match="Is a directory"):
        read_vgg16(tmp_path)


def test_a_declared_size_is_not_believed(tmp_path):
    """A layer that says it has 2**60 bytes, and a blob that says it has 2**40 values."""
    file = tmp_path / "bomb"
    file.write_bytes(b"\xa2\x06" + b"\x80" * 8 + b"\x10" + bytes(50))
    tracemalloc.start()
    with pytest.raises(FCNXSError, match="bomb: not a caffemodel, or cut off"):
        read_vgg16(file)
    net = _MESSAGES["NetParameter"]()
    blob = net.layer.add(name="conv1_1").blobs.add(data=[bytes(4)])
    blob.shape.dim.extend([2**40])
    file.write_bytes(net.SerializeToString())
    with pytest.raises(FCNXSError, match=r"'conv1_1' declares shape \(1099511627776,\), but holds 4 bytes"):
        read_vgg16(file)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_layers_are_read_one_at_a_time(caffemodel: Path):
    layers = iterate_layers(caffemodel)
    name, arrays = next(layers)
    assert name == "conv1_1" and [array.shape for array in arrays] == [(4, 3, 3, 3), (4,)]
    layers.close()
