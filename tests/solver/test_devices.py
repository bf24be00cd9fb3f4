"""Several devices, or several images a step: the same update."""

import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, Images, random_params, several

from fcnxs import FCNXSError
from fcnxs.checkpoint.params_file import load_params, write_arrays
from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.solver.collective import Exchange, exchange_for
from fcnxs.solver.replica import Replica
from fcnxs.solver.solver import Solver
from fcnxs.symbols import get_fcn8s_symbol

SIZES = [(40, 50), (33, 64), (64, 30), (40, 50), (47, 47), (50, 41), (29, 38)]


class Seeded(dict):
    """A batch that says its dropout's seed."""


def batches():
    result = [Seeded(batch) for batch in Images(SIZES).batches]
    for number, batch in enumerate(result):
        batch.seed = 1000 + number
    return result


def train(devices, per_step, kvstore="local", unnormalised=False, **settings):
    """Parameters before and after all batches, so many a step."""
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    params = random_params(symbol, 4)
    before = {name: array.asnumpy().copy() for name, array in params.items()}
    settings = settings or {"learning_rate": 1e-2, "momentum": 0.9, "wd": 5e-4}
    contexts = several(devices)
    solver = Solver(symbol, contexts, arg_params=params, kvstore=kvstore, unnormalised=unnormalised, **settings)
    data, images = Images(SIZES), batches()
    for first in range(0, len(images), per_step):
        solver.step(images[first : first + per_step], data, SegmentationMetric(3))
    return solver, before


def changes(solver, before, device=0):
    after = solver.replicas[device].arg_params
    return {name: after[name].asnumpy().astype(np.float64) - before[name] for name in before}


@pytest.mark.parametrize("unnormalised", [False, True])
@pytest.mark.parametrize("devices", [2, 3])
def test_n_devices_equal_one_that_accumulates_n_images(devices, unnormalised):
    """The last step has fewer images than devices; dropout is drawn as on one device."""
    # Large enough that the rounding of a single weight does not show.
    rate = {"learning_rate": 1e-5 if unnormalised else 1e-2, "momentum": 0.9, "wd": 5e-4}
    one, before = train(1, devices, "local", unnormalised, **rate)
    expected = changes(one, before)
    assert all((np.linalg.norm(expected[name]) > 0) == (name != "bigscore_weight") for name in expected)
    for kvstore in ("local", "device"):
        several, _ = train(devices, devices, kvstore, unnormalised, **rate)
        for device in range(devices):
            for name, change in changes(several, before, device).items():
                most = 1e-5 * np.linalg.norm(expected[name])
                assert np.linalg.norm(change - expected[name]) <= most, (kvstore, name)


@pytest.mark.parametrize("devices", [2, 3, 5])
def test_n_gpus_equal_one_that_accumulates_n_images_bit_for_bit(devices):
    """GPUs sum by the store `device`, in the order of the devices; CPU devices do so too, if they are told."""
    one, _ = train(1, devices)
    several, _ = train(devices, devices, "device")
    for replica in several.replicas:
        for name, array in one.arg_params.items():
            np.testing.assert_array_equal(array.asnumpy(), replica.arg_params[name].asnumpy(), err_msg=name)


def test_gpus_sum_by_the_store_device_and_cpu_devices_by_local(gpus):
    """1e8 - 1e8 + 1 is 1 from left to right; `local` adds the first to the sum of the others, which is -1e8."""
    for device, store, total in ((mx.gpu, "device", 1), (mx.cpu, "local", 0)):
        devices = [device(0), device(1), mx.cpu(2) if device is mx.cpu else device(0)]
        exchange = exchange_for(None, devices)
        assert exchange.kv.type == store
        arrays = [[mx.nd.array([value], ctx)] for value, ctx in zip((1e8, -1e8, 1), devices)]
        exchange.sum(["x"], arrays)
        assert [array.asscalar() for (array,) in arrays] == [total] * 3 and arrays[1][0].context == devices[1]
    assert exchange_for(None, [mx.gpu(1)]) is None
    assert exchange_for("local", [mx.gpu(0), mx.gpu(1)]).kv.type == "local"  # what a user gives


