"""Training and evaluation of a net through MXNet's executor, on one device or several."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterable, List, Sequence

import numpy as np

from ..class_weights import check_weights
from ..compat import mxnet as mx
from ..data.batch import stack_of
from ..errors import FCNXSError
from ..heads import check_one_head
from ..net import ANY_SIZE, Params, check_params, check_size, devices_of, is_input
from ..symbols.graph.nodes import Graph
from .callbacks import BatchEndParam, Callbacks, call
from .collective import Exchange, exchange_for
from .optimizers import optimizer_of
from .replica import Batch, Replica, arrays_of, files_of, groups, names_of, weight_of


class Solver:
    """Train and evaluate one net; each device takes its own images, of their own sizes.

    A step's gradients are summed over its batches, devices and machines and divided by the number of images.
    Each device then makes the same update of its own copy of the parameters.

    Args:
        symbol: net whose output is a SoftmaxOutput with multi_output, as `fcnxs.symbols` builds it; or that has
            such outputs for several heads, whose losses are summed.
        ctx: device, or devices; None is the CPU.
        begin_epoch, num_epoch: `fit` trains epochs begin_epoch to num_epoch - 1.
        arg_params, aux_params: parameters by name. Those on the (first) device are trained in place.
        optimizer: name of an MXNet optimizer, or one made already, with its own arguments.
        fixed: parameters that are not trained.
        lr_mult, wd_mult: factors of single parameters' learning rate and weight decay.
        unnormalised: sum the loss over an image's pixels, as Caffe does, instead of averaging it: multiply the
            gradient by H*W, by which SoftmaxOutput divides.
        labelled: average the loss over the pixels that are not ignored, as Caffe's `normalize: true`.
        class_weights: weight of each class in the loss: a pixel's gradient is multiplied by that of its label.
            None: all count alike.
        kvstore: one of `collective.KVSTORES`, or one made already, to sum gradients over devices and machines.
            One device of one machine needs none. None: `device` for GPUs, `local` for CPU devices.
        recompute: keep the activations of VGG-16's widest layers out of memory, and compute them again in the
            backward pass: less memory, the same result. `mirror` is the former name.
        trim: compute only the part of the padded canvas that the image can influence (`symbols/trimming`): less
            time, the same result to rounding. A net that cannot be trimmed is computed whole.
        monitor: an `mx.mon.Monitor`; each step tells it the layers' outputs, and it logs them with the
            parameters. Of a trimmed net it sees only the part that is computed.
        **kwargs: arguments of an optimizer that is given by name (learning_rate, momentum, wd, ...).

    Attributes:
        arg_params, aux_params: parameters and auxiliary states, on the first device.

    Source: apache/mxnet 1.4.1 example/fcn-xs/solver.py has the same arguments, here and of `fit`, except for
    `fixed` to `monitor`.

    Raises:
        FCNXSError: a device is given twice, arguments of an optimizer with one made already, `monitor` with
            `recompute`, or `labelled` or `class_weights` with several heads; or, when training begins, a
            parameter is missing or has a shape that the net does not take, or `class_weights` do not fit.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        ctx: mx.Context | Sequence[mx.Context] | None = None,
        begin_epoch: int = 0,
        num_epoch: int | None = None,
        arg_params: Params | None = None,
        aux_params: Params | None = None,
        optimizer: str | mx.optimizer.Optimizer = "sgd",
        *,
        fixed: Iterable[str] = ("bigscore_weight",),
        lr_mult: Dict[str, float] | None = None,
        wd_mult: Dict[str, float] | None = None,
        unnormalised: bool = False,
        labelled: bool = False,
        class_weights: Sequence[float] | None = None,
        kvstore: str | mx.kv.KVStore | Exchange | None = None,
        recompute: bool = False,
        trim: bool = True,
        monitor: mx.mon.Monitor | None = None,
        **kwargs: Any,  # noqa: ANN401  (an optimizer's arguments are of any type)
    ) -> None:
        self.symbol, self.devices = symbol, devices_of(ctx)
        self.begin_epoch, self.num_epoch = begin_epoch, num_epoch
        recompute = kwargs.pop("mirror", recompute)
        if monitor is not None and recompute:
            raise FCNXSError(
                "monitor: with recompute, layers run several times in a step; leave one of them out"
            )
        for name, given in (("labelled", labelled), ("class_weights", class_weights)):
            if given:
                check_one_head(symbol, name, "its losses are summed as they are")
        self.optimizer, self.kwargs, self.kvstore, self.monitor = optimizer, kwargs, kvstore, monitor
        self.fixed, self.class_weights = frozenset(fixed), class_weights
        self.unnormalised, self.labelled = unnormalised, labelled
        self.lr_mult, self.wd_mult = lr_mult or {}, wd_mult or {}
        arguments = symbol.list_arguments()
        args = {name: a for name, a in (arg_params or {}).items() if name in arguments and not is_input(name)}
        self.replicas = []
        for device in self.devices:
            own = optimizer_of(optimizer, kwargs, self.lr_mult, self.wd_mult, len(self.devices) > 1)
            how = (self.fixed, own, recompute, trim, class_weights)
            self.replicas.append(Replica(symbol, device, args, aux_params or {}, *how))
        self.arg_params, self.aux_params = self.replicas[0].arg_params, self.replicas[0].aux_params
        self._exchange: Exchange | None = None

    def fit(
        self,
        train_data: mx.io.DataIter,
        eval_data: mx.io.DataIter | None = None,
        eval_metric: str | mx.metric.EvalMetric = "acc",
        grad_req: str = "write",
        epoch_end_callback: Callbacks = None,
        batch_end_callback: Callbacks = None,
        kvstore: str | mx.kv.KVStore | None = None,
        logger: logging.Logger | None = None,
        eval_end_callback: Callbacks = None,
        eval_batch_end_callback: Callbacks = None,
    ) -> None:
        """Train from `begin_epoch` to `num_epoch`, and evaluate after each epoch.

        Args:
            train_data, eval_data: iterators over dicts of arrays by `data_name` and `label_name`, as
                `FileIter`, or over batches of MXNet's, as `mx.io.NDArrayIter`: images (N, 3, H, W) and labels
                (N, H, W). A step takes one batch for each device.
            eval_metric: a `SegmentationMetric`, for several heads a `HeadsMetric`, or any metric of MXNet's,
                which gets labels (M,) and probabilities (M, C) of the pixels that are not ignored.
            grad_req: "write", or "null" to train nothing.
            epoch_end_callback: called with (epoch, symbol, arg_params, aux_params).
            batch_end_callback: called with a `BatchEndParam`; nbatch counts from 1.
            kvstore: replaces the one given at construction.
            logger: None: this module's.
            eval_end_callback, eval_batch_end_callback: called after an evaluation, and after each of its
                batches, with a `BatchEndParam`; nbatch counts from 1.

        Raises:
            FCNXSError: `num_epoch` was not given, `grad_req` is neither, or as the class and `train_data`.
        """
        logger = logger or logging.getLogger(__name__)
        if self.num_epoch is None:
            raise FCNXSError("fit needs num_epoch, the epoch to train to")
        if grad_req not in ("write", "null"):
            raise FCNXSError(f"grad_req={grad_req!r}: expected 'write' or 'null'")
        self.kvstore = kvstore or self.kvstore
        metric = mx.metric.create(eval_metric)
        logger.info("training on %s", ", ".join(map(str, self.devices)))
        for epoch in range(self.begin_epoch, self.num_epoch):
            train_data.reset()
            metric.reset()
            for nbatch, batches in enumerate(groups(train_data, len(self.devices)), 1):
                self.step(batches, train_data, metric, update=grad_req == "write")
                call(batch_end_callback, BatchEndParam(epoch, nbatch, metric))
            logger.info("Epoch[%d] Train: %s", epoch, _text(metric))
            call(epoch_end_callback, epoch, self.symbol, self.arg_params, self.aux_params)
            if eval_data is not None:
                self._validate(eval_data, metric, epoch, eval_end_callback, eval_batch_end_callback)
                logger.info("Epoch[%d] Validation: %s", epoch, _text(metric))

    def step(
        self,
        batches: Batch | mx.io.DataBatch | Sequence[Batch | mx.io.DataBatch],
        train_data: mx.io.DataIter,
        metric: mx.metric.EvalMetric | None = None,
        update: bool = True,
        images: int | None = None,
    ) -> float:
        """Train on one batch of `train_data` or several: forward and backward of each, then one update.

        Args:
            batches: the first goes to the first device, and so on; more batches than devices accumulate.
                On several machines it may be empty.
            images: number of images of this step on all machines; None: each has as many as this one.

        Returns:
            mean over the batches of the values of `metric.update`, which for a `SegmentationMetric` are losses
            per pixel before the update. NaN if no pixel counted, or the metric returns nothing.
        """
        batches = [batches] if isinstance(batches, (dict, mx.io.DataBatch)) else batches
        batches = [arrays_of(batch, train_data) for batch in batches]
        self._begin(train_data, batches)
        ((image, *_), labels), count = names_of(train_data), len(self.replicas)
        if self.monitor is not None:
            self.monitor.tic()
        if images is None:
            machines = self._exchange.workers if self._exchange else 1
            images = machines * sum(len(batch[image]) for batch in batches)
        weights = [weight_of(batch, image, labels, self.unnormalised, self.labelled) for batch in batches]
        alone = len(batches) == 1 and self._exchange is None  # its weight is then a factor of the update
        values: List[float | None] = []
        for first in range(0, max(len(batches), 1), count):
            running = []
            for replica, batch, weight in zip(self.replicas, batches[first:], weights[first:]):
                executor = replica.forward(batch, train_data, is_train=True, monitor=self.monitor)
                if update:
                    replica.backward(executor, 1 if alone else weight, first == 0, len(batches) <= count)
                running.append((replica, batch, executor))
            if update and first + count >= len(batches):
                self._update(len(batches), (weights[0] if alone else 1) / images)
            values += [each.count(metric, batch, train_data, executor) for each, batch, executor in running]
        if self.monitor is not None:
            self.monitor.toc_print()
            self.monitor.exes.clear()  # it would keep executors that are dropped
        losses = [value for value in values if value is not None and not np.isnan(value)]
        return sum(losses) / len(losses) if losses else float("nan")

    def evaluate(
        self,
        eval_data: mx.io.DataIter,
        metric: mx.metric.EvalMetric,
        on_batch: Callable[..., None] | None = None,
    ) -> None:
        """Reset `metric`, and count all of `eval_data` into it, with the current parameters.

        Args:
            on_batch: called with each batch and its probabilities (N, C, H, W), in order; of several heads with
                those of each.
        """
        eval_data.reset()
        metric.reset()
        for batches in groups(eval_data, len(self.replicas)):
            self._begin(eval_data, batches)
            executors = [
                replica.forward(batch, eval_data, is_train=False)
                for replica, batch in zip(self.replicas, batches)
            ]
            for replica, batch, executor in zip(self.replicas, batches, executors):
                replica.count(metric, batch, eval_data, executor)
                if on_batch is not None:
                    on_batch(batch, *replica.probabilities(batch, eval_data, executor))

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step."""
        return self.replicas[0].optimizer.learning_rate

    def _validate(
        self,
        eval_data: mx.io.DataIter,
        metric: mx.metric.EvalMetric,
        epoch: int,
        at_end: Callbacks,
        after_batch: Callbacks,
    ) -> None:
        """Evaluate with the callbacks of `fit`."""
        nbatch = 0

        def on_batch(*_: object) -> None:
            nonlocal nbatch
            nbatch += 1
            call(after_batch, BatchEndParam(epoch, nbatch, metric))

        self.evaluate(eval_data, metric, on_batch)
        call(at_end, BatchEndParam(epoch, nbatch, metric))

    def _begin(self, data: mx.io.DataIter, batches: Sequence[Batch]) -> None:
        """Before the first pass: check the parameters, allocate gradients, connect to the other devices."""
        if self.replicas[0].executors is not None:
            return
        inputs, symbol = self.replicas[0].inputs_of(data), self.replicas[0].symbol
        shape = stack_of(batches[0], names_of(data)[0]).shape if batches else None
        shape = shape or Graph.of(symbol).image_shapes(ANY_SIZE[2:])[inputs[0]]
        check_size(symbol, inputs[0], shape, files_of(batches[0], data) if batches else "an image")
        check_params(symbol, self.arg_params, self.aux_params, "Solver", inputs, shape)
        if self.class_weights is not None:
            _, outputs, _ = symbol.infer_shape(**{inputs[0]: shape})
            check_weights(self.class_weights, outputs[0][1])
        self._exchange = exchange_for(self.kvstore, self.devices)
        for replica in self.replicas:
            replica.bind(**{inputs[0]: shape})

    def _update(self, batches: int, rescale_grad: float) -> None:
        """Sum the gradients of this step, and update every copy of the parameters."""
        only = batches <= len(self.replicas)
        gradients = [replica.gradients(batches > i, only) for i, replica in enumerate(self.replicas)]
        if self._exchange is not None:
            self._exchange.sum(self.replicas[0].trained, gradients)
        for replica, grads in zip(self.replicas, gradients):
            replica.update(grads, rescale_grad)


def _text(metric: mx.metric.EvalMetric) -> str:
    return ", ".join(f"{name} {value:.6f}" for name, value in metric.get_global_name_value())
