"""What the archive's handler answers, without a server, and what is in the archive."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from mms.context import Context, RequestProcessor
from PIL import Image
from serving import save_exported

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.deploy.compare import ExportMismatch, answers_of
from fcnxs.deploy.handler import Refused, ServedNet, handle, read_body
from fcnxs.deploy.mar import write_mar
from fcnxs.predict import Segmenter
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.symbol_fcnxs import FCNXS

MEAN = (120.0, 110.0, 100.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    symbol = FCNXS["fcn8s"](3, width=WIDTH, fc=FC)
    meta = Meta(["ground", "cat", "dog"], [[0, 0, 0], [200, 0, 0], [0, 0, 90]], MEAN)
    checkpoint.save(folder / "fcn8s", 2, symbol, random_params(symbol, 8), {}, meta)
    return checkpoint.load(folder / "fcn8s", 2)


@pytest.fixture
def exported(source, tmp_path):
    return save_exported(source, tmp_path / "net")


def png(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=kind)
    return file.getvalue()


def answers(folder, requests, headers=None):
    """Status, content type and body of each answer, through the server's own context."""
    context = Context("net", str(folder), None, len(requests), None, "1")
    context.request_processor = [RequestProcessor(headers or {}) for _ in requests]
    bodies = handle(requests, context)
    each = [context.get_response_status(i) for i in range(len(requests))]
    kinds = [context.get_response_content_type(i) for i in range(len(requests))]
    return [(status, kind, body) for (status, _), kind, body in zip(each, kinds, bodies)]


@pytest.mark.parametrize("head", ["softmax", "logits", "argmax", "raw argmax"])
def test_every_head_gives_the_checkpoint_s_class_map(source, head, tmp_path):
    data, args = mx.sym.Variable("data"), dict(source.arg_params)
    symbol = scores_symbol(source.symbol)
    meta = {"classes": None, "palette": [[0, 0, 0]] * 256, "mean": MEAN}
    if "raw" in head:
        meta["mean"], args["mean"] = (0, 0, 0), mx.nd.array(MEAN).reshape((1, 3, 1, 1))
        symbol = symbol(data=mx.sym.broadcast_sub(data, mx.sym.Variable("mean", shape=(1, 3, 1, 1))))
    if "argmax" in head:
        symbol = mx.sym.argmax(symbol, axis=1)
    else:
        symbol = mx.sym.softmax(symbol, axis=1) if head == "softmax" else mx.sym.identity(symbol)
    mx.model.save_checkpoint(str(tmp_path / "net"), 0, symbol, args, {})
    (tmp_path / "net-meta.json").write_text(json.dumps(meta))
    net, segmenter = ServedNet(tmp_path), Segmenter(source)
    for size in ((40, 50), (61, 33), (40, 50)):
        expected = segmenter(photo(*size))
        np.testing.assert_array_equal(net.class_map(photo(*size)), expected)
        assert len(np.unique(expected)) == 3


def test_the_archive_needs_nothing_but_mxnet_numpy_and_pillow(source, exported, tmp_path):
    write_mar(exported, tmp_path / "cats.mar")
    images = [photo(60, 70), photo(45, 81, 1)]
    for image, answer in zip(images, answers_of(tmp_path / "cats.mar", images)):
        np.testing.assert_array_equal(answer, Segmenter(source)(image))
    with zipfile.ZipFile(tmp_path / "cats.mar") as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"]["modelName"] == "cats"


