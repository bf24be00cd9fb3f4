"""What a net of Caffe takes: means, scales and the order of channels, as its layers or options say."""

import numpy as np
import pytest
from conftest import FC, WIDTH
from strangers import DATA, LOSS, MEAN, PYTHON, before, blobs_of, check, layer, net, snapshot

from fcnxs import FCNXSError
from fcnxs.convert.arrays import FCN_MEAN
from fcnxs.convert.caffe_schema import CLASSES
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.tools.benchmarks.parity import random_blobs

INPUT = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }\n'
)
IMAGES = (
    'layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { %s mirror: true } }\n'
)
VALUES = "mean_value: 100 mean_value: 110 mean_value: 120.5"
OLD = 'layer { name: "data" type: "Data" top: "data" data_param { scale: 0.5 source: "lmdb" } }\n'
VOC = FCN_MEAN[::-1]


def nyud(*tops):
    return PYTHON % ("NYUDSegDataLayer", f"{{'tops': {[*tops, 'label']}, 'split': 'test'}}")


def found_in(tmp_path, data, text=None, blobs=None, **options):
    file = snapshot(
        tmp_path / "net.caffemodel", data + (text or net("fcn32s")) + LOSS, blobs or blobs_of("fcn32s")
    )
    return read(file, **options), file


@pytest.mark.parametrize(
    ("data", "mean", "scale", "order"),
    [
        (DATA, MEAN, 1, -1),
        (nyud("color"), (116.190, 97.203, 92.318), 1, -1),
        (nyud("color", "hha").replace('"label"', '"b" top: "label"'), (116.190, 97.203, 92.318), 1, -1),
        (nyud("hha"), (132.431, 94.076, 118.477), 1, 1),
        (PYTHON % ("SIFTFlowSegDataLayer", "{'split': 'test'}"), (114.578, 115.294, 108.353), 1, -1),
        (PYTHON % ("PASCALContextSegDataLayer", "dict(split=1)"), (104.007, 116.669, 122.679), 1, -1),
        (PYTHON % ("MyLayer", "{'mean': 100}"), (100, 100, 100), 1, -1),
        (IMAGES % f"scale: 0.00390625 {VALUES}", (100, 110, 120.5), 1 / 256, -1),
        (IMAGES % "scale: 0.017 mean_value: 100", (100, 100, 100), 0.017, -1),
        (IMAGES % "scale: 0.00390625", (0, 0, 0), 1 / 256, -1),
        (OLD, (0, 0, 0), 0.5, -1),
        (INPUT, VOC, 1, -1),
        (PYTHON % ("MyLayer", "{'split': 'val'}"), VOC, 1, -1),
    ],
)
def test_the_data_layer_decides(data, mean, scale, order, tmp_path):
    """NYUD's HHA images keep the order of their channels; scales go into the first convolution."""
    found, file = found_in(tmp_path, data)
    assert found.mean == pytest.approx(mean[::order], abs=1e-5)
    check(found, file, net("fcn32s"), mean, scale, order)
    bgr = found.arg_params["conv1_1_weight"].asnumpy()[:, ::order]
    np.testing.assert_allclose(bgr, blobs_of("fcn32s")["conv1_1"][0] * scale, rtol=1e-6)
    assert (found.told == []) == (mean not in ((0, 0, 0), VOC))


@pytest.mark.parametrize(
    ("data", "added", "blobs", "mean", "start"),
    [
        (DATA, ("Power", "power_param { scale: 0.0078125 shift: -0.25 }"), [], (104.39, 114.91, 105.16), MEAN),
        (INPUT, ("Power", "power_param { shift: -116.5 }"), [], (116.5, 116.5, 116.5), (0, 0, 0)),
        (INPUT, ("Power", "power_param { scale: 0.017 }"), [], VOC, VOC),
        (
            DATA,
            ("Scale", "scale_param { bias_term: true }"),
            [np.array([0.01, 0.02, -0.04]), np.array([1.0, -2, 4])],
            (-27.61, 182.91, 173.16),
            MEAN,
        ),
    ],
)
def test_layers_that_scale_or_shift_the_image_are_kept(data, added, blobs, mean, start, tmp_path):
    kind, param = added
    text = before(net("fcn32s"), "conv1_1", layer("first", kind, "data", "data", param))
    found, file = found_in(tmp_path, data, text, blobs_of("fcn32s", first=blobs))
    assert found.mean == pytest.approx(mean[::-1], abs=1e-5)
    check(found, file, text, start)
    assert [fate.what for fate in found.fates if fate.blob.startswith("first")] == [
        "taken into the first convolution and the mean"
    ] * len(blobs)


