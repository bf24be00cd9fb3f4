"""Finetuning nets other than the original's three: FCN-8s at-once, FCN-4s, FCN-2s and FCN-AlexNet."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, as_checkpoint, finetune, photo, random_params

from fcnxs import FCNXSError, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.convert.arrays import FCN_MEAN
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import verify
from fcnxs.finetune import make_solver
from fcnxs.finetune.run_folder import read_plan, write_plan
from fcnxs.gluon.training import finetune as gluon_finetune
from fcnxs.heads import heads_of, plain_name
from fcnxs.net import check_params
from fcnxs.stages import ALL_STAGES, lineage
from fcnxs.symbols import NETS, get_fcn32s_symbol
from fcnxs.tools.benchmarks.gpu import numpy_reference
from fcnxs.tools.benchmarks.parity import random_blobs
from fcnxs.tools.main import main

NARROW = {"width": WIDTH, "fc": FC}


def caffenet():
    """Blobs of a CaffeNet: FCN-AlexNet's with inner products and fc8."""
    blobs = random_blobs("fcn_alexnet", WIDTH, FC, 7)
    del blobs["upscore"]
    blobs["fc8"] = blobs.pop("score_fr")
    for name in ("fc6", "fc7", "fc8"):
        weight, bias = blobs[name]
        blobs[name] = [weight.reshape(len(weight), -1), bias]
    return blobs


@pytest.fixture
def alexnet(tmp_path):
    """Prefix of a converted CaffeNet."""
    write_caffemodel(tmp_path / "caffenet.caffemodel", caffenet(), v1=True)
    assert main(["convert", str(tmp_path / "caffenet.caffemodel"), str(tmp_path / "alexnetfc")]) == 0
    return tmp_path / "alexnetfc"


@pytest.mark.parametrize("v1", [False, True])
def test_alexnet_equals_opencv_s_caffe_runtime(v1, tmp_path):
    blobs, file = caffenet(), tmp_path / "net.caffemodel"
    write_caffemodel(file, blobs, v1)
    converted = read(file)
    assert (converted.net, converted.mean, converted.width, converted.numclass) == (
        *("alexnetfc", FCN_MEAN, WIDTH, None),
    )
    assert converted.arg_params["fc6_weight"].shape == (FC, 16, 6, 6)
    result = verify(file, converted, as_checkpoint(converted, file), photo())
    assert result.equal and result.shape == (1, 7, 1, 1) and result.largest > 0.1
    write_caffemodel(file, {name: arrays for name, arrays in blobs.items() if name != "fc7"}, v1)
    with pytest.raises(FCNXSError, match="layers fc7 of AlexNet are missing or incomplete"):
        read(file)


def test_the_trunk_of_fcn_alexnet_is_taken_from_caffe_s_file_and_from_a_checkpoint(fcn, tmp_path):
    source, prefixes = fcn("fcn_alexnet"), [tmp_path / "whole", tmp_path / "of_caffe", tmp_path / "of_mxnet"]
    sources = (source, source, f"{prefixes[0]}-0000.params")
    for file, prefix, trunk in zip(sources, prefixes, ([], ["--trunk"], ["--trunk"])):
        assert main(["convert", str(file), str(prefix), *trunk]) == 0
    whole, *trunks = (checkpoint.load(prefix, 0, strict=False) for prefix in prefixes)
    for trunk in trunks:
        assert {*whole.arg_params} - {*trunk.arg_params} == {"score_weight", "score_bias", "bigscore_weight"}
        assert {*trunk.symbol.list_arguments()} == {"data", *trunk.arg_params}
        for name, array in trunk.arg_params.items():
            np.testing.assert_array_equal(array.asnumpy(), whole.arg_params[name].asnumpy())


def test_alexnet_with_normalisation_before_pooling_is_refused(tmp_path):
    """bvlc_alexnet has the original AlexNet's order; FCN-AlexNet is built on CaffeNet's."""
    from fcnxs.convert.caffe_prototxt import prototxt

    blobs = caffenet()
    text = prototxt("alexnet", {name: len(arrays[1]) for name, arrays in blobs.items()}, 227, 227)
    for number, (conv, after) in enumerate((("conv1", "conv2"), ("conv2", "conv3")), 1):
        norm, pool = f"norm{number}", f"pool{number}"
        lines = text.splitlines()
        i, j = (next(k for k, line in enumerate(lines) if f'name: "{name}"' in line) for name in (pool, norm))
        lines[i] = lines[i].replace(f'bottom: "{conv}"', f'bottom: "{norm}"')
        lines[j] = lines[j].replace(f'bottom: "{pool}"', f'bottom: "{conv}"')
        lines[i], lines[j] = lines[j], lines[i]
        text = "\n".join(
            line.replace(f'bottom: "{norm}"', f'bottom: "{pool}"') if f'name: "{after}"' in line else line
            for line in lines
        )
    write_caffemodel(tmp_path / "net.caffemodel", blobs)
    (tmp_path / "deploy.prototxt").write_text(text)
    with pytest.raises(FCNXSError, match="layer pool2 is Pooling, where AlexNet has LRN norm2"):
        read(tmp_path / "net.caffemodel", prototxt=tmp_path / "deploy.prototxt")


