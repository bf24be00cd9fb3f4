import numpy as np
import pytest
from conftest import FC, WIDTH, as_checkpoint, photo, random_vgg16
from PIL import Image

from fcnxs import FCNXSError, checkpoint
from fcnxs.convert.arrays import FCN_MEAN
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import verify
from fcnxs.predict import Segmenter
from fcnxs.tools.benchmarks.parity import FCNS, random_blobs
from fcnxs.tools.main import main

ONE_HEAD = [net for net in FCNS if net.startswith("fcn")]  # the others: test_published_nets.py


def changed(blobs, layer, index, array):
    arrays = list(blobs[layer])
    arrays[index] = array
    return {**blobs, layer: arrays}


@pytest.mark.parametrize("v1", [False, True])
def test_every_blob_and_every_parameter_is_accounted_for(v1, tmp_path):
    blobs = random_vgg16(3)
    write_caffemodel(tmp_path / "net.caffemodel", blobs, v1)
    vgg16 = read(tmp_path / "net.caffemodel")
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
    assert vgg16.net == "vgg16fc" and vgg16.mean == (123.68, 116.779, 103.939)
    np.testing.assert_array_equal(vgg16.classifier["fc8_weight"].asnumpy().reshape(7, FC), blobs["fc8"][0])


@pytest.mark.parametrize("v1", [False, True])
def test_vgg_16_equals_opencv_s_caffe_runtime(v1, tmp_path):
    write_caffemodel(tmp_path / "net.caffemodel", random_vgg16(1), v1)
    vgg16 = read(tmp_path / "net.caffemodel")
    result = verify(tmp_path / "net.caffemodel", vgg16, as_checkpoint(vgg16, tmp_path), photo())
    assert result.equal and result.shape == (1, 7, 1, 1) and result.largest > 0.1
    blobs = random_vgg16(1)
    del blobs["fc8"]  # then relu7 is compared
    write_caffemodel(tmp_path / "net.caffemodel", blobs, v1)
    vgg16 = read(tmp_path / "net.caffemodel")
    result = verify(tmp_path / "net.caffemodel", vgg16, as_checkpoint(vgg16, tmp_path), photo())
    assert result.equal and result.shape == (1, FC, 1, 1) and result.largest > 0.1


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("net", ONE_HEAD)
def test_an_fcn_of_caffe_is_told_by_its_layers_and_used_at_once(net, fcn, tmp_path, voc, capsys):
    """For 5 classes: convert, evaluate, segment and export, with nothing between them."""
    file = fcn(net)
    write_caffemodel(file, random_blobs(net, WIDTH, FC, 5), v1=True)
    prefix, image = str(tmp_path / "fcn"), str(tmp_path / "photo.png")
    Image.fromarray(photo()).save(image)
    assert main(["convert", str(file), prefix, "--verify", image]) == 0
    told = capsys.readouterr().out
    assert "5 classes" in told and "OpenCV runs the source" in told and "agree on 100.0000% of" in told
    loaded = checkpoint.load(prefix, 0)
    assert loaded.meta.mean == FCN_MEAN and loaded.meta.classes == [f"class {i}" for i in range(5)]
    assert len(loaded.meta.palette) == 5
    at = ["--prefix", prefix, "--epoch", "0"]
    assert main(["evaluate", *at, "--data", str(voc)]) == 0
    assert main(["segment", *at, image, "--output", str(tmp_path / "masks")]) == 0
    assert main(["export", *at, "--output", str(tmp_path / "deploy")]) == 0
    mask = np.asarray(Image.open(tmp_path / "masks" / "photo.png"))
    np.testing.assert_array_equal(mask, Segmenter(loaded)(photo()))
    assert len(np.unique(mask)) > 1


def test_an_fcn_for_21_classes_has_voc_s_names(tmp_path, capsys):
    write_caffemodel(tmp_path / "net", random_blobs("fcn32s", WIDTH, FC, 21))
    assert main(["convert", str(tmp_path / "net"), str(tmp_path / "fcn")]) == 0, capsys.readouterr().err
    assert checkpoint.load(tmp_path / "fcn", 0).meta.classes[:3] == ["background", "aeroplane", "bicycle"]


def test_pooling_rounds_up_for_fcns_and_down_for_vgg_16_unless_told(fcn, caffemodel):
    def convention(converted):
        return {'"pooling_convention": "full"' in converted.symbol.tojson()}

    assert convention(read(fcn("fcn16s"))) == {True}
    assert convention(read(fcn("fcn16s"), pooling_convention="valid")) == {False}
    assert convention(read(caffemodel)) == {False}
    assert convention(read(caffemodel, pooling_convention="full")) == {True}


def test_deconvolutions_of_single_channels_are_made_dense(fcn, tmp_path):
    def channelwise(blobs):
        return {
            name: [np.stack([a[i, i][None] for i in range(7)])] if name.startswith("upscore") else [a, *rest]
            for name, (a, *rest) in blobs.items()
        }

    file = fcn("fcn8s", channelwise)
    converted = read(file)
    weight = converted.arg_params["bigscore_weight"].asnumpy()
    assert weight.shape == (7, 7, 16, 16) and not weight[~np.eye(7, dtype=bool)].any()
    assert verify(file, converted, as_checkpoint(converted, file), photo()).equal


