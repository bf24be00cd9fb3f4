"""Training and evaluation of a net through MXNet's executor."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Tuple

import numpy as np

from .compat import mxnet as mx
from .data import IGNORE_LABEL, check_label
from .errors import FCNXSError
from .executors import Executors, check_size
from .init import Params, check_params, is_input
from .score import NAMES, confusion_matrix, scores


class BatchEndParam(NamedTuple):
    """What a batch_end_callback is told."""

    epoch: int
    nbatch: int
    eval_metric: mx.metric.EvalMetric


class SegmentationMetric(mx.metric.EvalMetric):
    """Mean loss per pixel and the four scores; pixels labelled 255 are left out.

    `update` takes whole labels (N, H, W) or (N, H*W) and probabilities (N, C, H, W).
    """

    def __init__(self, numclass: int) -> None:
        self.numclass = numclass
        super().__init__("segmentation")

    def reset(self) -> None:
        """Forget all that was counted."""
        self.matrix = np.zeros((self.numclass, self.numclass), np.int64)
        self.loss_sum = 0.0

    def update(self, labels: List[mx.nd.NDArray], preds: List[mx.nd.NDArray]) -> float:
        """Count one batch, and return its mean loss per pixel."""
        label, probabilities = labels[0], preds[0].reshape((0, 0, -1))  # (N, C, H*W)
        label = label.reshape((label.shape[0], -1)).as_in_context(probabilities.context)  # (N, H*W)
        of_truth = mx.nd.pick(probabilities, label, axis=1).asnumpy()
        prediction = mx.nd.argmax(probabilities, axis=1).asnumpy()
        truth = label.asnumpy()
        losses = -np.log(np.maximum(of_truth[truth != IGNORE_LABEL], 1e-37))
        self.loss_sum += float(losses.sum(dtype=np.float64))
        self.matrix += confusion_matrix(truth, prediction, self.numclass)
        return float(losses.mean()) if losses.size else float("nan")

    def get(self) -> Tuple[List[str], List[float]]:
        """Names and values: the mean loss per pixel, then the four scores."""
        result, pixels = scores(self.matrix), self.matrix.sum()
        loss = self.loss_sum / pixels if pixels else float("nan")
        return ["loss", *NAMES], [loss, *(getattr(result, name) for name in NAMES)]


class Solver:
    """Train and evaluate one net on one device, an image a step, each of its own size.

    Args:
        symbol: net whose output is a SoftmaxOutput with multi_output, as `fcnxs.symbols` builds it.
        ctx: device; None is the CPU.
        begin_epoch, num_epoch: `fit` trains epochs begin_epoch to num_epoch - 1.
        arg_params, aux_params: parameters by name. Those on `ctx` are trained in place.
        optimizer: name of an MXNet optimizer, or one made already.
        fixed: parameters that are not trained.
        lr_mult, wd_mult: factors of single parameters' learning rate and weight decay.
        unnormalised: multiply each image's gradient by its H*W, by which SoftmaxOutput divides: the
            loss is then summed over pixels, as Caffe's.
        **kwargs: of the optimizer (learning_rate, momentum, wd, ...).

    Source: the arguments but `fixed` to `unnormalised`, and those of `fit`, are those of apache/mxnet
    1.4.1 example/fcn-xs/solver.py.

    Raises:
        FCNXSError: a parameter is missing or has another shape than the net's (when training begins).
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        ctx: mx.Context | None = None,
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
        **kwargs: Any,  # noqa: ANN401  (an optimizer's arguments are of any type)
    ) -> None:
        self.symbol = symbol
        self.ctx = mx.cpu() if ctx is None else ctx
        self.begin_epoch, self.num_epoch = begin_epoch, num_epoch
        self.arg_params, self.aux_params = _on(self.ctx, arg_params), _on(self.ctx, aux_params)
        self.optimizer, self.kwargs = optimizer, kwargs
        self.fixed, self.unnormalised = frozenset(fixed), unnormalised
        self.lr_mult, self.wd_mult = lr_mult or {}, wd_mult or {}
        self._updater: Callable | None = None
        self._executors: Executors | None = None

    def fit(
        self,
        train_data: mx.io.DataIter,
        eval_data: mx.io.DataIter | None = None,
        eval_metric: str | mx.metric.EvalMetric = "acc",
        grad_req: str = "write",
        epoch_end_callback: Callable | List[Callable] | None = None,
        batch_end_callback: Callable | List[Callable] | None = None,
        kvstore: str = "local",
        logger: logging.Logger | None = None,
    ) -> None:
        """Train for the epochs given at construction, and evaluate after each.

        Args:
            train_data, eval_data: give dicts of arrays by `data_name` and `label_name`, as `FileIter`.
            eval_metric: a `SegmentationMetric`, or any metric of MXNet's; the latter is given the
                pixels that count, as labels (M,) and probabilities (M, C).
            grad_req: "write"; or "null" to train nothing.
            epoch_end_callback: called with (epoch, symbol, arg_params, aux_params).
            batch_end_callback: called with a `BatchEndParam`; nbatch counts from 1.
            kvstore: accepted for the original's sake; one device needs none.
            logger: default is that of this module.
        """
        logger = logger or logging.getLogger(__name__)
        if self.num_epoch is None:
            raise FCNXSError("num_epoch is not given: until which epoch shall fit train?")
        if grad_req not in ("write", "null"):
            raise FCNXSError(f"grad_req={grad_req!r}: want 'write' or 'null'")
        metric = mx.metric.create(eval_metric)
        logger.info("training on %s", self.ctx)
        for epoch in range(self.begin_epoch, self.num_epoch):
            train_data.reset()
            metric.reset()
            for nbatch, batch in enumerate(train_data, 1):
                self.step(batch, train_data, metric, update=grad_req == "write")
                for callback in _callbacks(batch_end_callback):
                    callback(BatchEndParam(epoch, nbatch, metric))
            logger.info("Epoch[%d] Train: %s", epoch, _text(metric))
            for callback in _callbacks(epoch_end_callback):
                callback(epoch, self.symbol, self.arg_params, self.aux_params)
            if eval_data is not None:
                self.evaluate(eval_data, metric)
                logger.info("Epoch[%d] Validation: %s", epoch, _text(metric))

    def step(
        self,
        batch: Dict[str, np.ndarray],
        train_data: mx.io.DataIter,
        metric: mx.metric.EvalMetric | None = None,
        update: bool = True,
    ) -> float | None:
        """One step on one batch of `train_data`: forward, backward, update.

        Returns:
            what `metric.update` returned: of a `SegmentationMetric` the batch's mean loss per pixel,
            before the update.
        """
        executor = self._forward(batch, train_data, is_train=True)
        if update:
            executor.backward()
            batch_size, _, height, width = batch[train_data.data_name].shape
            self._update((height * width if self.unnormalised else 1) / batch_size)
        return _count(metric, batch[train_data.label_name], executor.outputs[0])

    def evaluate(self, eval_data: mx.io.DataIter, metric: mx.metric.EvalMetric) -> None:
        """Count all of `eval_data` with the current parameters into `metric`, which is reset before."""
        eval_data.reset()
        metric.reset()
        for batch in eval_data:
            executor = self._forward(batch, eval_data, is_train=False)
            _count(metric, batch[eval_data.label_name], executor.outputs[0])

    def _forward(
        self, batch: Dict[str, np.ndarray], data: mx.io.DataIter, is_train: bool
    ) -> mx.executor.Executor:
        image, label = batch[data.data_name], batch[data.label_name]
        where = getattr(data, "current", "an image")
        if self._executors is None:
            self._executors = self._bind(data, image.shape, where)
        executor = self._executors.get(data.data_name, image.shape, where)
        check_label(np.asarray(label), executor.outputs[0].shape[1], f"{where}: {data.label_name}")
        executor.arg_dict[data.data_name][:] = image
        label_array = executor.arg_dict[data.label_name]
        label_array[:] = np.reshape(label, label_array.shape)
        executor.forward(is_train=is_train)
        return executor

    def _bind(self, data: mx.io.DataIter, shape: Tuple[int, ...], where: object) -> Executors:
        """Check the parameters against the net, and give those that are trained a gradient."""
        names = self.symbol.list_arguments()
        for name in (data.data_name, data.label_name):
            if name not in names:
                raise FCNXSError(f"the net has no input {name!r}; its arguments are {', '.join(names)}")
        inputs = (data.data_name, data.label_name)
        check_size(self.symbol, data.data_name, shape, where)
        check_params(self.symbol, self.arg_params, self.aux_params, "Solver", inputs, shape)
        self.arg_params = {name: array for name, array in self.arg_params.items() if name in names}
        grads = {
            name: mx.nd.zeros(array.shape, self.ctx)
            for name, array in self.arg_params.items()
            if name not in self.fixed
        }
        return Executors(self.symbol, self.ctx, self.arg_params, self.aux_params, grads)

    def _update(self, rescale_grad: float) -> None:
        if self._updater is None:
            if isinstance(self.optimizer, str):
                self.optimizer = mx.optimizer.create(self.optimizer, **self.kwargs)
            if self.lr_mult:
                self.optimizer.set_lr_mult(self.lr_mult)
            if self.wd_mult:
                self.optimizer.set_wd_mult(self.wd_mult)
            self._updater = mx.optimizer.get_updater(self.optimizer)
        self.optimizer.rescale_grad = rescale_grad
        for name, grad in self._executors.grads.items():
            self._updater(name, grad, self.arg_params[name])


def _on(ctx: mx.Context, params: Params | None) -> Params:
    return {name: array.as_in_context(ctx) for name, array in (params or {}).items() if not is_input(name)}


def _count(
    metric: mx.metric.EvalMetric | None, label: np.ndarray, probabilities: mx.nd.NDArray
) -> float | None:
    """Update a metric: one of MXNet's with the pixels that count alone."""
    if metric is None:
        return None
    if isinstance(metric, SegmentationMetric):
        return metric.update([mx.nd.array(label)], [probabilities])
    label = np.reshape(label, -1)
    counted = label != IGNORE_LABEL
    pixels = probabilities.asnumpy().transpose(0, 2, 3, 1).reshape(label.size, -1)  # (N*H*W, C)
    return metric.update([mx.nd.array(label[counted])], [mx.nd.array(pixels[counted])])


def _callbacks(callback: Callable | List[Callable] | None) -> List[Callable]:
    if callback is None:
        return []
    return callback if isinstance(callback, list) else [callback]


def _text(metric: mx.metric.EvalMetric) -> str:
    return ", ".join(f"{name} {value:.6f}" for name, value in metric.get_global_name_value())
