"""One device's copy of a net in training: parameters, gradients, executors, optimizer."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

import numpy as np

from ..class_weights import ARGUMENT, weighted
from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL
from ..data.batch import stack_of
from ..data.labels import check_label
from ..errors import FCNXSError
from ..heads import labels_of
from ..metric import count_batch
from ..net import Net, Params, Shape
from ..symbols.graph.nodes import Graph
from ..symbols.graph.rewrite import stacked, with_freed_concats, with_seeded_dropout
from .executors import Executors, Pass, Segments

Batch = Dict[str, np.ndarray]  # image (N, 3, H, W) and label (N, H, W), by name; `loader.Batch` says more


class Replica:
    """A net on one device.

    Args:
        arg_params, aux_params: parameters of the net; those on `ctx` are trained in place, others are copied.
        fixed: parameters that are not trained.
        optimizer: used by this replica only.
        recompute: train in `Segments`, with less memory.
        trim: compute only what depends on the image.
        class_weights: weights of the classes in the loss; None: all count alike.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        ctx: mx.Context,
        arg_params: Params,
        aux_params: Params,
        fixed: Iterable[str],
        optimizer: mx.optimizer.Optimizer,
        recompute: bool = False,
        trim: bool = True,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.images, self.labels = [*Graph.of(symbol).image_shapes((1, 1))], labels_of(symbol)
        self.symbol, self.ctx, self.optimizer = stacked(symbol), ctx, optimizer
        self.recompute, self.trim, self.class_weights = recompute, trim, class_weights
        self.arg_params = {name: array.as_in_context(ctx) for name, array in arg_params.items()}
        self.aux_params = {name: array.as_in_context(ctx) for name, array in aux_params.items()}
        arguments = self.symbol.list_arguments()
        self.trained = [name for name in arg_params if name in arguments and name not in fixed]
        if ctx.device_type == "cpu":  # where MXNet is slower at several parameters at once
            optimizer.aggregate_num = 0
        self.updater = mx.optimizer.get_updater(optimizer)
        self.executors: Executors | None = None
        self.totals: Params = {}  # sums of gradients in steps with several batches on this device

    def inputs_of(self, data: mx.io.DataIter) -> Tuple[str, ...]:
        """Names of the inputs of `symbol`, which `data` gives: image, then labels in the order of the outputs.

        Raises:
            FCNXSError: the net has no such input, or takes other images or labels.
        """
        arguments, (images, labels) = self.symbol.list_arguments(), names_of(data)
        image = "data" if images[1:] else images[0]
        if images[1:] and {*images} != {*self.images}:
            takes = f"the images {', '.join(self.images)}" if self.images[1:] else "one array"
            raise FCNXSError(f"the net takes {takes}, and the data has the images {', '.join(images)}")
        if {*labels} != {*(self.labels or labels[:1])}:
            takes = f"the labels {', '.join(self.labels)}" if self.labels else "one label"
            raise FCNXSError(f"the net takes {takes}, and the data has {', '.join(labels)}")
        inputs = (image, *(self.labels or labels))
        for name in inputs:
            if name not in arguments:
                raise FCNXSError(f"the net has no input {name!r}; its arguments are {', '.join(arguments)}")
        return inputs

    def bind(self, **inputs: Shape) -> None:
        """Allocate gradients; executors are bound at the first image of each size.

        Args:
            **inputs: shape of an image (N, 3, H, W) by its input's name.
        """
        grads = {name: mx.nd.zeros(self.arg_params[name].shape, self.ctx) for name in self.trained}
        symbol = with_freed_concats(with_seeded_dropout(self.symbol), **inputs)
        params = self.arg_params
        if self.class_weights is not None:
            symbol = weighted(symbol, len(self.class_weights))
            params = {**params, ARGUMENT: mx.nd.array(self.class_weights, self.ctx)}
        kind = Segments if self.recompute else Executors
        self.executors = kind(Net(symbol, params, self.aux_params), self.ctx, grads, self.trim)

    def forward(
        self, batch: Batch, data: mx.io.DataIter, is_train: bool, monitor: mx.mon.Monitor | None = None
    ) -> mx.executor.Executor | Pass:
        """Start the forward pass of a batch of `data`, and return the executor, whose outputs come later.

        Args:
            monitor: told of the layers' outputs, if `is_train`.
        """
        (names, label_names), where = names_of(data), files_of(batch, data)
        image = stack_of(batch, self.images if names[1:] else names)
        data_name = "data" if names[1:] else names[0]
        executor = self.executors.get(data_name, image.shape, where)
        executor.arg_dict[data_name][:] = image
        for name, output in zip(self.labels or label_names, executor.outputs):
            check_label(np.asarray(batch[name]), output.shape[1], f"{where}: {name}")
            executor.arg_dict[name][:] = np.reshape(batch[name], executor.arg_dict[name].shape)
        if is_train and monitor is not None and executor not in monitor.exes:
            monitor.install(executor)
        if is_train and getattr(batch, "seed", None) is not None:
            mx.random.seed(batch.seed, self.ctx)  # dropout depends on the image alone
        executor.forward(is_train=is_train)
        return executor

    def count(
        self,
        metric: mx.metric.EvalMetric | None,
        batch: Batch,
        data: mx.io.DataIter,
        executor: mx.executor.Executor | Pass,
    ) -> float | None:
        """Count a batch whose labels and probabilities are in `executor`, until its next pass."""
        names = self.labels or names_of(data)[1]
        labels = [executor.arg_dict[name] for name in names]
        return count_batch(metric, [np.asarray(batch[name]) for name in names], labels, executor.outputs)

    def probabilities(
        self, batch: Batch, data: mx.io.DataIter, executor: mx.executor.Executor | Pass
    ) -> List[mx.nd.NDArray]:
        """Probabilities (N, C, H, W) of each head for a batch, which `executor` may have as (N*H*W, C)."""
        images, _, *size = batch[names_of(data)[0][0]].shape
        return [
            x if x.ndim == 4 else mx.nd.transpose(x.reshape((images, *size, x.shape[1])), (0, 3, 1, 2))
            for x in executor.outputs
        ]

    def backward(self, executor: mx.executor.Executor | Pass, weight: float, first: bool, only: bool) -> None:
        """Start a backward pass, and add its gradients, times `weight`, to the step's sums.

        Args:
            first: this is the step's first batch on this device.
            only: this is also its last.
        """
        executor.backward()
        for name, grad in self.executors.grads.items():
            if weight != 1:
                grad *= weight
            if only:
                continue
            if first:
                self.totals[name] = grad.copyto(self.totals.get(name, self.ctx))
            else:
                self.totals[name] += grad

    def gradients(self, used: bool, only: bool) -> List[mx.nd.NDArray]:
        """Sums of the step's gradients, in order and shapes of `trained`; zeros if this device had no batch.

        Args:
            used: this device had a batch in this step.
            only: it had just one.
        """
        sums = self.executors.grads if only or not used else self.totals
        if not used:
            for grad in sums.values():
                grad[:] = 0
        return [sums[name] for name in self.trained]

    def update(self, gradients: List[mx.nd.NDArray], rescale_grad: float) -> None:
        """Start the update of all trained parameters.

        Args:
            gradients: gradient arrays, in the order and shapes of `trained`.
            rescale_grad: factor of the gradients.
        """
        self.optimizer.rescale_grad = rescale_grad
        if isinstance(self.optimizer, mx.optimizer.SGLD):
            mx.random.seed(self.optimizer.num_update, self.ctx)  # the same noise on every device
        self.updater(list(self.trained), gradients, [self.arg_params[name] for name in self.trained])

    def optimizer_state(self) -> Tuple[Params, Dict[str, Any]]:
        """State of the optimizer: arrays by `PARAMETER:i`, and numbers that JSON can hold."""
        arrays = {
            f"{name}:{i}": leaf
            for name, state in self.updater.states.items()
            for i, leaf in enumerate(_leaves(state))
        }
        numbers = {"num_update": self.optimizer.num_update, "counts": dict(self.optimizer._index_update_count)}
        if hasattr(self.optimizer, "m_schedule"):  # Nadam's
            numbers["m_schedule"] = self.optimizer.m_schedule
        return arrays, numbers

    def restore_optimizer(self, arrays: Params, numbers: Dict[str, Any]) -> None:
        """Restore what `optimizer_state` returned.

        Raises:
            FCNXSError: the state is another optimizer's, or another net's.
        """
        optimizer = self.optimizer
        optimizer.num_update = numbers["num_update"]
        optimizer._index_update_count = dict(numbers["counts"])
        optimizer._all_index_update_counts = {self.ctx.device_id: optimizer._index_update_count}
        if numbers.get("m_schedule") is not None:
            optimizer.m_schedule = numbers["m_schedule"]
        if not numbers["counts"]:
            return  # no step has been made
        used = 0
        for name in self.trained:
            state = optimizer.create_state_multi_precision(name, self.arg_params[name])
            for i, leaf in enumerate(_leaves(state)):
                kept = arrays.get(f"{name}:{i}")
                if kept is None or kept.shape != leaf.shape:
                    raise FCNXSError(f"the optimizer's state of {name} is missing or has another shape")
                kept.copyto(leaf)
                used += 1
            self.updater.states[name], self.updater.states_synced[name] = state, True
        if used != len(arrays):
            raise FCNXSError(f"{len(arrays)} arrays of the optimizer's state, but {used} are needed")


