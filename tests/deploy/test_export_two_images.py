"""Exports of nets that take two images: one input, whose channels are those of both."""

import json

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs.checkpoint import Checkpoint, Meta
from fcnxs.conventions import IMAGE_MEANS
from fcnxs.deploy.form import Form
from fcnxs.deploy.write import export
from fcnxs.errors import FCNXSError
from fcnxs.net import Net, outputs_of
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.vis import default_palette


@pytest.mark.parametrize(("name", "kinds"), [("color_hha", ("color", "hha")), ("color_d", ("color", "depth"))])
def test_onnx_runtime_gives_the_scores_of_both_images(name, kinds, tmp_path, in_process):
    """Against the builder's own graph, which takes each image by its name."""
    onnxruntime = pytest.importorskip("onnxruntime")
    symbol = NETS[f"nyud_fcn32s_{name}"](numclass=4, width=WIDTH, fc=FC)
    params, file = random_params(symbol), tmp_path / "net-0000.params"
    file.write_bytes(b"")
    means = {kind: IMAGE_MEANS[kind] for kind in kinds}
    meta = Meta(classes=tuple("abcd"), palette=default_palette("abcd"), means=means)
    export(Checkpoint(symbol, params, {}, meta, file), tmp_path / "out", Form("onnx", raw="float32"))
    described = json.loads((tmp_path / "out.json").read_text())["export"]["input"]
    channels = sum(map(len, means.values()))
    assert described["shape"] == ["N", channels, "H", "W"] and described["channel_order"].startswith("RGB, ")
    images = np.random.default_rng(1).uniform(0, 9, (1, channels, 40, 56)).astype(np.float32)
    found = onnxruntime.InferenceSession(tmp_path / "out.onnx").run(None, {"data": images})[0]
    centred = images - np.float32(np.concatenate([*means.values()]))[:, None, None]
    inputs = Graph.of(symbol).image_shapes((40, 56))
    ends = np.cumsum([shape[1] for shape in inputs.values()])[:-1]
    both = {**dict(zip(inputs, np.split(centred, ends, axis=1))), "softmax_label": np.zeros((1, 40 * 56))}
    expected = outputs_of(Net(symbol, params, {}), both)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_mxnet_takes_both_and_ncnn_depth(tmp_path, in_process):
    file = tmp_path / "net-0000.params"
    file.write_bytes(b"")

    def exported(name, second, form):
        symbol = NETS[f"nyud_fcn32s_{name}"](numclass=4, width=WIDTH, fc=FC)
        means = {kind: IMAGE_MEANS[kind] for kind in ("color", second)}
        meta = Meta(classes=tuple("abcd"), palette=default_palette("abcd"), means=means)
        return export(Checkpoint(symbol, random_params(symbol), {}, meta, file), tmp_path / "out", form)

    assert exported("color_hha", "hha", Form()).largest_difference < 1e-6
    pytest.importorskip("ncnn")
    assert exported("color_d", "depth", Form("ncnn")).largest_difference < 1e-4
    with pytest.raises(FCNXSError, match="layer 'color_data_of_data' .* cannot be written"):
        exported("color_hha", "hha", Form("ncnn"))  # its crop of channels is wrong at odd sizes
