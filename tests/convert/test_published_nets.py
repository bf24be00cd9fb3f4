"""The authors' nets of several heads, of several images, and of their first release, as their files have them.

OpenCV runs a prototxt that is written here, with the authors' names; MXNet runs what is made of the weights.
"""

import re

import cv2
import numpy as np
import pytest
from conftest import FC, LONG, WIDTH, as_checkpoint, photo
from strangers import CHANNELS, DATA, LOSS, MEAN, blobs_of, conv, crop, layer, net, relu, snapshot

from fcnxs import FCNXSError, checkpoint
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import verify, verify_heads
from fcnxs.net import Net, outputs_of
from fcnxs.symbols import crop_derivations
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.benchmarks.parity import random_blobs
from fcnxs.tools.main import main

SIZES = ((61, 75), (33, 90), (97, 53))
HEADS = {"sem": 7, "geo": 8}  # as random_blobs makes them
OFFSETS = {32: [19], 16: [5, 27], 8: [5, 9, 31]}
UPS = {32: ("upscore",), 16: ("upscore2", "upscore16"), 8: ("upscore2", "upscore_pool4", "upscore8")}


def trunk(end="", data="data", channels=CHANNELS, fc=FC):
    text, last = "", data
    for group, (count, width) in enumerate(zip((2, 2, 3, 3, 3), channels), 1):
        for i in range(1, count + 1):
            name, pad = f"conv{group}_{i}{end}", 100 if group == i == 1 else 1
            text += conv(name, last, width, f"kernel_size: 3 pad: {pad}") + relu(name)
            last = name
        pooling = "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
        text, last = text + layer(f"pool{group}{end}", "Pooling", last, "", pooling), f"pool{group}{end}"
    for name, kernel in ((f"fc6{end}", 7), (f"fc7{end}", 1)):
        text, last = text + conv(name, last, fc, f"kernel_size: {kernel}") + relu(name), name
    return text


def up(name, bottom, classes, kernel, stride):
    settings = f"bias_term: false kernel_size: {kernel} stride: {stride}"
    return conv(name, bottom, classes, settings, "Deconvolution")


def head(stride, end, classes):
    *pairs, last = UPS[stride]
    text, x = conv(f"score_fr{end}", "fc7", classes, "kernel_size: 1"), f"score_fr{end}"
    for name, pool, offset in zip(pairs, ("pool4", "pool3"), OFFSETS[stride]):
        text += up(f"{name}{end}", x, classes, 4, 2) + conv(
            f"score_{pool}{end}", pool, classes, "kernel_size: 1"
        )
        text += crop(f"score_{pool}{end}c", f"score_{pool}{end}", f"{name}{end}", offset)
        x = f"fuse_{pool}{end}"
        text += layer(x, "Eltwise", f"{name}{end} score_{pool}{end}c", "", "eltwise_param { operation: SUM }")
    text += up(f"{last}{end}", x, classes, 2 * stride, stride)
    return text + crop(f"score{end}", f"{last}{end}", "data", OFFSETS[stride][-1])


def siftflow(stride, heads=HEADS, **trunk_options):
    return trunk(**trunk_options) + "".join(head(stride, f"_{name}", count) for name, count in heads.items())


def fusion(classes=7, first="color", **options):
    images = {"color": "hha", "hha": "color"}
    order = (first, images[first])
    text = "".join(
        trunk(end, end, **options) + conv(f"score_fr{end}", f"fc7{end}", classes, "kernel_size: 1")
        for end in order
    )
    mean = "eltwise_param { operation: SUM coeff: 0.5 coeff: 0.5 }"
    text += layer("score_fused", "Eltwise", "score_frcolor score_frhha", "", mean)
    return text + up("upscore", "score_fused", classes, 64, 32) + crop("score", "upscore", "color", 19)


