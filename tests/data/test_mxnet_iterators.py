"""FileIter in the places where programs for MXNet put an iterator: modules, and iterators around iterators."""

import numpy as np
import pytest
from conftest import FC, WIDTH, fresh_probabilities, random_params
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.data import FileIter
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.metric import SegmentationMetric
from fcnxs.symbols import get_fcn32s_symbol

SIZES = [(40, 56), (33, 47), (40, 56)]  # of the images, in order
NET = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
PARAMS = random_params(NET)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    lines = []
    for i, size in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{i}.png")
        Image.fromarray(rng.integers(0, 3, size, np.uint8)).save(folder / f"{i}_label.png")
        lines.append(f"{i}\t{i}.png\t{i}_label.png\n")
    (folder / "all.lst").write_text("".join(lines))
    return folder


class Plain(mx.io.DataIter):
    """An iterator of MXNet's own batches."""

    def __init__(self, batches):
        super().__init__(1)
        self.arrays = [tuple(batch[name].copy() for name in ("data", "softmax_label")) for batch in batches]
        self.provide_data = [mx.io.DataDesc("data", self.arrays[0][0].shape)]
        self.provide_label = [mx.io.DataDesc("softmax_label", self.arrays[0][1].shape)]
        self.reset()

    def reset(self):
        self.rest = iter(self.arrays)

    def next(self):
        data, label = next(self.rest)
        return mx.io.DataBatch([mx.nd.array(data)], [mx.nd.array(label)], 0)


def fitted(data, kind=mx.mod.Module, **more):
    module = kind(NET, **more) if kind is mx.mod.Module else kind(**more)
    mx.random.seed(3)  # of dropout
    args = {name: array.copy() for name, array in PARAMS.items()}
    settings = {"learning_rate": 0.1, "momentum": 0.9}
    module.fit(data, num_epoch=2, arg_params=args, optimizer_params=settings)
    return {name: array.asnumpy() for name, array in module.get_params()[0].items()}


def test_a_module_fits_as_on_mxnet_s_own_batches(root):
    expected = fitted(Plain(FileIter(root, "all.lst")))
    assert np.abs(expected["conv1_1_weight"] - PARAMS["conv1_1_weight"].asnumpy()).max() > 1e-5

    def symbol_of(key):
        assert key in {(40, 56), (33, 47)}
        return NET, ("data",), ("softmax_label",)

    buckets = {"kind": mx.mod.BucketingModule, "sym_gen": symbol_of, "default_bucket_key": (40, 56)}
    for data, more in (
        (FileIter(root, "all.lst"), {}),
        (mx.io.PrefetchingIter(FileIter(root, "all.lst")), {}),
        (mx.io.ResizeIter(FileIter(root, "all.lst"), 3), {}),
        (FileIter(root, "all.lst"), buckets),
    ):
        for name, array in fitted(data, **more).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_module_scores_and_predicts(root):
    data = FileIter(root, "all.lst")
    module = mx.mod.Module(NET)
    module.bind(data.provide_data, data.provide_label, for_training=False)
    module.set_params(PARAMS, {})
    images = [(batch["data"], batch["softmax_label"]) for batch in FileIter(root, "all.lst")]
    expected = [fresh_probabilities(NET, PARAMS, image, mx.cpu()) for image, _ in images]
    predicted = [out for (out,) in module.predict(data, merge_batches=False)]
    for own, theirs in zip(predicted, expected):
        np.testing.assert_allclose(own.asnumpy(), theirs, atol=1e-6)
    hits = [(p.argmax(axis=1) == label).ravel() for p, (_, label) in zip(expected, images)]
    assert dict(module.score(data, "acc"))["accuracy"] == pytest.approx(np.concatenate(hits).mean())
    scores = dict(module.score(data, SegmentationMetric(3)))
    assert scores["pixel_accuracy"] == pytest.approx(np.concatenate(hits).mean())


def test_a_batch_is_both_a_dict_and_a_batch_of_mxnet_s(root):
    data = FileIter(root, "all.lst", shuffle=True, seed=1)
    for batch in data:
        (image,), (label,) = batch.data, batch.label
        assert batch.data[0] is image and batch.label[0] is label  # they are made once
        np.testing.assert_array_equal(image.asnumpy(), batch["data"])
        np.testing.assert_array_equal(label.asnumpy(), batch["softmax_label"])
        assert isinstance(batch["data"], np.ndarray) and {*batch} == {"data", "softmax_label"}
        assert batch.pad == 0 and tuple(batch.index) == batch.numbers
        assert batch.bucket_key == SIZES[batch.numbers[0]] == batch["data"].shape[2:]
        assert batch.provide_data == [("data", image.shape)] == data.provide_data
        assert batch.provide_label == [("softmax_label", label.shape)] == data.provide_label


def test_iter_next_and_the_getters(root):
    data, expected = FileIter(root, "all.lst"), [*FileIter(root, "all.lst")]
    for batch in expected:
        assert data.iter_next()
        np.testing.assert_array_equal(data.getdata()[0].asnumpy(), batch["data"])
        np.testing.assert_array_equal(data.getlabel()[0].asnumpy(), batch["softmax_label"])
        np.testing.assert_array_equal(data.data, batch["data"])
        assert tuple(data.getindex()) == batch.numbers and data.getpad() == 0
    assert not data.iter_next()
    data.reset()
    assert data.iter_next() and data.iter_next()  # a batch that nobody asks for is passed
    assert tuple(data.getindex()) == (1,)
    assert next(data).numbers == (2,)


def test_a_short_last_batch_is_not_filled_up(root):
    (root / "same.lst").write_text("".join(f"{i}\t0.png\t0_label.png\n" for i in range(5)))
    loader = Loader(open_samples(root / "same.lst"), batch_size=3)
    module = mx.mod.Module(NET)
    module.bind(loader.provide_data, loader.provide_label, for_training=False)
    module.set_params(PARAMS, {})
    predicted = module.predict(loader)
    assert predicted.shape == (5, 3, 40, 56)
    np.testing.assert_allclose(predicted[4].asnumpy(), predicted[0].asnumpy(), atol=1e-6)


def test_a_bad_file_is_named_by_the_getters_too(root):
    (root / "bad.lst").write_text("0\t0.png\t0_label.png\n1\t1.png\t0_label.png\n")
    data = FileIter(root, "bad.lst")
    assert data.iter_next() and data.iter_next()
    with pytest.raises(FCNXSError, match="0_label.png: 56x40 pixels, but its image"):
        data.getdata()