def test_devices_accumulate_too():
    two, before = train(2, 4)
    one, _ = train(1, 4)
    expected = changes(one, before)
    for name, change in changes(two, before).items():
        assert np.linalg.norm(change - expected[name]) <= 1e-5 * np.linalg.norm(expected[name]), name


@pytest.mark.parametrize("unnormalised", [False, True])
def test_accumulated_images_are_one_update_with_their_mean_gradient(unnormalised):
    """Without momentum and decay the change is the mean of the changes that each image alone makes."""
    rate = {"learning_rate": 1e-5 if unnormalised else 1e-2}
    together, before = train(1, len(SIZES), unnormalised=unnormalised, **rate)
    alone = []
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    for batch in batches():
        solver = Solver(symbol, CTX, arg_params=random_params(symbol, 4), unnormalised=unnormalised, **rate)
        solver.step(batch, Images(SIZES))
        alone.append(changes(solver, before))
    for name, change in changes(together, before).items():
        mean = np.mean([each[name] for each in alone], axis=0)
        largest = np.abs(mean).max()
        np.testing.assert_allclose(change, mean, atol=1e-3 * largest + 1e-8, err_msg=name)


@pytest.mark.parametrize("optimizer", ["adam", "nadam", "sgld", "lamb"])
def test_copies_stay_the_same_with_every_optimizer(optimizer):
    solver, before = train(3, 3, optimizer=optimizer, learning_rate=1e-4)
    first = changes(solver, before)
    for device in (1, 2):
        for name, change in changes(solver, before, device).items():
            np.testing.assert_array_equal(change, first[name], err_msg=name)


def test_a_batch_of_images_equals_accumulating_them(ctx):
    """Without dropout: a batch draws it together, images one by one each for themselves."""
    symbol = mx.sym.load_json(
        get_fcn8s_symbol(3, width=WIDTH, fc=FC).tojson().replace('"p": "0.5"', '"p": "0"')
    )
    data = Images([(40, 50)] * 3)
    batch = {name: np.concatenate([b[name] for b in data.batches]) for name in data.batches[0]}
    after = []
    for step in (batch, data.batches):
        solver = Solver(symbol, ctx, arg_params=random_params(symbol, 4, ctx), learning_rate=1e-2)
        solver.step(step, data)
        after.append({name: array.asnumpy() for name, array in solver.arg_params.items()})
    before = {name: array.asnumpy() for name, array in random_params(symbol, 4).items()}
    for name in before:
        change = after[1][name] - before[name]
        atol = 1e-4 * np.abs(change).max() + 1e-8
        np.testing.assert_allclose(after[0][name] - before[name], change, atol=atol, err_msg=name)


def test_evaluation_on_several_devices_counts_every_image_in_order():
    symbol, data = get_fcn8s_symbol(3, width=WIDTH, fc=FC), Images(SIZES)
    counted = []
    for devices in (1, 3):
        contexts, told = several(devices), []
        solver = Solver(symbol, contexts, arg_params=random_params(symbol, 4))
        metric = SegmentationMetric(3)
        solver.evaluate(
            data, metric, lambda batch, p, told=told: told.append((batch["data"].shape, p.shape[2:]))
        )
        assert told == [((1, 3, *size), size) for size in SIZES]
        counted.append((metric.loss_sum, metric.matrix.tolist()))
    assert counted[0] == counted[1]


