"""GPUs that are CPU devices do what real ones do, as far as MXNet's Python can tell (`stand_in/`)."""

import subprocess
import sys

import numpy as np
import pytest

from fcnxs.compat import mxnet as mx


def test_arrays_are_on_gpus_and_compute_there(gpus):
    one = mx.nd.array([1, 2], mx.gpu(1))
    assert str(one.context) == str((one + 1).context) == "gpu(1)" and one.context.device_type == "gpu"
    for ctx in (mx.gpu(0), mx.gpu(1), mx.cpu(1)):
        made = (
            mx.nd.zeros(3, ctx),
            mx.nd.random.uniform(shape=3, ctx=ctx),
            one.copyto(ctx),
            one.as_in_context(ctx),
        )
        assert [array.context for array in made] == [ctx] * 4
    x = mx.sym.Variable("x")
    executor = (x * 2).bind(mx.gpu(1), {"x": one}, {"x": mx.nd.zeros(2, mx.gpu(1))})
    np.testing.assert_array_equal(executor.forward(is_train=True)[0].asnumpy(), [2, 4])
    executor.backward(mx.nd.ones(2, mx.gpu(1)))
    assert executor.grad_dict["x"].context == mx.gpu(1) and executor.grad_dict["x"].asnumpy().tolist() == [2, 2]
    with pytest.raises(mx.MXNetError, match="All arguments must be in global context"):
        (x * 2).bind(mx.gpu(0), {"x": one})


def test_what_real_gpus_refuse_is_refused(gpus):
    one, there = mx.nd.ones(2, mx.gpu(1)), mx.context.num_gpus()
    refused = {
        lambda: one + mx.nd.ones(2): "different devices",
        lambda: mx.nd.sgd_update(one, mx.nd.ones(2, mx.gpu(0)), lr=1, out=one): "different devices",
        lambda: mx.nd.ones(2, mx.gpu(there)): "invalid device ordinal",
        lambda: mx.nd.array([1], mx.gpu(there)): "invalid device ordinal",
    }
    for run, message in refused.items():
        with pytest.raises(mx.MXNetError, match=message):
            run().wait_to_read()


def test_files_say_the_device_and_arrays_go_back_to_it(gpus, tmp_path):
    file = str(tmp_path / "arrays")
    devices = {"a": mx.gpu(1), "b": mx.cpu(), "c": mx.gpu(0)}
    mx.nd.save(file, {name: mx.nd.array([[1, 2, 3]], ctx).astype("float16") for name, ctx in devices.items()})
    assert {name: array.context for name, array in mx.nd.load(file).items()} == devices
    content = bytearray((tmp_path / "arrays").read_bytes())
    content[content.index(b"\2\0\0\0\1\0\0\0\2\0\0\0") + 4] = 9  # gpu(1) of float16
    (tmp_path / "arrays").write_bytes(content)
    for load in (lambda: mx.nd.load(file), lambda: mx.nd.load_frombuffer(bytes(content))):
        with pytest.raises(mx.MXNetError, match="invalid device ordinal"):
            load()


def test_processes_that_are_started_have_them_too(gpus):
    code = "import mxnet as mx; print(mx.context.num_gpus(), mx.nd.ones(1, mx.gpu(1)).context)"
    code = "import fcnxs; " + code  # which makes MXNet importable
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(mx.context.num_gpus()), "gpu(1)"]


@pytest.mark.skipif(mx.context.num_gpus() > 0, reason="there are GPUs")
def test_without_the_fixture_there_are_none():
    assert mx.context.num_gpus() == 0
