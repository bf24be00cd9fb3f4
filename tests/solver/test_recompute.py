import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, finetune, largest_ratio, random_params
from runs import params_of

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.net import Net
from fcnxs.solver.executors import Executors, Segments
from fcnxs.solver.solver import Solver
from fcnxs.symbols import NETS, get_fcn8s_symbol
from fcnxs.tools.main import main

NARROW = {"width": WIDTH, "fc": FC}
SIZES = [(40, 50), (50, 40), (30, 30)]


def same(a, b, ctx, rounding=0.0):
    """Equal bit for bit, or to a part of each array's largest; a GPU may sum in another order each time."""
    assert a.keys() == b.keys()
    for name in a:
        values = a[name].asnumpy(), b[name].asnumpy()
        largest = np.abs(values[0]).max()
        np.testing.assert_allclose(
            *values, rtol=0, atol=(rounding if ctx == mx.cpu() else 1e-5) * largest, err_msg=name
        )


@pytest.mark.parametrize("name", ["fcn32s", "fcn8s", "fcn2s"])
def test_segments_give_what_the_whole_net_gives(name, ctx):
    """Outputs and gradients, dropout included; FCN-2s has skips from both layers that it is cut behind."""
    symbol = NETS[name](3, **NARROW)
    params, batch = random_params(symbol, 1, ctx), Images(SIZES[:1]).batches[0]
    results = []
    for kind in (Executors, Segments):
        grads = {key: mx.nd.full(array.shape, np.nan, ctx) for key, array in params.items()}
        net = kind(Net(symbol, params, {}), ctx, grads)
        executor = net.get("data", batch["data"].shape)
        executor.arg_dict["data"][:] = batch["data"]
        executor.arg_dict["softmax_label"][:] = batch["softmax_label"].reshape(1, -1)
        executor.forward(is_train=False)
        inference = executor.outputs[0].copy()
        inference.wait_to_read()  # MXNet's executor would run what it has begun as the next pass is to be
        mx.random.seed(5, ctx)
        executor.forward(is_train=True)
        training = executor.outputs[0].copy()
        assert (inference - training).abs().max().asscalar() > 1e-3  # dropout is there, by any seed
        executor.backward()
        results.append({**grads, "inference": inference, "training": training})
    assert all(array.abs().sum().asscalar() > 0 for array in results[0].values())
    same(*results, ctx)


@pytest.mark.parametrize(("trim", "rounding"), [(False, 0), (True, 1e-5)])
def test_training_and_evaluation_are_the_same(trim, rounding, ctx):
    symbol = get_fcn8s_symbol(3, **NARROW)
    data, results = Images(SIZES), []
    for recompute in (False, True):
        params, metric = random_params(symbol, 2, ctx), SegmentationMetric(3)
        before = params["conv1_1_weight"].copy()
        rates = {"learning_rate": 1e-6, "momentum": 0.9, "unnormalised": True}
        solver = Solver(symbol, ctx, arg_params=params, recompute=recompute, trim=trim, **rates)
        mx.random.seed(3, ctx)
        losses = [solver.step(batches, data, metric) for batches in (*data.batches, data.batches)]
        assert np.isfinite(losses).all() and (params["conv1_1_weight"] - before).abs().max().asscalar() > 1e-4
        solver.evaluate(data, metric)
        results.append({**params, "losses": mx.nd.array(losses), "matrix": mx.nd.array(metric.matrix)})
    same(*results, ctx)


@pytest.mark.parametrize("options", [("--no-trim",), ("--trim", "--recipe", "mxnet", "--lr", "1e-2")])
def test_the_command_writes_the_same_parameters(options, run_folder, voc, tmp_path):
    """Bit for bit on the whole canvas; trimmed, to the rounding of float32 in what has changed.

    Trimmed runs use plain gradient descent: Adam divides each gradient by its size, which makes the rounding of
    one that is nearly zero as large as a step.
    """
    one_epoch = ("--stages", "fcn32s", "--epochs", "1", "--seed", "4", "--quiet", *options)
    for output, more in (("keeps", ()), ("recomputes", ("--recompute",))):
        arguments = [*finetune(voc, run_folder, *one_epoch), *more, "--output", str(tmp_path / output)]
        assert main(arguments) == 0
    keeps, recomputes = (params_of(tmp_path / name, "fcn32s", 1) for name in ("keeps", "recomputes"))
    differences = {name: recomputes[name] - keeps[name] for name in keeps}
    if options == ("--no-trim",):
        assert not any(difference.any() for difference in differences.values())
    parent = params_of(run_folder, "vgg", 0)
    changes = {name: keeps[name] - parent[name] for name in parent}
    assert all(change.any() for change in changes.values())
    ratio = largest_ratio(differences, changes)
    assert ratio <= 1e-5, ratio


def test_what_cannot_be_cut_or_is_too_small_is_refused(ctx):
    symbol = get_fcn8s_symbol(3, **NARROW)
    params = random_params(symbol, 1, ctx)
    with pytest.raises(
        FCNXSError, match=r"x\.png: 9x8 pixels is too small; the smallest for this net is 26x26"
    ):
        Segments(Net(symbol, params, {}), ctx, {}).get("data", (1, 3, 8, 9), "x.png")
    small = mx.sym.SoftmaxOutput(mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=3))
    with pytest.raises(FCNXSError, match="recompute: the net has no layer 'pool1'"):
        Segments(Net(small, {}, {}), ctx, {})


MEMORY = """
import re
import sys
from pathlib import Path
from fcnxs import compat
compat.use_the_machine()
from fcnxs.compat import mxnet as mx
from fcnxs.solver import Solver
from fcnxs.symbols import get_fcn8s_symbol
from conftest import Images, random_params

symbol = get_fcn8s_symbol(3, width=1 / 8, fc=16)
recompute = sys.argv[1] == "recompute"
solver = Solver(symbol, arg_params=random_params(symbol), recompute=recompute, learning_rate=1e-6)
batches = Images([(375, 500)]).batches
for _ in range(2):
    solver.step(batches, Images)
    mx.nd.waitall()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024)
if not recompute:
    text = solver.replicas[0].executors.get("data", (1, 3, 375, 500)).debug_str()
    print(re.search(r"Total (\\d+) MB allocated", text)[1])
"""


def test_a_quarter_of_the_activations_is_saved():
    """Peaks of resident memory, in MiB, of a process that recomputes and one that does not; 30% were seen."""
    tests, results = str(Path(__file__).parent.parent), []
    for kind in ("keep", "recompute"):
        command = [sys.executable, "-c", MEMORY, kind]
        done = subprocess.run(command, cwd=tests, capture_output=True, text=True, check=True)
        results.append([float(value) for value in done.stdout.split()])
    (keeps, activations), (recomputes,) = results
    assert keeps - recomputes > 0.25 * activations, results
