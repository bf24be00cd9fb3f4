"""Exports of nets of several heads: an output for each by its name, in every format, compared head by head."""

import json

import numpy as np
import pytest
from conftest import FC, LOWER, WIDTH, photo, random_params

from fcnxs import FCNXSError, Segmenter, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import preprocess
from fcnxs.deploy import compare
from fcnxs.deploy.compare import ExportMismatch, Picture
from fcnxs.deploy.form import Form
from fcnxs.deploy.write import export
from fcnxs.net import Net, outputs_of
from fcnxs.symbols import get_fcnxs_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol

HEADS = {"sem": ["a", "b", "c", "d", "e"], "geo": ["background", "horizontal", "vertical"]}
SIZE = (40, 56)
IMAGE = photo(*SIZE)
pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def two(tmp_path):
    """A net of two heads; its scores of `IMAGE` by head, computed from its whole graph."""
    counts = {head: len(names) for head, names in HEADS.items()}
    net = get_fcnxs_symbol(16, heads=counts, width=WIDTH, fc=FC, pooling_convention="full")
    checkpoint.save(tmp_path / "two", 0, net, random_params(net), {}, checkpoint.Meta(heads=HEADS))
    source = checkpoint.load(tmp_path / "two", 0)
    whole = Net(scores_symbol(net, several=True), source.arg_params, {})
    return source, dict(zip(HEADS, outputs_of(whole, {"data": centred()})))


def centred():
    return preprocess(IMAGE, checkpoint.Meta().mean)


def expected(head, scores):
    if head == "argmax":
        return scores.argmax(1)
    exponentials = np.exp(scores.astype(np.float64))
    return scores if head == "logits" else exponentials / exponentials.sum(1, keepdims=True)


def assert_outputs(found, kind, scores):
    for head in HEADS:
        np.testing.assert_allclose(found[head], expected(kind, scores[head]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["softmax", "logits", "argmax"])
def test_mxnet_and_the_meta_file(kind, two, tmp_path):
    source, scores = two
    report = export(source, tmp_path / "net", Form(head=kind))
    assert [(each.name, each.head) for each in report.compared] == [
        (f"picture {i}", head) for i in (1, 2) for head in HEADS
    ]
    symbol, args, _ = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    layer = {"softmax": "softmax", "logits": "scores", "argmax": "class_map"}[kind]
    assert symbol.list_outputs() == [f"{layer}_{head}_output" for head in HEADS]
    found = symbol.bind(mx.cpu(), {**args, "data": mx.nd.array(centred())}, grad_req="null").forward()
    assert_outputs({head: each.asnumpy() for head, each in zip(HEADS, found)}, kind, scores)
    meta = json.loads((tmp_path / "net-meta.json").read_text())
    assert meta["heads"] == HEADS and meta["classes"] is None and "output" not in meta["export"]
    for head, names in HEADS.items():
        shape = ["N", "H", "W"] if kind == "argmax" else ["N", len(names), "H", "W"]
        told = {"name": f"{layer}_{head}_output", "head": kind, "shape": shape, "dtype": "float32"}
        assert meta["export"]["outputs"][head] == told
    assert {each["head"] for each in meta["export"]["compared"]["images"]} == {*HEADS}
    if kind != "argmax":  # such an export is a checkpoint too
        again = checkpoint.load(tmp_path / "net", 0)
        for head in HEADS:
            np.testing.assert_array_equal(Segmenter(again, head=head)(IMAGE), scores[head][0].argmax(0))
        export(again, tmp_path / "again", Form(head=kind))
        assert (tmp_path / "again-symbol.json").read_text() == (tmp_path / "net-symbol.json").read_text()


@pytest.mark.parametrize(
    "form",
    [
        Form("onnx"),
        Form("onnx", "argmax", raw="uint8"),
        Form("onnx", "logits", SIZE, trimmed=True),
    ],
)
def test_onnx(form, two, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    source, scores = two
    assert export(source, tmp_path / "net", form).trimmed == form.trimmed
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == [*HEADS]
    data = IMAGE.transpose(2, 0, 1)[np.newaxis] if form.raw else centred()
    found = dict(zip(HEADS, session.run([*HEADS], {"data": data})))
    assert_outputs(found, form.head, scores)
    told = json.loads((tmp_path / "net.json").read_text())["export"]["outputs"]
    assert {head: each["name"] for head, each in told.items()} == {head: head for head in HEADS}


@pytest.mark.parametrize("form", [Form("ncnn"), Form("ncnn", "argmax", SIZE, trimmed=True)])
def test_ncnn(form, two, tmp_path):
    ncnn = pytest.importorskip("ncnn")
    source, scores = two
    export(source, tmp_path / "net", form)
    net, image = ncnn.Net(), centred()[0]
    assert net.load_param(str(tmp_path / "net.param")) == net.load_model(str(tmp_path / "net.bin")) == 0
    assert {*net.output_names()} == {*HEADS}
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(image))
    found = {head: np.array(extractor.extract(head)[1])[np.newaxis] for head in HEADS}
    assert_outputs(found, form.head, scores)


@pytest.mark.parametrize("precision", LOWER)
def test_lower_precisions(precision, two, tmp_path):
    """The class map of each head must agree, and a layer's loss is that of the head that loses more."""
    source, scores = two
    form, pictures = Form(size=SIZE, precision=precision, trimmed=True), [Picture("photo", IMAGE)]
    report = export(source, tmp_path / "net", form, pictures, least=0.9)
    assert report.trimmed and {"score_sem", "score_geo"} <= {*report.kept}
    symbol, args, auxs = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    args["data"] = mx.nd.array(centred())
    found = symbol.bind(mx.cpu(), args, grad_req="null", aux_states=auxs).forward()
    for head, each in zip(HEADS, found):
        assert (each.asnumpy().argmax(1) == scores[head].argmax(1)).mean() >= 0.9
    with pytest.raises(ExportMismatch, match=f"in {precision} gives the checkpoint's class of the head sem in"):
        export(source, tmp_path / "no", form, pictures, least=1)


def test_a_mismatch_of_one_head_is_refused_with_its_name(two, tmp_path, monkeypatch):
    whole = compare.outputs_of
    turned = lambda *args: [whole(*args)[0], whole(*args)[1][..., ::-1]]  # noqa: E731
    monkeypatch.setattr(compare, "outputs_of", turned)
    with pytest.raises(ExportMismatch, match="differs from the checkpoint by .* on picture 1, head geo"):
        export(two[0], tmp_path / "net")
    assert not [*tmp_path.glob("net*")]


@pytest.mark.parametrize("name", ["data", "pool3"])
def test_a_head_with_the_name_of_a_layer_is_no_output_of_onnx_and_ncnn(name, tmp_path):
    net = get_fcnxs_symbol(32, heads={"sem": 3, name: 3}, width=WIDTH, fc=FC)
    checkpoint.save(tmp_path / "two", 0, net, random_params(net), {}, checkpoint.Meta())
    source = checkpoint.load(tmp_path / "two", 0)
    for kind in ("onnx", "ncnn"):
        said = rf"--format {kind}: the head {name} would name its output, but a layer .*\(--task {name}\)"
        with pytest.raises(FCNXSError, match=said):
            export(source, tmp_path / "net", Form(kind))
    assert len(export(source, tmp_path / "net").compared) == 4


def test_archives_are_refused(two, tmp_path):
    said = r"two-0000.params: a net with the heads sem and geo; .*\(--task\)"
    with pytest.raises(FCNXSError, match=said):
        export(two[0], tmp_path / "net", Form("mar", "argmax"))
