import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, fresh_probabilities, random_params, random_vgg16
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.data.loader import FileIter
from fcnxs.finetune import make_solver
from fcnxs.init import init_from_fcnxs, init_from_vgg16
from fcnxs.metric import SegmentationMetric
from fcnxs.net import Net
from fcnxs.solver.executors import Executors
from fcnxs.solver.solver import Solver
from fcnxs.stages import RECIPES
from fcnxs.symbols import NETS, get_fcn8s_symbol, get_fcn16s_symbol, get_fcn32s_symbol
from fcnxs.symbols.symbol_fcnxs import FCNXS
from fcnxs.tools.benchmarks.gpu import numpy_reference

NARROW = {"width": WIDTH, "fc": FC}


def without_dropout(symbol):
    return mx.sym.load_json(symbol.tojson().replace('"p": "0.5"', '"p": "0"'))


def values(params):
    return {name: array.asnumpy().copy() for name, array in params.items()}


@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("name", [*FCNXS, "fcn4s", "fcn2s", "fcn8s_atonce"])
def test_gradients_equal_a_float64_reference(name, convention, ctx):
    symbol = without_dropout(NETS[name](3, width=1 / 32, fc=6, pooling_convention=convention))
    params = random_params(symbol, 4, ctx)
    batch = Images([(29, 38)]).batches[0]
    grads = {key: mx.nd.zeros(array.shape, ctx) for key, array in params.items()}
    executor = Executors(Net(symbol, params, {}), ctx, grads).get("data", (1, 3, 29, 38))
    executor.arg_dict["data"][:] = batch["data"]
    executor.arg_dict["softmax_label"][:] = batch["softmax_label"].reshape(1, -1)
    executor.forward(is_train=True)
    executor.backward()

    outputs, expected = numpy_reference.run(symbol.tojson(), {**values(params), **batch})
    np.testing.assert_allclose(executor.outputs[0].asnumpy(), outputs["softmax"], atol=1e-5)
    for key, grad in grads.items():
        largest = np.abs(expected[key]).max()
        assert largest > 0, key
        np.testing.assert_allclose(grad.asnumpy(), expected[key], atol=1e-4 * largest, err_msg=key)


def sgd_by_hand(symbol, params, batches, rate, momentum, wd, fixed, biases=1.0, unnormalised=False):
    """Stochastic gradient descent in float64, on the reference's gradients."""
    params = {key: value.astype(np.float64) for key, value in values(params).items()}
    velocity = dict.fromkeys(params, 0.0)
    for batch in batches:
        _, grads = numpy_reference.run(symbol.tojson(), {**params, **batch})
        pixels = batch["softmax_label"].size if unnormalised else 1
        for key in set(params) - set(fixed):
            is_bias = biases != 1 and key.endswith("_bias")
            gradient = pixels * grads[key] + (0 if is_bias else wd) * params[key]
            velocity[key] = momentum * velocity[key] - (biases if is_bias else 1) * rate * gradient
            params[key] = params[key] + velocity[key]
    return params


@pytest.mark.parametrize("caffe", [False, True])
def test_steps_equal_momentum_sgd_by_hand(caffe, ctx):
    """Three images of different sizes, with the rules of either recipe; the rates are larger than theirs."""
    symbol = without_dropout(get_fcn8s_symbol(3, width=1 / 32, fc=6))
    params, data = random_params(symbol, 5, ctx), Images([(29, 38), (40, 27), (29, 38)])
    before = values(params)
    fixed = ["bigscore_weight", "score2_weight", "score4_weight"] if caffe else ["bigscore_weight"]
    rate = 1e-5 if caffe else 1e-2
    biases = [key for key in params if key.endswith("_bias")]
    rules = {"lr_mult": dict.fromkeys(biases, 2.0), "wd_mult": dict.fromkeys(biases, 0.0), "unnormalised": True}
    expected = sgd_by_hand(
        symbol, params, data.batches, rate, 0.9, 5e-2, fixed, 2.0 if caffe else 1.0, unnormalised=caffe
    )
    solver = Solver(
        symbol, ctx, arg_params=params, fixed=fixed, learning_rate=rate, momentum=0.9, wd=5e-2,
        **(rules if caffe else {}),
    )  # fmt: skip
    for batch in data.batches:
        solver.step(batch, data)
    for key, value in values(solver.arg_params).items():
        if key in fixed:
            np.testing.assert_array_equal(value, before[key])
        else:
            change = expected[key] - before[key]
            assert np.abs(change).max() > 0
            np.testing.assert_allclose(
                value - before[key], change, atol=2e-4 * np.abs(change).max() + 1e-7, err_msg=key
            )