def test_stages_are_in_reach_of_their_nets():
    """Every stage names a net of the table, with its own fixed and trained parameters."""
    for stages in ALL_STAGES.values():
        for stage in stages.values():
            fusion = stage.name == "nyud_fcn32s_color_hha"  # which begins from two nets
            assert stage.name in NETS and (fusion or lineage(stage.name)[-1] in ("vgg16", "alexnet"))
            symbol = NETS[stage.name](numclass=3, width=WIDTH)
            names = {plain_name(name, heads_of(symbol)) for name in symbol.list_arguments()}
            assert ("bigscore_weight" in stage.fixed) == ("bigscore_weight" in names)
    assert lineage("fcn2s") == ("fcn2s", "fcn4s", "fcn8s", "fcn16s", "fcn32s", "vgg16")
    assert lineage("fcn8s_atonce") == ("fcn8s_atonce", "vgg16")


def test_published_settings_of_the_authors_solvers():
    """voc-fcn8s-atonce and voc-fcn-alexnet: base_lr, momentum, iter_size, decay, lr_mult of the biases."""
    once, alex = (ALL_STAGES["caffe"][name] for name in ("fcn8s_atonce", "fcn_alexnet"))
    assert (once.learning_rate, once.momentum, once.wd, once.accumulate) == (1e-10, 0.99, 5e-4, 1)
    assert once.unnormalised and round(once.epochs * 8498, -5) == 300_000
    assert (alex.learning_rate, alex.momentum, alex.wd, alex.accumulate) == (1e-4, 0.9, 5e-4, 20)
    assert alex.labelled and not alex.unnormalised and round(alex.epochs * 8498 / 20, -5) == 100_000
    names = ["conv1_weight", "conv1_bias", "score_weight", "score_bias"]
    assert alex.multipliers(names) == {"lr_mult": {"score_bias": 2.0}, "wd_mult": {"score_bias": 0.0}}


def test_a_step_averages_over_labelled_pixels_as_caffe_does(ctx):
    """Two images with many ignored pixels in one step, against float64."""
    symbol = get_fcn32s_symbol(3, width=1 / 32, fc=6)
    symbol = mx.sym.load_json(symbol.tojson().replace('"p": "0.5"', '"p": "0"'))
    params, data = random_params(symbol, 5, ctx), Images([(29, 38), (40, 27)])
    data.batches[0]["softmax_label"][:, :11] = 255
    data.batches[1]["softmax_label"][:, 3:] = 255
    before, means = {key: array.asnumpy().copy() for key, array in params.items()}, []
    for batch in data.batches:
        pixels, labelled = batch["softmax_label"].size, (batch["softmax_label"] != 255).sum()
        assert labelled < 0.8 * pixels
        _, gradients = numpy_reference.run(symbol.tojson(), {**before, **batch})  # a mean over all pixels
        means.append({key: gradients[key] * pixels / labelled for key in before})
    stage = replace(ALL_STAGES["caffe"]["fcn_alexnet"], learning_rate=0.5, momentum=0.0, wd=0.0)
    solver = make_solver(replace(stage, caffe_biases=False), symbol, params, {}, ctx)
    solver.step(data.batches, data)
    for key in {*before} - {*stage.fixed}:
        expected = -0.5 * (means[0][key] + means[1][key]) / 2
        change = solver.arg_params[key].asnumpy() - before[key]
        np.testing.assert_allclose(change, expected, atol=1e-3 * np.abs(expected).max(), err_msg=key)


@pytest.mark.usefixtures("in_process")
def test_commands_take_fcn_alexnet_from_training_to_export(alexnet, voc, tmp_path, capsys):
    run, data = tmp_path / "run", ["--data", str(voc)]
    command = ["finetune", *data, "--prefix", str(alexnet), "--epoch", "0", "--output", str(run)]
    assert main([*command, "--stages", "fcn_alexnet", "--epochs", "2", "--lr", "1e-3"]) == 0
    out = capsys.readouterr().out
    assert "sgd at 0.001, momentum 0.9, weight decay 0.0005, fixed: bigscore_weight, 20 batches" in out
    state = json.loads(next(run.glob("fcn_alexnet-last.0003-*.json")).read_text())
    assert state["steps"] == 2  # each of all six images, fewer than 20
    net = ["--prefix", str(run / "fcn_alexnet")]
    assert main(["finetune", "--resume", str(run)]) == 0
    assert main(["evaluate", *net, *data]) == 0
    assert main(["report", str(run)]) == 0
    image = str(voc / "JPEGImages" / "val_0000.jpg")
    assert main(["segment", *net, image, "--output", str(tmp_path / "masks")]) == 0
    assert main(["export", *net, "--output", str(tmp_path / "deploy" / "net")]) == 0
    # Five other classes: the trunk is kept.
    other = ["--stages", "fcn_alexnet", "--epochs", "1", "--num-classes", "9", "--no-val"]
    command[command.index("--prefix") + 1], command[-1] = str(run / "fcn_alexnet"), str(tmp_path / "nine")
    command[command.index("--epoch") + 1] = "1"
    assert main([*command, *other]) == 0
    assert "its AlexNet (conv1 to fc7) is kept; scores and upsampling begin anew" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "nine" / "fcn_alexnet", 1).arg_params["score_weight"].shape[0] == 9


