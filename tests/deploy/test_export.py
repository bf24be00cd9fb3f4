"""The json form: its inputs and heads, its meta file, and what it is as a checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, bf16, photo, random_params

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.data.generated import SIZES
from fcnxs.deploy import compare, write
from fcnxs.deploy.form import Form
from fcnxs.deploy.write import export
from fcnxs.net import Net
from fcnxs.predict import Segmenter, evaluate
from fcnxs.score import confusion_matrix
from fcnxs.solver.executors import Executors
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.symbol_fcnxs import FCNXS

MEAN = (120.0, 110.0, 100.0)
in_process = pytest.mark.usefixtures("in_process")
SMALL = ((40, 56), (61, 33))  # (H, W) of the pictures that these tests compare on


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(compare, "SIZES", SMALL)


def make(folder: Path, name: str = "fcn8s", classes: int = 3) -> checkpoint.Checkpoint:
    symbol = FCNXS[name](classes, width=WIDTH, fc=FC)
    meta = Meta([f"c{i}" for i in range(classes)], [[i, i, i] for i in range(classes)], MEAN)
    checkpoint.save(folder / name, 2, symbol, random_params(symbol, 8), {}, meta)
    return checkpoint.load(folder / name, 2)


def probabilities(source, data):
    executor = Executors(Net(source.symbol, source.arg_params, {}), mx.cpu()).get("data", data.shape)
    return executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()


def centred(image):
    """Input of a checkpoint for an image, RGB uint8 (H, W, 3)."""
    return (image.astype(np.float64) - MEAN).transpose(2, 0, 1)[np.newaxis].astype(np.float32)


@pytest.mark.parametrize("name", FCNXS)
def test_exported_net_has_neither_label_nor_dropout_and_gives_the_same(name, tmp_path, request):
    """FCN-8s is compared in a process of its own, as users have it; the others in this one."""
    if name != "fcn8s":
        request.getfixturevalue("in_process")
    source = make(tmp_path, name)
    report = export(source, tmp_path / "out" / "net")
    assert [each.size for each in report.compared] == list(SMALL)
    assert max(each.difference for each in report.compared) <= 1e-6
    assert min(each.agreement for each in report.compared) == 1
    exported = checkpoint.load(tmp_path / "out" / "net", 0)
    ops = [node["op"] for node in json.loads(exported.symbol.tojson())["nodes"]]
    assert "Dropout" not in ops and "SoftmaxOutput" not in ops and ops.count("softmax") == 1
    assert [n for n in exported.symbol.list_arguments() if n not in exported.arg_params] == ["data"]
    assert exported.symbol.list_outputs() == ["softmax_output"]
    assert exported.meta.mean == source.meta.mean and exported.meta.classes == source.meta.classes
    assert exported.meta.source == checkpoint.source_of(source.params_file)
    data = np.random.default_rng(0).normal(0, 50, (2, 3, 45, 61)).astype(np.float32)
    np.testing.assert_allclose(probabilities(exported, data), probabilities(source, data), atol=1e-6)


@in_process
def test_heads_are_functions_of_one_another(tmp_path):
    source, data = make(tmp_path), centred(photo(45, 61))
    outputs = {}
    for head in ("softmax", "logits", "argmax"):
        export(source, tmp_path / head, Form(head=head))
        symbol, args, _ = mx.model.load_checkpoint(str(tmp_path / head), 0)
        assert symbol.list_outputs() == [
            {"softmax": "softmax_output", "logits": "scores_output", "argmax": "class_map_output"}[head]
        ]
        executor = symbol.bind(mx.cpu(), {**args, "data": mx.nd.array(data)}, grad_req="null")
        outputs[head] = executor.forward()[0].asnumpy()
    exponentials = np.exp(outputs["logits"].astype(np.float64))
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    np.testing.assert_allclose(outputs["softmax"], softmax, atol=1e-6)
    np.testing.assert_array_equal(outputs["argmax"], outputs["logits"].argmax(1))


@in_process
def test_the_meta_file_says_how_to_use_it(tmp_path):
    source = make(tmp_path)
    export(source, tmp_path / "net", Form(head="argmax", size=(40, 56), raw="uint8", bgr=True))
    meta = json.loads((tmp_path / "net-meta.json").read_text())
    assert meta["classes"] == ["c0", "c1", "c2"] and meta["palette"] == [[0] * 3, [1] * 3, [2] * 3]
    assert meta["source"] == checkpoint.source_of(source.params_file)
    assert meta["mean"] == [0, 0, 0] and set(meta["versions"]) == {"fcnxs", "mxnet", "numpy", "python"}
    compared = meta["export"].pop("compared")
    assert meta["export"] == {
        **{"format": "json", "precision": "fp32", "trimmed": False, "size": [40, 56]},
        "input": {
            **{"name": "data", "shape": ["N", 3, 40, 56], "dtype": "uint8", "channel_order": "BGR"},
            **{"values": "0 to 255", "mean_folded": list(MEAN[::-1])},
        },
        "output": {
            **{"name": "class_map_output", "head": "argmax", "shape": ["N", 40, 56], "dtype": "float32"},
        },
    }
    assert compared["agreement"] == 1 and [each["size"] for each in compared["images"]] == [[40, 56]] * 2


@in_process
def test_an_export_can_be_exported_and_segments_the_same(tmp_path):
    source = make(tmp_path)
    export(source, tmp_path / "a")
    export(checkpoint.load(tmp_path / "a", 0), tmp_path / "b")
    image = photo(40, 50)
    masks = [Segmenter(each)(image) for each in (source, checkpoint.load(tmp_path / "b", 0))]
    np.testing.assert_array_equal(*masks)
    assert (tmp_path / "a-symbol.json").read_text() == (tmp_path / "b-symbol.json").read_text()


@in_process
@pytest.mark.parametrize(
    ("form", "said"),
    [
        (Form(raw="uint8"), "takes raw input"),
        (Form(size=(40, 56)), None),
        pytest.param(Form(precision="bf16"), "is in bfloat16", marks=bf16),
        (Form(precision="int8"), "is in int8"),
    ],
)
def test_exports_that_end_in_a_softmax_are_checkpoints_too(form, said, tmp_path):
    source, image = make(tmp_path), photo(40, 56)
    export(source, tmp_path / "net", form, [compare.Picture("photo", image)], least=0.5)
    exported = checkpoint.load(tmp_path / "net", 0)
    segmenter = Segmenter(exported)
    assert (segmenter(image) == Segmenter(source)(image)).mean() >= (1 if form.precision == "fp32" else 0.9)
    if form.size:
        with pytest.raises(FCNXSError, match="50x40 pixels, but the net was exported only for 56x40; resize"):
            segmenter(photo(40, 50))
    if said:
        with pytest.raises(FCNXSError, match=f"net-0000.params: {said}, so it is an export itself"):
            export(exported, tmp_path / "again")


@in_process
def test_exports_of_class_maps_are_no_checkpoints(tmp_path):
    source = make(tmp_path)
    export(source, tmp_path / "maps", Form(head="argmax"))
    with pytest.raises(
        FCNXSError, match="ends in argmax 'class_map', .* only those with --head softmax or log"
    ):
        Segmenter(checkpoint.load(tmp_path / "maps", 0))


def test_bf16_is_refused_where_the_processor_cannot_run_it(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "runs_bf16", lambda: False)
    with pytest.raises(
        FCNXSError, match="--precision bf16: this processor cannot run .* AVX512, or in fp32 or"
    ):
        export(make(tmp_path), tmp_path / "net", Form(precision="bf16"))
    assert not list(tmp_path.glob("net*"))


def test_class_map_is_that_of_the_largest_probability(tmp_path, ctx):
    """With the checkpoint's own mean, at two sizes in turn."""
    source = make(tmp_path)
    segmenter = Segmenter(source, ctx=ctx)
    rng = np.random.default_rng(1)
    for size in ((40, 50), (61, 33), (40, 50)):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        mask = segmenter(image)
        assert mask.dtype == np.uint8 and mask.shape == size
        np.testing.assert_array_equal(mask, probabilities(source, centred(image))[0].argmax(0))
    assert len(np.unique(mask)) > 1
    with pytest.raises(FCNXSError, match="10x12 pixels is too small; the smallest for this net is 26x26"):
        segmenter(np.zeros((12, 10, 3), np.uint8))


def test_evaluate_counts_every_pixel_of_every_image(voc, tmp_path, ctx):
    from fcnxs.data.loader import FileIter

    segmenter = Segmenter(make(tmp_path, classes=5), ctx=ctx)
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