@pytest.mark.parametrize("name", FCNXS)
def test_a_step_of_the_caffe_recipe_equals_a_float64_reference(name, ctx):
    """Loss, every gradient, every updated parameter, with Caffe's pooling; rate and decay are larger."""
    symbol = without_dropout(FCNXS[name](3, width=1 / 32, fc=6, pooling_convention="full"))
    stage = replace(RECIPES["caffe"][name], learning_rate=1e-5, wd=50.0)  # for decay to count in a step
    params, data = random_params(symbol, 6, ctx), Images([(29, 43)])
    batch, before = data.batches[0], {key: value.astype(np.float64) for key, value in values(params).items()}
    solver = make_solver(stage, symbol, params, {}, ctx)
    mean_loss = solver.step(batch, data, SegmentationMetric(3))

    outputs, grads = numpy_reference.run(symbol.tojson(), {**before, **batch})
    label = batch["softmax_label"][0].astype(int)
    y, x = np.nonzero(label != 255)
    assert 0 < len(y) < label.size
    loss = -np.log(outputs["softmax"][0, label[y, x], y, x]).sum()
    assert mean_loss * len(y) == pytest.approx(loss, rel=1e-5)
    for key, value in values(solver.arg_params).items():
        if "score2" in key or "score4" in key or "bigscore" in key:  # the deconvolutions
            np.testing.assert_array_equal(value, before[key])
            continue
        gradient = label.size * grads[key]  # of the sum over pixels; the graph's is of their mean
        given = label.size * solver.replicas[0].executors.grads[key].asnumpy()
        np.testing.assert_allclose(given, gradient, atol=1e-4 * np.abs(gradient).max(), err_msg=key)
        double_rate, decay = (2, 0) if key.endswith("_bias") else (1, 50)
        change = -1e-5 * double_rate * (gradient + decay * before[key])
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(
            value - before[key], change, atol=2e-4 * np.abs(change).max() + 1e-7, err_msg=key
        )


def test_evaluation_between_steps_is_of_the_current_weights(ctx):
    symbol = get_fcn8s_symbol(3, **NARROW)
    train, val = Images([(40, 50), (64, 30)]), Images([(40, 50), (33, 47)], seed=1)
    solver = Solver(symbol, ctx, arg_params=random_params(symbol, 6, ctx), learning_rate=1e-2, momentum=0.9)
    results = []
    for _ in range(3):
        metric, expected = SegmentationMetric(3), SegmentationMetric(3)
        solver.evaluate(val, metric)
        for batch in val.batches:
            p = fresh_probabilities(symbol, solver.arg_params, batch["data"], ctx)
            expected.update([mx.nd.array(batch["softmax_label"])], [mx.nd.array(p)])
        assert (metric.matrix == expected.matrix).all()
        assert metric.loss_sum == pytest.approx(expected.loss_sum, rel=1e-6)
        results.append(metric.loss_sum)
        for batch in train.batches:
            solver.step(batch, train)
    assert len(set(results)) == 3  # the weights did change


def test_the_loss_of_a_step_is_that_before_its_update(ctx):
    symbol = without_dropout(get_fcn32s_symbol(3, **NARROW))
    data = Images([(40, 50)])
    solver = Solver(symbol, ctx, arg_params=random_params(symbol, 6, ctx), learning_rate=1e-2)
    p = fresh_probabilities(symbol, solver.arg_params, data.batches[0]["data"], ctx)
    metric = SegmentationMetric(3)
    expected = metric.update([mx.nd.array(data.batches[0]["softmax_label"])], [mx.nd.array(p)])
    assert solver.step(data.batches[0], data, SegmentationMetric(3)) == pytest.approx(expected, rel=1e-5)