OPTIMIZERS = (
    *("adadelta", "adagrad", "adam", "adamax", "ftml", "ftrl", "lamb", "nadam", "nag", "rmsprop", "sgd"),
    *("sgld", "signum"),
)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_state_bit_for_bit(optimizer, tmp_path):
    rng = np.random.default_rng(0)
    values = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in {"w": (4, 3), "b": (4,)}.items()
    }
    grads = [[mx.nd.array(rng.normal(size=value.shape), CTX) for value in values.values()] for _ in range(6)]
    symbol = mx.sym.FullyConnected(
        mx.sym.Variable("data"), mx.sym.Variable("w"), mx.sym.Variable("b"), num_hidden=4
    )

    def replica(params):
        made = mx.optimizer.create(optimizer, learning_rate=1e-2, wd=1e-3)
        return Replica(symbol, CTX, {k: mx.nd.array(v) for k, v in params.items()}, {}, (), made)

    whole, half = replica(values), replica(values)
    for grad in grads:
        whole.update([g.copy() for g in grad], 0.5)
    for grad in grads[:3]:
        half.update([g.copy() for g in grad], 0.5)
    arrays, numbers = half.optimizer_state()
    if arrays:
        write_arrays(tmp_path / "state", arrays)
        arrays = load_params(tmp_path / "state")
    rest = replica({name: array.asnumpy() for name, array in half.arg_params.items()})
    rest.restore_optimizer(arrays, numbers)
    for grad in grads[3:]:
        rest.update([g.copy() for g in grad], 0.5)
    for name, array in whole.arg_params.items():
        np.testing.assert_array_equal(rest.arg_params[name].asnumpy(), array.asnumpy())
        assert (array.asnumpy() != values[name]).any()


def test_another_optimizer_s_state_is_refused():
    symbol = mx.sym.FullyConnected(mx.sym.Variable("data"), mx.sym.Variable("w"), no_bias=True, num_hidden=4)
    replicas = [
        Replica(symbol, CTX, {"w": mx.nd.ones((4, 3))}, {}, (), mx.optimizer.create(name))
        for name in ("adam", "nag", "adam")
    ]
    for replica in replicas[:2]:
        replica.update([mx.nd.ones((4, 3), CTX)], 1)
    with pytest.raises(FCNXSError, match="1 arrays of the optimizer's state, but|state of w is missing"):
        replicas[2].restore_optimizer(*replicas[1].optimizer_state())
    replicas[2].restore_optimizer(*replicas[0].optimizer_state())


def test_devices_given_twice_or_unknown_kvstores_are_refused():
    symbol, data = get_fcn8s_symbol(3, width=WIDTH, fc=FC), Images(SIZES)
    with pytest.raises(FCNXSError, match=r"cpu\(1\), cpu\(1\): name one or more, each only once"):
        Solver(symbol, [mx.cpu(1), mx.cpu(1)])
    solver = Solver(symbol, [mx.cpu(0), mx.cpu(1)], arg_params=random_params(symbol), kvstore="magic")
    with pytest.raises(FCNXSError, match="kvstore 'magic': expected one of local"):
        solver.step(data.batches[:2], data)
    solver.kvstore = "nccl"  # only the wheels for GPUs have it
    if not mx.runtime.Features().is_enabled("NCCL"):
        with pytest.raises(FCNXSError, match="kvstore 'nccl': this MXNet cannot make it: .*USE_NCCL"):
            solver.step(data.batches[:2], data)


def test_counts_of_many_machines_are_summed_exactly():
    """As integers of Python: MXNet's store, which adds in float32, loses a pixel of 2^24 + 1."""

    class Machines:
        rank, num_workers = 0, 1

        def init(self, key, zeros):
            pass

        def push(self, key, arrays, priority):
            self.total = 200 * arrays[0]  # each of 200 machines has the same

        def pull(self, key, arrays, priority):
            arrays[0][:] = self.total

    counts = [0, 1, 2**24 + 1, 263_123_457, 2**44 + 12_345]
    totals = Exchange(Machines()).totals(np.array(counts, np.float64))
    assert [int(total) for total in totals] == [200 * count for count in counts]
    assert np.isnan(Exchange(Machines()).totals(np.array([np.nan, 1.0]))).tolist() == [True, False]