def test_images_too_small_for_fcn_alexnet_are_refused_before_training(alexnet, voc, tmp_path, capsys):
    """It needs a pixel more than the other nets, which take 26."""
    command = ["finetune", "--data", str(voc), "--prefix", str(alexnet), "--epoch", "0", "--no-val"]
    command += ["--stages", "fcn_alexnet", "--crop-size", "26", "--output", str(tmp_path / "run")]
    assert main([*command, "--pooling-convention", "valid", "--epochs", "1"]) == 2
    assert "crop size 26: the net needs at least 27x27 pixels" in capsys.readouterr().err
    assert main([*command, "--epochs", "1"]) == 0  # pools round up, as the parent's


def test_the_stages_accumulation_is_replaced_by_the_option(alexnet, voc, tmp_path):
    command = ["finetune", "--data", str(voc), "--prefix", str(alexnet), "--epoch", "0", "--no-val"]
    command += [
        "--stages",
        "fcn_alexnet",
        "--epochs",
        "1",
        "--accumulate",
        "2",
        "--output",
        str(tmp_path / "r"),
    ]
    assert main(command) == 0
    state = json.loads(next((tmp_path / "r").glob("fcn_alexnet-last.0002-*.json")).read_text())
    assert state["steps"] == 3  # six images


def test_finer_nets_follow_fcn_8s_and_at_once_is_one_stage(run_folder, voc, tmp_path):
    command = finetune(voc, run_folder, "--stages", "fcn4s,fcn2s", "--epochs", "1", "--no-val")
    command += [
        "--prefix",
        str(run_folder / "run" / "fcn8s"),
        "--epoch",
        "1",
        "--output",
        str(tmp_path / "fine"),
    ]
    assert main(command) == 0
    kept = checkpoint.load(run_folder / "run" / "fcn8s", 1).arg_params
    for name in ("fcn4s", "fcn2s"):
        loaded = checkpoint.load(tmp_path / "fine" / name, 1)
        assert {*kept} <= {*loaded.arg_params} and loaded.arg_params["score_pool2_weight"].asnumpy().any()
        check_params(loaded.symbol, loaded.arg_params, {}, name)
    command = finetune(voc, run_folder, "--stages", "fcn8s_atonce", "--epochs", "2")
    assert main([*command, "--output", str(tmp_path / "once")]) == 0
    loaded = checkpoint.load(tmp_path / "once" / "fcn8s_atonce", 2)
    assert '"scalar": "0.01"' in loaded.symbol.tojson()
    assert loaded.arg_params["score_pool3_weight"].asnumpy().any()
    # It goes on from itself.
    command = finetune(voc, run_folder, "--stages", "fcn8s_atonce", "--epochs", "1", "--no-val")
    command += ["--prefix", str(tmp_path / "once" / "fcn8s_atonce"), "--epoch", "2"]
    assert main([*command, "--output", str(tmp_path / "again")]) == 0


def test_runs_of_earlier_versions_resume_without_the_new_settings(run_folder, voc, tmp_path):
    command = finetune(voc, run_folder, "--stages", "fcn32s", "--epochs", "1", "--no-val")
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    plan = read_plan(tmp_path / "run")
    for stage in plan["stages"]:
        for name in ("biases", "labelled", "accumulate"):
            del stage[name]
    write_plan(tmp_path / "run", plan)
    assert main(["finetune", "--resume", str(tmp_path / "run")]) == 0


def test_gluon_refuses_a_recipe_that_accumulates(alexnet, tmp_path):
    stages = [ALL_STAGES["mxnet"]["fcn_alexnet"]]
    with pytest.raises(FCNXSError, match="fcn_alexnet: its recipe accumulates batches; train it with `fcnxs"):
        gluon_finetune(str(alexnet), 0, stages, None, tmp_path / "out", checkpoint.Meta())
    stages, message = [ALL_STAGES["adam"]["mask_regression"]], "mask_regression: has another loss than FCNs"
    with pytest.raises(FCNXSError, match=message):
        gluon_finetune(str(alexnet), 0, stages, None, tmp_path / "out", checkpoint.Meta())
