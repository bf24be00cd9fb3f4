import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.executors import Executors
from fcnxs.export import ExportMismatch, export, scores_symbol
from fcnxs.predict import Segmenter, evaluate
from fcnxs.score import confusion_matrix
from fcnxs.shapes import SIZES
from fcnxs.symbols import get_fcn8s_symbol, get_vgg16fc_symbol
from fcnxs.symbols.symbol_fcnxs import FCNXS

# What a user without this package does, in each of MXNet's three ways. On new versions of NumPy and
# Python MXNet itself wants three lines before.
PLAIN = """
import sys
import numpy as np
if not hasattr(np, "bool"):
    np.bool, np.int = bool, int
import mxnet as mx
prefix, image_file, way, output_file = sys.argv[1:]
image = mx.nd.array(np.load(image_file))
if way == "load_checkpoint":
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 0)
    output = symbol.bind(mx.cpu(), {**args, "data": image}, grad_req="null", aux_states=auxs).forward()[0]
elif way == "Module":
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 0)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", image.shape)], for_training=False)
    module.set_params(args, auxs)
    module.forward(mx.io.DataBatch([image]))
    output = module.get_outputs()[0]
else:
    output = mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["data"], f"{prefix}-0000.params")(image)
np.save(output_file, output.asnumpy())
assert not [name for name in sys.modules if name.startswith("fcnxs")]
"""


def make(folder: Path, name: str = "fcn8s", classes: int = 3) -> checkpoint.Checkpoint:
    symbol = FCNXS[name](classes, width=WIDTH, fc=FC)
    meta = Meta([f"c{i}" for i in range(classes)], [[i, i, i] for i in range(classes)], (120.0, 110.0, 100.0))
    checkpoint.save(folder / name, 2, symbol, random_params(symbol, 8), {}, meta)
    return checkpoint.load(folder / name, 2)


def probabilities(source, data):
    executor = Executors(source.symbol, mx.cpu(), source.arg_params, {}).get("data", data.shape)
    return executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()


@pytest.mark.parametrize("name", FCNXS)
def test_exported_net_has_neither_label_nor_dropout_and_gives_the_same(name, tmp_path):
    source = make(tmp_path, name)
    assert export(source, tmp_path / "out" / "net") <= 1e-6
    exported = checkpoint.load(tmp_path / "out" / "net", 0)
    ops = [node["op"] for node in json.loads(exported.symbol.tojson())["nodes"]]
    assert "Dropout" not in ops and "SoftmaxOutput" not in ops and ops.count("softmax") == 1
    assert [n for n in exported.symbol.list_arguments() if n not in exported.arg_params] == ["data"]
    assert exported.symbol.list_outputs() == ["softmax_output"]
    assert exported.meta.mean == source.meta.mean and exported.meta.classes == source.meta.classes
    assert exported.meta.source == checkpoint.source_of(source.params_file)
    data = np.random.default_rng(0).normal(0, 50, (2, 3, 45, 61)).astype(np.float32)
    np.testing.assert_allclose(probabilities(exported, data), probabilities(source, data), atol=1e-6)


@pytest.mark.parametrize("way", ["load_checkpoint", "Module", "SymbolBlock"])
def test_plain_mxnet_loads_it_without_this_package(way, tmp_path):
    source = make(tmp_path)
    export(source, tmp_path / "net")
    data = np.random.default_rng(0).normal(0, 50, (1, 3, 45, 61)).astype(np.float32)
    np.save(tmp_path / "image.npy", data)
    arguments = [tmp_path / "net", tmp_path / "image.npy", way, tmp_path / "output.npy"]
    subprocess.run([sys.executable, "-c", PLAIN, *map(str, arguments)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "output.npy"), probabilities(source, data), atol=1e-6)


def test_an_export_can_be_exported_and_segments_the_same(tmp_path):
    source = make(tmp_path)
    export(source, tmp_path / "a")
    export(checkpoint.load(tmp_path / "a", 0), tmp_path / "b")
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    masks = [Segmenter(each)(image) for each in (source, checkpoint.load(tmp_path / "b", 0))]
    np.testing.assert_array_equal(*masks)
    assert (tmp_path / "a-symbol.json").read_text() == (tmp_path / "b-symbol.json").read_text()