def in_opencv(text, file, images, ends, tmp_path):
    """Layers `ends` of a prototxt that begins with inputs, for arrays (1, 3, H, W) by their names."""
    shape = "".join(f" input_dim: {side}" for side in next(iter(images.values())).shape)
    (tmp_path / "deploy.prototxt").write_text("".join(f'input: "{name}"{shape}\n' for name in images) + text)
    caffe = cv2.dnn.readNetFromCaffe(str(tmp_path / "deploy.prototxt"), str(file))
    caffe.enableWinograd(False)
    for name, data in images.items():
        caffe.setInput(data, name)
    return [caffe.forward(end) for end in ends]


def check(text, file, found, ends, tmp_path, names=("data",), sizes=SIZES, tolerance=1e-5):
    """Random images through both; channels are in Caffe's order there, and RGB here but for HHA."""
    symbol, rng = scores_symbol(found.symbol, several=True), np.random.default_rng(0)
    for size in sizes:
        images = {name: rng.normal(0, 50, (1, 3, *size)).astype(np.float32) for name in names}
        theirs = in_opencv(text, file, images, ends, tmp_path)
        here = {
            "data" if name == "data" else f"{name}_data": data if name == "hha" else data[:, ::-1].copy()
            for name, data in images.items()
        }
        ours = outputs_of(Net(symbol, found.arg_params, {}), here)
        assert len(ours) == len(theirs) == len(ends)
        for a, b in zip(ours, theirs):
            assert a.shape == b.shape and abs(b).max() > 0.01
            assert abs(a - b).max() <= tolerance * abs(b).max(), (size, abs(a - b).max(), abs(b).max())


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_two_heads_on_one_trunk(stride, tmp_path):
    """Weights alone, beside a prototxt, and in a snapshot: one net, each head with OpenCV's scores."""
    text, blobs = siftflow(stride), random_blobs(f"siftflow_fcn{stride}s", WIDTH, FC, 7)
    data = (
        'layer { name: "data" type: "Python" top: "data" top: "sem" top: "geo" '
        'python_param { layer: "SIFTFlowSegDataLayer" } }\n'
    )
    file = tmp_path / "weights.caffemodel"
    write_caffemodel(file, blobs)
    (tmp_path / "val.prototxt").write_text(data + text)
    by_weights, by_text = read(file), read(file, prototxt=tmp_path / "val.prototxt")
    by_itself = read(snapshot(tmp_path / "net.caffemodel", data + text, blobs))
    for found in (by_weights, by_text, by_itself):
        assert (found.net, found.heads, found.numclass) == (f"siftflow_fcn{stride}s", HEADS, None)
        assert found.mean == (108.353, 115.294, 114.578)
        assert found.symbol.list_outputs() == ["softmax_sem_output", "softmax_geo_output"]
        assert [each.offset for each in crop_derivations(found.symbol)] == 2 * OFFSETS[stride]
        params = {fate.parameter.split()[0] for fate in found.fates if fate.parameter}
        labels = {"softmax_sem_label", "softmax_geo_label"}
        assert params == set(found.symbol.list_arguments()) - labels - {"data"} == set(found.arg_params)
    assert by_text.told == by_itself.told == [] and "SIFT Flow's, RGB (108.353" in by_weights.told[0]
    assert by_weights.symbol.tojson() == by_text.symbol.tojson() == by_itself.symbol.tojson()
    check(text, file, by_text, ["score_sem", "score_geo"], tmp_path)
    compared = verify_heads(file, by_text, as_checkpoint(by_text, file), photo())
    assert {name: each.shape[1] for name, each in compared.items()} == HEADS
    assert all(each.equal for each in compared.values())