def test_the_shift_of_a_bias_layer_is_kept(tmp_path):
    """OpenCV has none: by hand."""
    text = before(net("fcn32s"), "conv1_1", 'layer { name: "b" type: "Bias" bottom: "data" top: "data" }\n')
    found, _ = found_in(tmp_path, DATA, text, blobs_of("fcn32s", b=[np.array([1.0, -2, 3])]))
    assert found.mean == pytest.approx((73.16 - 3, 82.91 + 2, 72.39 - 1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES % "mean_value: 100 mean_value: 110", "its mean_value is .100.0, 110.0., not 1 or 3 numbers"),
        (IMAGES % 'mean_file: "x.binaryproto"', "subtracts the mean of x.binaryproto, another file"),
        (nyud("depth"), "its tops are .'depth'."),
        (PYTHON % ("NYUDSegDataLayer", "{'tops': 5}"), r"its tops are \[\]"),
        (PYTHON % ("NYUDSegDataLayer", "{'tops': [['hha']]}"), "its tops are "),
        (PYTHON % ("MyLayer", "dict(mean=(1, 2, 3))"), "its param_str cannot be read: dict"),
        (PYTHON % ("MyLayer", "{'mean': (1, 2)}"), "its mean is .1, 2., not 1 or 3 finite numbers"),
        (PYTHON % ("MyLayer", "{'mean': (1, 2, 1e999)}"), "its mean is .1, 2, inf."),
        (PYTHON % ("MyLayer", "{'mean': 'mean.npy'}"), "its mean is mean.npy"),
    ],
)
def test_a_mean_that_is_somewhere_else_is_asked_for(data, message, tmp_path):
    with pytest.raises(FCNXSError, match=f"layer data:? {message}.*; give the mean with --mean"):
        found_in(tmp_path, data)
    found, _ = found_in(tmp_path, data, mean=(3, 2, 1))
    assert found.mean == (3, 2, 1)


def test_the_scale_of_a_data_layer_stays_beside_a_mean_that_is_given(tmp_path):
    found, file = found_in(tmp_path, IMAGES % 'scale: 0.00390625 mean_file: "x"', mean=(120.5, 110, 100))
    check(found, file, net("fcn32s"), (100, 110, 120.5), 1 / 256)
    found, _ = found_in(tmp_path, DATA, mean=(1, 2, 3))
    assert found.mean == (1, 2, 3)
    assert "mean (3.0, 2.0, 1.0) of --mean was taken, not (72.39, 82.91, 73.16) of layer data" in found.told[0]
    found, _ = found_in(tmp_path, nyud("hha"), mean=(1, 2, 3))  # in the order of HHA's channels
    assert found.mean == (1, 2, 3) and not found.source.prepared[""].start.bgr


def test_data_layers_that_differ_are_refused(tmp_path):
    train = DATA.replace('top: "label"', 'top: "label" include { phase: TRAIN }')
    found_in(tmp_path, train + DATA)
    with pytest.raises(FCNXSError, match=r"its data layers differ \(mean \(72.39, .* and mean \(70.0, "):
        found_in(tmp_path, train + DATA.replace("72.39", "70.0"))