def test_trunk_of_an_fcn_keeps_that_net_s_mean(fcn):
    vgg16 = read(fcn("fcn32s"), trunk=True)
    assert vgg16.net == "vgg16fc" and vgg16.numclass is None
    assert set(vgg16.arg_params) == set(vgg16.symbol.list_arguments()) - {"data"}
    assert vgg16.mean == FCN_MEAN == (122.67892, 116.66877, 104.00699)
    assert [fate.blob for fate in vgg16.fates if not fate.parameter] == [
        "score_fr[0] (7, 16, 1, 1)",
        "score_fr[1] (7,)",
        "upscore[0] (7, 7, 64, 64)",
    ]


NAN = random_vgg16()["conv3_2"][0].copy()
NAN[1, 2, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda b: {k: v for k, v in b.items() if k != "conv3_2"}, "layers conv3_2 of VGG-16 are missing or"),
        (lambda b: changed(b, "conv3_2", 0, NAN), r"conv3_2\[0\] \(16, 16, 3, 3\) holds values that are not"),
        (lambda b: changed(b, "fc8", 0, b["fc8"][0] * np.nan), r"fc8\[0\] \(7, 16\) holds values that are not"),
        (
            lambda b: changed(b, "fc7", 1, np.array([np.inf] * FC)),
            r"fc7\[1\] \(16,\) holds values that are not",
        ),
        (lambda b: changed(b, "fc6", 0, b["fc6"][0][:, :-1]), r"fc6\[0\] \(16, 1567\) has the wrong shape"),
        (
            lambda b: changed(b, "conv2_1", 0, b["conv2_1"][0][..., :2]),
            r"conv2_1\[0\] \(8, 4, 3, 2\) has the wrong shape .* needs \(8, 4, 3, 3\)",
        ),
        (
            lambda b: changed(b, "conv1_1", 1, np.zeros(5)),
            r"conv1_1\[0\] .*wrong shape .* needs \(5, 3, 3, 3\)",
        ),
        (lambda b: changed(b, "conv1_1", 1, np.zeros(0)), "conv1_1 or fc6 has no channels"),
        (lambda b: changed(b, "conv5_1", 1, b["conv5_1"][1][:5]), r"conv5_1\[1\] \(5,\) has the wrong shape"),
        (lambda b: {**b, "conv1_2": b["conv1_2"][:1]}, "layers conv1_2 of VGG-16 are missing or incomplete"),
        (
            lambda b: {**b, "conv1_2": [*b["conv1_2"], np.ones(3)]},
            r"no parameter for conv1_2\[2\] \(3,\)",
        ),
        (lambda b: {**b, "score_fr": b["fc8"]}, "layers bigscore of FCN-32s are missing"),
        (
            lambda b: {f"{k}x": v for k, v in b.items()},
            "neither VGG-16 nor one of the FCNs: .* conv1_1x, conv1_2x",
        ),
    ],
)
def test_a_damaged_net_is_refused_by_the_layer_s_name(broken, message, tmp_path):
    file = tmp_path / "net.caffemodel"
    write_caffemodel(file, broken(random_vgg16()))
    with pytest.raises(FCNXSError, match=f"net.caffemodel: .*{message}"):
        read(file)


def without(layer):
    return lambda blobs: {name: arrays for name, arrays in blobs.items() if name != layer}


@pytest.mark.parametrize(
    ("net", "broken", "message"),
    [
        (
            "fcn8s_atonce",
            lambda b: changed(b, "scale_pool3", 0, b["scale_pool3"][0] * 2),
            "scale_pool3 multiplies by 0.0002, but the net by 0.0001",
        ),
        (
            "fcn16s",
            lambda b: {**b, "upscore2": [*b["upscore2"], np.ones(7)]},
            r"no parameter for upscore2\[1\] \(7,\)",
        ),
        ("fcn32s", lambda b: changed(b, "score_fr", 1, np.zeros(300)), "number of classes is not 1 to 255"),
        (
            "fcn8s",
            lambda b: {k: v for k, v in b.items() if k != "score_fr"},
            "layers of an FCN, but lacks score_fr; --trunk",
        ),
        (
            "fcn16s",
            lambda b: {k: v for k, v in b.items() if k != "upscore2"},
            "layers upscore2 of FCN-16s are missing",
        ),
        (
            "fcn32s",
            lambda b: {**b, "score_fr_sem": b["score_fr"], "score_fr": []},
            "score_fr_geo, bigscore_geo of FCN-32s with the heads sem and geo are missing",
        ),
        ("fcn_alexnet", without("conv4"), "layers conv4 of FCN-AlexNet"),
        (
            "fcn_alexnet",
            lambda b: {k: v for k, v in b.items() if "score" not in k},
            "its layers are conv1, conv2",
        ),
        ("fcn_alexnet", lambda b: changed(b, "conv1", 1, np.zeros(1)), "conv1 has 1 channels: width="),
    ],
)
def test_a_damaged_fcn_is_refused_by_the_layer_s_name(net, broken, message, fcn):
    with pytest.raises(FCNXSError, match=message):
        read(fcn(net, broken))


def test_a_deconvolution_s_bias_of_zeros_is_dropped(fcn):
    fates = read(fcn("fcn16s", lambda b: {**b, "upscore2": [*b["upscore2"], np.zeros(7)]})).fates
    assert [fate.blob for fate in fates if not fate.parameter] == ["upscore2[1] (7,)"]