def test_an_archive_that_does_not_answer_says_why(exported, tmp_path):
    write_mar(exported, tmp_path / "net.mar")
    with pytest.raises(ExportMismatch, match=r"net.mar: .* 12x9 pixels is too small; the smallest .* is 26x26"):
        answers_of(tmp_path / "net.mar", [photo(9, 12)])
    with zipfile.ZipFile(tmp_path / "net.mar", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("net-0000.params", b"damaged")
    with pytest.raises(
        ExportMismatch, match="net.mar: the server's handler does not give the expected answer: "
    ):
        answers_of(tmp_path / "net.mar", [photo()])


def test_what_one_request_of_a_batch_asks_for_is_its_own_affair(source, exported):
    image, class_map = png(photo()), Segmenter(source)(photo())
    requests = [{"body": bytearray(image)}, {"body": bytearray(b"text")}]
    requests += [{"format": bytearray(b"json"), "upload": bytearray(image)}, {"format": b"tiff", "body": image}]
    got = answers(exported.parent, requests)
    assert [(status, kind.split(";")[0]) for status, kind, _ in got] == [
        *((200, "image/png"), (415, "text/plain"), (200, "application/json"), (400, "text/plain"))
    ]
    mask = Image.open(io.BytesIO(got[0][2]))
    np.testing.assert_array_equal(np.asarray(mask), class_map)
    assert mask.getpalette()[:9] == [0, 0, 0, 200, 0, 0, 0, 0, 90]
    areas = json.loads(got[2][2])
    assert (areas["width"], areas["height"]) == (70, 60)
    assert [(row["class"], row["name"]) for row in areas["classes"]] == [(0, "ground"), (1, "cat"), (2, "dog")]
    pixels = np.bincount(class_map.ravel())
    assert [row["pixels"] for row in areas["classes"]] == pixels.tolist()
    assert [row["share"] for row in areas["classes"]] == (pixels / 4200).tolist()
    for accept, kind in (("application/json", "json"), ("image/*, */*", "png")):
        ((status, got_kind, _),) = answers(exported.parent, [{"body": image}], {"aCCept": accept})
        assert status == 200 and got_kind.endswith(kind)


def test_the_limit_counts_the_margin_that_the_nets_compute_on():
    image = png(photo(30, 50))
    assert read_body(image, 230 * 250).shape == (30, 50, 3)
    with pytest.raises(Refused, match="50x30 pixels is too large") as refused:
        read_body(image, 230 * 250 - 1)
    assert refused.value.status == 413
    strip = png(np.zeros((1, 30_000, 3), np.uint8))
    with pytest.raises(Refused, match="30000x1 pixels is too large"):
        read_body(strip)


def test_images_are_read_as_everywhere_else():
    clear, grey = (io.BytesIO() for _ in range(2))
    Image.new("RGBA", (50, 30), (9, 9, 9, 0)).save(clear, format="PNG")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.full((30, 50), 50_000, np.uint16)).save(grey, format="PNG", exif=turned)
    assert (read_body(clear.getvalue()) == 255).all()
    assert (read_body(grey.getvalue()) == np.full((50, 30, 3), 50_000 >> 8)).all()
    stored = np.asarray(Image.open(grey))  # a net that was trained with --exif ignore gets these
    np.testing.assert_array_equal(read_body(grey.getvalue(), exif="ignore")[..., 0], stored >> 8)


def test_a_net_of_one_size_refuses_others(exported):
    meta_file = Path(f"{exported}-meta.json")
    meta = json.loads(meta_file.read_text())
    meta_file.write_text(json.dumps({**meta, "export": {"size": [60, 70]}}))
    net = ServedNet(exported.parent)
    assert net.class_map(photo(60, 70)).shape == (60, 70)
    with pytest.raises(Refused, match="70x61 pixels; this net takes only images of 70x60"):
        net.class_map(photo(61, 70))


def test_every_cut_through_a_jpeg_is_refused():
    for options in ({}, {"progressive": True}):
        file = io.BytesIO()
        Image.fromarray(photo(40, 30)).save(file, format="JPEG", **options)
        whole = file.getvalue()
        assert read_body(whole).shape == (40, 30, 3)
        for end in range(len(whole)):
            with pytest.raises(Refused) as refused:
                read_body(whole[:end])
            assert refused.value.status in (400, 415)


def test_the_same_net_makes_the_same_archive(exported, tmp_path):
    write_mar(exported, tmp_path / "a.mar")
    first = (tmp_path / "a.mar").read_bytes()
    write_mar(exported, tmp_path / "a.mar")
    assert (tmp_path / "a.mar").read_bytes() == first
    assert "inference_address=http://127.0.0.1:" in (tmp_path / "a.properties").read_text()


def test_what_cannot_be_an_archive_is_refused_and_nothing_is_left(exported, tmp_path):
    out = tmp_path / "out"
    for name in ("net.zip", "my net.mar", ".mar", "nèt.mar"):
        with pytest.raises(FCNXSError, match="expected a name of letters, digits"):
            write_mar(exported, out / name)
    Path(f"{exported}-0000.params").unlink()
    with pytest.raises(FCNXSError, match="net-0000.params: no such file"):
        write_mar(exported, out / "net.mar")
    assert not out.exists()