def test_data_layers_of_labels_do_not_count(tmp_path):
    """As beside an LMDB of images, with a mean, an LMDB of labels, with none."""
    labels = 'layer { name: "label" type: "Data" top: "label" transform_param { scale: 2 } }\n'
    for data in (labels + IMAGES % VALUES, (IMAGES % VALUES).replace('top: "label"', "") + labels):
        found, file = found_in(tmp_path, data)
        assert found.mean == (120.5, 110, 100) and found.told == []
    check(found, file, net("fcn32s"), (100, 110, 120.5))
    crop = net("fcn32s").replace('bottom: "upscore" bottom: "data"', 'bottom: "upscore" bottom: "label"')
    found, file = found_in(tmp_path, data, crop)  # a crop to the size of the label
    check(found, file, net("fcn32s"), (100, 110, 120.5))


def test_the_mean_of_a_snapshot_counts_where_its_prototxt_has_none(tmp_path):
    (tmp_path / "deploy.prototxt").write_text(INPUT + net("fcn32s"))
    assert found_in(tmp_path, DATA, prototxt=tmp_path / "deploy.prototxt")[0].mean == MEAN[::-1]
    (tmp_path / "val.prototxt").write_text(DATA.replace("72.39", "70.5") + net("fcn32s"))
    found, _ = found_in(tmp_path, DATA, prototxt=tmp_path / "val.prototxt")
    assert found.mean == (73.16, 82.91, 70.5) and "was taken, not (72.39, 82.91" in found.told[0]


@pytest.mark.parametrize("classes", [21, 60, 33])
def test_voc_s_mean_is_assumed_aloud_for_other_classes(classes, tmp_path):
    write_caffemodel(tmp_path / "net", random_blobs("fcn32s", WIDTH, FC, classes))
    for trunk in (False, True):
        found = read(tmp_path / "net", trunk=trunk)
        assert found.mean == FCN_MEAN and bool(found.told) == (classes == 33)
    if classes == 33:
        assert "its net has 33 classes: VOC's, RGB (122.67892, " in found.told[0]
        assert read(tmp_path / "net", mean=(1, 2, 3)).told == []


def binaryproto(file, values):
    blob = CLASSES["BlobProto"](data=[np.ascontiguousarray(values, "<f4").tobytes()])
    for key, size in zip(("num", "channels", "height", "width"), (1, 1, 1, *values.shape)[-4:]):
        setattr(blob, key, size)
    file.write_bytes(blob.SerializeToString())
    return file


def test_mean_files(tmp_path):
    weights, file = tmp_path / "net", tmp_path / "mean.binaryproto"
    write_caffemodel(weights, blobs_of("fcn32s"))
    flat = np.broadcast_to(np.array([104.5, 117, 123.25])[:, None, None], (3, 4, 5)).copy()
    found = read(weights, mean_file=binaryproto(file, flat))
    assert found.mean == (123.25, 117, 104.5) and found.told == []
    flat[0, :2] += 8  # of 20 pixels 10
    found = read(weights, mean_file=binaryproto(file, flat))
    assert found.mean == (123.25, 117, 108.5) and "differ by up to 4 from their channel's mean" in found.told[0]
    hha, _ = found_in(tmp_path, nyud("hha"), mean_file=file)
    assert hha.mean == (108.5, 117, 123.25)
    for values, message in (
        (np.ones((1, 4, 5)), r"holds an array of shape \(1, 4, 5\), not a finite mean of 3"),
        (np.full((3, 1, 1), np.nan), "holds .*, not a finite mean"),
    ):
        with pytest.raises(FCNXSError, match=f"mean.binaryproto: {message}"):
            read(weights, mean_file=binaryproto(file, values))
    for content in (b"", b"\x89PNG\r\n\x1a\n", file.read_bytes()[:-3]):
        file.write_bytes(content)
        with pytest.raises(FCNXSError, match="mean.binaryproto: "):
            read(weights, mean_file=file)
    with pytest.raises(FCNXSError, match="nix: cannot read this mean: No such file"):
        read(weights, mean_file=tmp_path / "nix")
    for mean in ((1, 2), (1, 2, np.nan), (1, 2, 3, 4)):
        with pytest.raises(FCNXSError, match="--mean 1,2.*: expected R,G,B, three finite numbers"):
            read(weights, mean=mean)