def test_one_image_can_be_learnt_by_heart(voc, ctx, tmp_path):
    """On the trimmed canvas, as `fcnxs finetune` trains, at half the size."""
    name = (voc / "ImageSets/Segmentation/train.txt").read_text().split()[0]
    for folder, end in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        with Image.open(voc / folder / f"{name}.{end}") as image:
            image.resize((image.width // 2, image.height // 2), Image.NEAREST).save(tmp_path / f"{folder}.png")
    (tmp_path / "one.lst").write_text("0\tJPEGImages.png\tSegmentationClass.png\n")
    data = FileIter(tmp_path, "one.lst", num_classes=5)
    write_caffemodel(tmp_path / "vgg", random_vgg16(3, width=1 / 8, fc=64))
    parent = read(tmp_path / "vgg").arg_params
    parent["conv1_1_weight"] /= 60  # of a net for inputs of about 1
    symbol = without_dropout(get_fcn8s_symbol(5, width=1 / 8, fc=64))
    args, auxs = init_from_vgg16(ctx, symbol, parent, {})
    solver = Solver(symbol, ctx, num_epoch=90, arg_params=args, optimizer="adam", learning_rate=2e-3, trim=True)
    metric = SegmentationMetric(5)
    solver.fit(data, eval_metric=metric)
    solver.evaluate(data, metric)
    scores = dict(metric.get_name_value())
    assert scores["pixel_accuracy"] > 0.97 and scores["mean_iu"] > 0.85


def test_the_flow_of_the_original_s_fcn_xs_py(voc, ctx, tmp_path, caplog):
    """What apache/mxnet 1.4.1 example/fcn-xs/fcn_xs.py does, with its arguments and callbacks."""
    voc = shutil.copytree(voc, tmp_path / "voc")  # to write lists into
    caplog.set_level(logging.INFO)
    write_caffemodel(tmp_path / "vgg", random_vgg16())
    vgg16 = read(tmp_path / "vgg")
    mx.model.save_checkpoint(str(tmp_path / "VGG_FC"), 74, vgg16.symbol, vgg16.arg_params, {})
    lists = {}
    for split in ("train", "val"):
        names = (voc / f"ImageSets/Segmentation/{split}.txt").read_text().split()
        lists[split] = voc / f"{split}.lst"
        lists[split].write_text(
            "".join(f"{i}\tJPEGImages/{n}.jpg\tSegmentationClass/{n}.png\n" for i, n in enumerate(names))
        )

    def iterator(flist_name):
        return FileIter(root_dir=str(voc), flist_name=flist_name, rgb_mean=(123.68, 116.779, 103.939))

    parent, epoch = str(tmp_path / "VGG_FC"), 74
    for get_symbol, init in (
        (get_fcn32s_symbol, init_from_vgg16),
        (get_fcn16s_symbol, init_from_fcnxs),
        (get_fcn8s_symbol, init_from_fcnxs),
    ):
        symbol = get_symbol(numclass=5, workspace_default=1536, **NARROW)
        _, args, auxs = mx.model.load_checkpoint(parent, epoch)
        args, auxs = init(ctx, symbol, args, auxs)
        before = values(args)
        seen = []
        model = Solver(
            ctx=ctx, symbol=symbol, begin_epoch=0, num_epoch=2, arg_params=args, aux_params=auxs,
            learning_rate=1e-4, momentum=0.99, wd=0.0005,
        )  # fmt: skip
        prefix = str(tmp_path / symbol.list_arguments()[-2].replace("bigscore_weight", get_symbol.__name__))
        model.fit(
            train_data=iterator("train.lst"),
            eval_data=iterator("val.lst"),
            batch_end_callback=[mx.callback.Speedometer(1, 2), lambda p: seen.append((p.epoch, p.nbatch))],
            epoch_end_callback=mx.callback.do_checkpoint(prefix),
        )
        assert seen == [(epoch, nbatch) for epoch in (0, 1) for nbatch in range(1, 7)]  # all six images
        loaded, saved, _ = mx.model.load_checkpoint(prefix, 2)
        assert loaded.tojson() == symbol.tojson()
        assert set(saved) == set(symbol.list_arguments()) - {"data", "softmax_label"}
        changed = {name for name, value in values(saved).items() if (value != before[name]).any()}
        assert changed >= {"score_bias", "score_weight"} and "bigscore_weight" not in changed
        parent, epoch = prefix, 2
    assert caplog.text.count("Validation: accuracy") == caplog.text.count("Train: accuracy") == 6
    assert "nan" not in caplog.text  # Speedometer resets what it has shown, not the epoch's
    assert "samples/sec" in caplog.text


def test_a_metric_of_mxnet_s_does_not_count_255(ctx):
    symbol = get_fcn32s_symbol(3, **NARROW)
    data = Images([(40, 50), (30, 33)])
    solver = Solver(symbol, ctx, arg_params=random_params(symbol, 2, ctx))
    metric, ours = mx.metric.Accuracy(), SegmentationMetric(3)
    solver.evaluate(data, metric)
    solver.evaluate(data, ours)
    assert metric.get()[1] == pytest.approx(dict(ours.get_name_value())["pixel_accuracy"])
    assert metric.num_inst == sum((batch["softmax_label"] != 255).sum() for batch in data.batches)


def test_inputs_may_have_other_names(voc, ctx):
    score = mx.sym.Convolution(mx.sym.Variable("image"), kernel=(1, 1), num_filter=5, name="score")
    settings = {"multi_output": True, "use_ignore": True, "ignore_label": 255}
    net = mx.sym.SoftmaxOutput(score, mx.sym.Variable("truth"), name="softmax", **settings)
    data = FileIter(voc, "ImageSets/Segmentation/val.txt", data_name="image", label_name="truth")
    params = {"score_weight": mx.nd.zeros((5, 3, 1, 1), ctx), "score_bias": mx.nd.zeros(5, ctx)}
    metric = SegmentationMetric(5)
    solver = Solver(net, ctx, num_epoch=20, arg_params=params, fixed=(), optimizer="adam", learning_rate=1e-2)
    solver.evaluate(data, metric)
    assert dict(metric.get_name_value())["loss"] == pytest.approx(np.log(5), rel=1e-5)
    solver.fit(data, eval_metric=metric)
    assert dict(metric.get_name_value())["loss"] < 1.0


def test_grad_req_null_trains_nothing(ctx):
    symbol = get_fcn32s_symbol(3, **NARROW)
    params = random_params(symbol, 2, ctx)
    before = values(params)
    solver = Solver(symbol, ctx, num_epoch=1, arg_params=params, learning_rate=1.0)
    solver.fit(Images([(40, 50)]), grad_req="null")
    for name, value in values(solver.arg_params).items():
        np.testing.assert_array_equal(value, before[name])


def test_mistakes_are_named(ctx):
    symbol = get_fcn32s_symbol(3, **NARROW)
    params, data = random_params(symbol, 2, ctx), Images([(40, 50)])
    batch = data.batches[0]
    with pytest.raises(FCNXSError, match=r"fc7_bias \(16,\) of the net is missing"):
        Solver(symbol, ctx, arg_params={k: v for k, v in params.items() if k != "fc7_bias"}).step(batch, data)
    with pytest.raises(FCNXSError, match=r"fc7_bias is float32 \(2,\), but the net needs float32 \(16,\)"):
        Solver(symbol, ctx, arg_params={**params, "fc7_bias": mx.nd.zeros(2)}).step(batch, data)
    with pytest.raises(
        FCNXSError, match="softmax_label: value 9.0 in 1 pixels is neither one of the 3 classes"
    ):
        label = batch["softmax_label"].copy()
        label[0, 3, 3] = 9
        Solver(symbol, ctx, arg_params=params).step({**batch, "softmax_label": label}, data)
    with pytest.raises(
        FCNXSError, match="an image: 50x20 pixels is too small; the smallest for this net is 26x26"
    ):
        Solver(symbol, ctx, arg_params=params).step(Images([(20, 50)]).batches[0], data)
    with pytest.raises(FCNXSError, match="num_epoch"):
        Solver(symbol, ctx, arg_params=params).fit(data)
    with pytest.raises(FCNXSError, match="grad_req='add'"):
        Solver(symbol, ctx, num_epoch=1, arg_params=params).fit(data, grad_req="add")