def test_a_mismatch_leaves_everything_as_it_was(tmp_path, monkeypatch):
    source = make(tmp_path)
    export(source, tmp_path / "out" / "net")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    load = checkpoint.load

    def load_other_weights(prefix, epoch):
        loaded = load(prefix, epoch)
        loaded.arg_params["score_bias"][0] += 1
        return loaded

    monkeypatch.setattr(checkpoint, "load", load_other_weights)
    with pytest.raises(ExportMismatch, match="gives other probabilities"):
        export(source, tmp_path / "out" / "net")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_what_is_no_fcn_is_refused(tmp_path):
    trunk = get_vgg16fc_symbol(width=WIDTH, fc=FC)
    checkpoint.save(tmp_path / "vgg", 0, trunk, random_params(trunk), {}, Meta())
    with pytest.raises(FCNXSError, match="ends in Activation 'relu7', not in one softmax"):
        export(checkpoint.load(tmp_path / "vgg", 0), tmp_path / "out")
    source = make(tmp_path)
    del source.arg_params["fc7_bias"]
    with pytest.raises(
        FCNXSError, match=r"fcn8s-0002.params: parameter fc7_bias \(16,\) of the net is missing"
    ):
        export(source, tmp_path / "out")
    with pytest.raises(
        FCNXSError, match=r"fcn8s-0002.params: parameter fc7_bias \(16,\) of the net is missing"
    ):
        Segmenter(source)
    before = (tmp_path / "fcn8s-symbol.json").read_text()
    with pytest.raises(FCNXSError, match="fcn8s: an export would replace the symbol of its source"):
        export(checkpoint.load(tmp_path / "fcn8s", 2), tmp_path / "fcn8s")
    assert (tmp_path / "fcn8s-symbol.json").read_text() == before
    assert not (tmp_path / "out-symbol.json").exists()


def test_class_map_is_that_of_the_largest_probability(tmp_path, ctx):
    """With the checkpoint's own mean, at two sizes in turn."""
    source = make(tmp_path)
    segmenter = Segmenter(source, ctx)
    rng = np.random.default_rng(1)
    for size in ((40, 50), (61, 33), (40, 50)):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        data = (image.astype(np.float64) - (120, 110, 100)).transpose(2, 0, 1)[None].astype(np.float32)
        mask = segmenter(image)
        assert mask.dtype == np.uint8 and mask.shape == size
        np.testing.assert_array_equal(mask, probabilities(source, data)[0].argmax(0))
    assert len(np.unique(mask)) > 1
    with pytest.raises(FCNXSError, match="10x12 pixels is too small; the smallest for this net is 26x26"):
        segmenter(np.zeros((12, 10, 3), np.uint8))


def test_evaluate_counts_every_pixel_of_every_image(voc, tmp_path, ctx):
    from fcnxs.data import FileIter

    segmenter = Segmenter(make(tmp_path, classes=5), ctx)
    data = FileIter(voc, "ImageSets/Segmentation/val.txt", segmenter.mean, num_classes=5)
    expected = sum(
        confusion_matrix(batch["softmax_label"][0], segmenter.class_map(batch["data"]), 5) for batch in data
    )
    np.testing.assert_array_equal(evaluate(segmenter, data), expected)
    assert expected.sum() == sum(height * width for height, width in SIZES)


def test_scores_symbol_follows_chains_of_dropout():
    x = mx.sym.Variable("data")
    for i in range(3):
        x = mx.sym.Dropout(x, name=f"d{i}")
    symbol = scores_symbol(mx.sym.softmax(mx.sym.Activation(x, act_type="relu", name="r"), name="s"))
    assert [node["name"] for node in json.loads(symbol.tojson())["nodes"]] == ["data", "r"]
    assert scores_symbol(get_fcn8s_symbol(3)).list_outputs() == ["upscore_output"]