def test_a_head_that_is_wrong_is_seen(tmp_path):
    """By verify; and settings of one head differ from the other's."""
    file, text = tmp_path / "net.caffemodel", siftflow(16)
    blobs = random_blobs("siftflow_fcn16s", WIDTH, FC, 7)
    text = text.replace(
        'bottom: "upscore16_geo" bottom: "data" top: "score_geo" crop_param { axis: 2 offset: 27',
        'bottom: "upscore16_geo" bottom: "data" top: "score_geo" crop_param { axis: 2 offset: 25',
    )
    found = read(snapshot(file, text, blobs))
    assert [each.offset for each in crop_derivations(found.symbol)] == [5, 27, 5, 25]
    assert any("score_geo: offset 25 is kept, but the coordinate maps give 27" in each for each in found.told)
    check(text, file, found, ["score_sem", "score_geo"], tmp_path)
    assert verify(file, found, as_checkpoint(found, file), photo()).equal
    found.arg_params["score_geo_bias"][3] += 1
    compared = verify_heads(file, found, as_checkpoint(found, file), photo())
    assert compared["sem"].equal and not compared["geo"].equal
    assert not verify(file, found, as_checkpoint(found, file), photo()).equal
    del blobs["score_pool4_geo"]
    write_caffemodel(file, blobs)
    with pytest.raises(
        FCNXSError, match="layers score_pool4_geo of FCN-16s with the heads sem and geo are miss"
    ):
        read(file)


@pytest.mark.parametrize("first", ["color", "hha"])
def test_two_trunks_whose_scores_are_averaged(first, tmp_path):
    """In either order; each image has its mean, and HHA keeps the order of its channels."""
    text, blobs = fusion(first=first), random_blobs("nyud_fcn32s_color_hha", WIDTH, FC, 7)
    data = """layer { name: "color" type: "Python" top: "color" top: "hha" top: "label" python_param {
      layer: "NYUDSegDataLayer" param_str: "{'tops': ['color', 'hha', 'label']}" } }\n"""
    file = tmp_path / "weights.caffemodel"
    write_caffemodel(file, blobs)
    (tmp_path / "val.prototxt").write_text(data + text)
    by_weights, by_text = read(file), read(file, prototxt=tmp_path / "val.prototxt")
    means = {"color_data": (92.318, 97.203, 116.19), "hha_data": (132.431, 94.076, 118.477)}
    for found in (by_weights, by_text):
        assert (found.net, found.numclass, found.heads) == ("nyud_fcn32s_color_hha", 7, None)
        assert found.means == means and found.mean == means["color_data"]
    assert by_text.told == [] and len(by_weights.told) == 2
    np.testing.assert_array_equal(found.arg_params["conv1_1hha_weight"].asnumpy(), blobs["conv1_1hha"][0])
    np.testing.assert_array_equal(
        found.arg_params["conv1_1color_weight"].asnumpy()[:, ::-1], blobs["conv1_1color"][0]
    )
    check(text, file, by_text, ["score"], tmp_path, names=("color", "hha"))
    result = verify(file, by_text, as_checkpoint(by_text, file), photo())
    assert result.equal
    found.arg_params["scorehha_bias"][3] += 1
    assert not verify(file, found, as_checkpoint(found, file), photo()).equal
    with pytest.raises(FCNXSError, match="--mean: gives one mean, and the net takes the images color and hha"):
        read(file, mean=(1, 2, 3))
    other = text.replace("coeff: 0.5 coeff: 0.5", "coeff: 1 coeff: 1")
    (tmp_path / "val.prototxt").write_text(data + other)
    with pytest.raises(FCNXSError, match="layer score_fused: coeff none, not 0.5"):
        read(file, prototxt=tmp_path / "val.prototxt")


@pytest.mark.skipif(not LONG, reason="full width; FCNXS_LONG")
@pytest.mark.parametrize(
    "name", ["siftflow_fcn32s", "siftflow_fcn16s", "siftflow_fcn8s", "nyud_fcn32s_color_hha"]
)
def test_at_full_width(name, tmp_path):
    options = {"channels": (64, 128, 256, 512, 512), "fc": 4096}
    file = tmp_path / "net.caffemodel"
    write_caffemodel(file, random_blobs(name, 1, 4096, 40 if "nyud" in name else 33))
    if "nyud" in name:
        check(fusion(40, **options), file, read(file), ["score"], tmp_path, ("color", "hha"), [(101, 117)])
    else:
        text = siftflow(int(name[12:-1]), {"sem": 33, "geo": 34}, **options)
        check(text, file, read(file), ["score_sem", "score_geo"], tmp_path, sizes=[(101, 117)])