def _leaves(state: mx.nd.NDArray | tuple | list | None) -> List[mx.nd.NDArray]:
    """Arrays of one parameter's state, which MXNet nests in tuples."""
    if isinstance(state, (tuple, list)):
        return [leaf for part in state for leaf in _leaves(part)]
    return [] if state is None else [state]


def names_of(data: mx.io.DataIter) -> Tuple[List[str], List[str]]:
    """Names of an iterator's images, and of its labels; MXNet's own iterators have them in `provide_data`.

    Raises:
        FCNXSError: it gives no images, or no labels.
    """
    if hasattr(data, "data_name"):
        names = getattr(data, "data_names", None), getattr(data, "label_names", None)
        return names[0] or [data.data_name], names[1] or [data.label_name]
    for name in ("provide_data", "provide_label"):
        if not getattr(data, name):
            raise FCNXSError(f"{type(data).__name__}: its {name} has nothing; expected one array")
    return [each[0] for each in data.provide_data], [each[0] for each in data.provide_label]


def arrays_of(batch: Batch | mx.io.DataBatch, data: mx.io.DataIter) -> Batch:
    """A batch of `data` by name; of MXNet's batches the images that only fill up the last one are left out."""
    if isinstance(batch, dict):
        return batch
    # With roll_over, `pad` counts images that the epoch before has left over.
    filled = 0 if getattr(data, "last_batch_handle", "pad") == "roll_over" else batch.pad or 0
    kept = len(batch.data[0]) - filled
    images, labels = names_of(data)
    return dict(zip([*images, *labels], (array[:kept].asnumpy() for array in (*batch.data, *batch.label))))


def weight_of(batch: Batch, image: str, labels: List[str], unnormalised: bool, labelled: bool) -> float:
    """Factor of a batch's gradient, which SoftmaxOutput divides by an image's pixels (see `Solver`)."""
    if labelled:
        label = np.asarray(batch[labels[0]])
        return label.size / max(1, np.count_nonzero(label != IGNORE_LABEL))
    return math.prod(batch[image].shape[2:]) if unnormalised else 1


def groups(data: mx.io.DataIter, size: int) -> Iterator[List[Batch]]:
    """Lists of `size` batches; the last may have fewer."""
    batches = (arrays_of(batch, data) for batch in data)
    while group := list(islice(batches, size)):
        yield group


def files_of(batch: Batch, data: mx.io.DataIter) -> object:
    """Image files of a batch, for messages."""
    files = getattr(batch, "files", None)
    return ", ".join(map(str, files)) if files else getattr(data, "current", "an image")
