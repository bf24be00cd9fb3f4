"""Finetuning a net that regresses masks of one size from images of one size."""

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from conftest import LONG, WIDTH, finetune, photo, random_params

from fcnxs import FCNXSError, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.data.augment import fit
from fcnxs.data.generated import write_voc
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.finetune import Data, Output, StoppedError
from fcnxs.finetune import finetune as train
from fcnxs.metric import SegmentationMetric
from fcnxs.net import net_of
from fcnxs.score import confusion_matrix, scores
from fcnxs.stages import ALL_STAGES
from fcnxs.symbols import get_mask_regression_symbol
from fcnxs.tools.main import main

SIZES = ["--stages", "mask_regression", "--image-size", "64x48", "--mask-size", "12"]  # width x height


@pytest.fixture
def run(voc, run_folder, tmp_path, capsys):
    """Run the command; give its exit code, output and errors."""

    def run(*more, output="run"):
        code = main([*finetune(voc, run_folder, *SIZES, *more), "--output", str(tmp_path / output)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_images_are_resized_bilinearly_and_labels_to_the_nearest():
    rows, columns = np.mgrid[:60, :80]
    ramp = np.dstack([2 * rows, columns, 100 + rows]).astype(np.float32)
    label = (7 * rows + columns).astype(np.uint8)
    image, small = fit(ramp, label, (30, 20), (12, 16))
    at = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in ((30, 60), (20, 80))]  # pixel centres
    inside = np.s_[2:-2, 2:-2]  # borders have fewer neighbours
    for channel, expected in enumerate(np.broadcast_arrays(2 * at[0][:, None], at[1])):
        np.testing.assert_allclose(image[inside][..., channel], expected[inside], atol=1e-3)
    nearest = [np.floor((np.arange(new) + 0.5) * old / new).astype(int) for new, old in ((12, 60), (16, 80))]
    np.testing.assert_array_equal(small, label[np.ix_(*nearest)])
    whole, _ = fit(photo(30, 40), label[:30, :40], (30, 40), (3, 4))
    np.testing.assert_array_equal(whole, photo(30, 40))


def test_the_loss_is_half_the_squared_distance_of_the_masks():
    rng = np.random.default_rng(0)
    masks, label = rng.normal(0, 1, (2, 4, 5, 3)).astype(np.float32), rng.choice([0, 1, 2, 3, 255], (2, 5, 3))
    metric = SegmentationMetric(4, squared=True)
    value = metric.update([mx.nd.array(label)], [mx.nd.array(masks)])
    true = (np.arange(4)[:, None, None] == label[:, None]).astype(np.float64)
    distance = ((masks.astype(np.float64) - true) ** 2).sum(1)[label != 255] / 2
    assert value == pytest.approx(distance.mean(), rel=1e-6) and metric.get()[1][0] == pytest.approx(value)
    expected = scores(confusion_matrix(label, masks.argmax(1), 4)).mean_iu
    assert dict(metric.get_name_value())["mean_iu"] == expected


def test_scores_of_a_run_are_those_of_its_net_on_resized_data(run, voc, tmp_path, capsys):
    code, out, _ = run("--batch-size", "2", "--epochs", "2", "--tensorboard")
    assert code == 0 and "fixed: none; images of 64x48 and masks of 12x12" in out
    record = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    prefix = tmp_path / "run" / "mask_regression"
    net = checkpoint.load(prefix, 2)
    variant = net_of(net.arg_params, "net", net.symbol)
    assert (variant.name, variant.numclass, variant.sizes) == ("mask_regression", 5, ((48, 64), 12))
    samples, matrix, losses = open_samples(voc, "val"), np.zeros((5, 5), int), []
    for number in range(len(samples)):
        image, label = fit(*samples.read(number), (48, 64), (12, 12))
        data = (image.astype(np.float32) - np.float32(net.meta.mean)).transpose(2, 0, 1)[np.newaxis]
        inputs = {**net.arg_params, "data": mx.nd.array(data), "softmax_label": mx.nd.zeros((1, 12, 12))}
        masks = net.symbol.bind(mx.cpu(), inputs, grad_req="null").forward()[0].asnumpy()[0]
        matrix += confusion_matrix(label, masks.argmax(0), 5)
        losses.append(((masks - (np.arange(5)[:, None, None] == label)) ** 2).sum() / 2 / 144)
    assert record["mean_iu"] == pytest.approx(scores(matrix).mean_iu)
    assert record["val_loss"] == pytest.approx(np.mean(losses), rel=1e-4)

    net = ["--prefix", str(prefix)]
    assert main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "regresses masks of one size, which only training evaluates" in page and "64x48" in page
    assert main(["explain", str(prefix)]) == 0
    assert "276,480 weights" in " ".join(capsys.readouterr().out.split())  # 4 x 3 x 32 by 5 x 12 x 12
    for command in (
        ["evaluate", *net, "--data", str(voc)],
        ["segment", *net, str(voc / "JPEGImages" / "val_0000.jpg"), "--output", str(tmp_path / "masks")],
        ["export", *net, "--output", str(tmp_path / "deploy")],
    ):
        assert main(command) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "regresses masks of one size" in err and "train an FCN" in err
    code, out, _ = run("--prefix", str(prefix), "--epoch", "2", "--epochs", "1", output="again")
    assert code == 0  # goes on from the masks that it has
    again = json.loads((tmp_path / "again" / "metrics.jsonl").read_text())
    assert again["train_loss"] < record["train_loss"] * 1.5
    (tmp_path / "nine.txt").write_text("\n".join("abcdefghi"))
    for more, message in (
        (["--image-size", "48x64"], "takes images of 48x64 and masks of 12x12, but the net"),
        (["--classes", str(tmp_path / "nine.txt")], "regresses masks of 5 classes, and has no fc6"),
        (["--stages", "fcn32s"], "--image-size 64x48: fcn32s takes images of any size"),
    ):
        code, _, err = run("--prefix", str(prefix), "--epoch", "2", "--epochs", "1", *more, output="no")
        assert code == 2 and message in err.splitlines()[-1]


def test_a_stopped_run_resumes_to_the_bit(voc, run_folder, tmp_path):
    """As if it had not been stopped, in the middle of an epoch."""
    stage = replace(ALL_STAGES["adam"]["mask_regression"], epochs=2, image_size=(48, 64), mask_size=12)
    meta = checkpoint.load(run_folder / "run" / "fcn32s", 1).meta

    def go(folder, resize=stage.resize, **how):
        how_read = {"num_classes": 5, "seed": 3, "shuffle": True, "resize": resize}
        loaders = [Loader(open_samples(voc, split), meta.mean, **how_read) for split in ("train", "val")]
        train(
            str(run_folder / "vgg"), [stage], Data(*loaders), Output(folder, meta, resume=True), epoch=0, **how
        )
        return {k: v.asnumpy() for k, v in checkpoint.load(folder / "mask_regression", 2).arg_params.items()}

    whole, steps = go(tmp_path / "whole"), iter(range(5))
    with pytest.raises(StoppedError):
        go(tmp_path / "stopped", should_stop=lambda: next(steps) == 3)
    resumed = go(tmp_path / "stopped")
    assert all((resumed[name] == whole[name]).all() for name in whole)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "stopped")]
    ours, theirs = ([{**json.loads(line), "seconds": 0} for line in each] for each in lines)
    assert ours == theirs
    with pytest.raises(
        FCNXSError, match=r"its data is resized to None, and its net takes \(\(48, 64\), \(12, 12\)\)"
    ):
        go(tmp_path / "other", resize=None)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stages", "mask_regression,fcn32s"], "mask_regression is trained alone, on images of one size"),
        (["--recipe", "mxnet"], "--recipe adam has them"),
        (["--class-weights", "auto"], "--class-weights: mask_regression has a squared loss"),
        (["--image-size", "8x8"], "--image-size 8x8: expected width x height in pixels, each from 16"),
        (["--mask-size", "0"], "--mask-size 0: expected 1 or more"),
        (["--mask-size", "20000"], "the layer mask has 768,000,000,000 weights"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(more, message, run):
    code, _, err = run("--epochs", "1", *more)
    assert code == 2 and err.count("\n") == 1 and message in err


def test_a_graph_that_says_no_sizes_is_refused():
    symbol = get_mask_regression_symbol(3, 4, width=WIDTH)
    with pytest.raises(FCNXSError, match="net: regresses masks, but its graph does not say of which sizes"):
        net_of(random_params(symbol), "net", symbol)


@pytest.mark.skipif(not LONG, reason="trains for minutes")
def test_a_narrow_net_learns_the_demo_s_pictures(tmp_path):
    """One that is always the same mask, background, has a mean IU of 0.146."""
    write_voc(tmp_path / "voc", {"train": 220, "val": 30})
    assert main(["convert", str(files("fcnxs") / "vgg16_shapes.caffemodel"), str(tmp_path / "vgg")]) == 0
    how = ["--stages", "mask_regression", "--image-size", "96x96", "--mask-size", "24", "--batch-size", "4"]
    assert main(finetune(tmp_path / "voc", tmp_path, *how, "--epochs", "8", "--random-flip")) == 0
    row = json.loads((tmp_path / "run" / "summary.json").read_text())["stages"][0]
    assert row["mean_iu"] > 0.3