OLD = {
    "fcn32s": {"score_fr": "score-fr", "upscore": "upsample"},
    "fcn16s": {"score_fr": "score-fr", "upscore2": "score2", "score_pool4": "score-pool4"},
    "fcn8s": {"score_fr": "score-fr", "upscore2": "score2", "upscore_pool4": "score4"},
    "fcn8s of PASCAL-Context": {"score_fr": "score59", "upscore_pool4": "upsample-fused-16"},
}
for old in OLD.values():
    old.update({"score_pool4": "score-pool4", "score_pool3": "score-pool3", "upscore8": "upsample"})
    old["upscore16"] = "upsample-fused-16"


def renamed(text, names):
    return re.sub("|".join(rf'"{name}"' for name in names), lambda found: f'"{names[found[0][1:-1]]}"', text)


@pytest.mark.parametrize("name", OLD)
def test_the_first_release_s_names(name, tmp_path):
    """Weights alone, beside the prototxt, and in a snapshot; both its crops are named crop."""
    names, of = OLD[name], name.split()[0]
    text = (
        renamed(net(of), names)
        .replace('name: "cropped3"', 'name: "crop"')
        .replace('name: "cropped"', 'name: "crop"')
    )
    blobs = {names.get(each, each): arrays for each, arrays in blobs_of(of).items()}
    file = tmp_path / "weights.caffemodel"
    write_caffemodel(file, blobs, v1=True)
    (tmp_path / "val.prototxt").write_text(DATA + text + LOSS)
    for found in (
        read(file, prototxt=tmp_path / "val.prototxt"),
        read(snapshot(tmp_path / "net", DATA + text + LOSS, blobs)),
    ):
        assert found.net == of and found.told == [] and found.mean == MEAN[::-1]
        assert found.symbol.tojson() == read(file).symbol.tojson()
        check(text, file, found, ["score"], tmp_path)
    assert verify(file, read(file), as_checkpoint(read(file), file), photo()).equal
    trunk_alone = read(file, trunk=True)
    assert trunk_alone.net == "vgg16fc" and "score_weight" not in trunk_alone.arg_params


def test_what_is_missing_has_the_names_of_the_file_s_release(tmp_path):
    for names, said in (({}, "score_pool4"), (OLD["fcn8s"], "score-pool4")):
        blobs = {names.get(each, each): arrays for each, arrays in blobs_of("fcn8s").items()}
        del blobs[said]
        write_caffemodel(tmp_path / "net.caffemodel", blobs)
        with pytest.raises(FCNXSError, match=f"layers {said} of FCN-8s are missing"):
            read(tmp_path / "net.caffemodel")


def test_the_command_tells_each_head_and_names_the_classes(tmp_path, capsys):
    from PIL import Image

    Image.fromarray(photo()).save(tmp_path / "photo.png")
    file, out = tmp_path / "net.caffemodel", str(tmp_path / "out")
    for name, text in (("siftflow_fcn8s", "heads sem"), ("nyud_fcn32s_color_hha", "mean HHA (132.431")):
        write_caffemodel(file, random_blobs(name, WIDTH, FC, 40))
        assert main(["convert", str(file), out, "--verify", str(tmp_path / "photo.png"), "--overwrite"]) == 0
        told = capsys.readouterr().out
        assert text in told and ("head sem: OpenCV runs" in told) == ("head geo: OpenCV" in told) == (
            "sift" in name
        )
        meta = checkpoint.load(out, 0).meta
        for made in tmp_path.glob("out*"):
            made.unlink()
    assert meta.classes[:2] == ["wall", "floor"] and meta.means["hha_data"] == [132.431, 94.076, 118.477]
