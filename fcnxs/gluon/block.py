"""A net of `fcnxs.symbols` as a Gluon block."""

from __future__ import annotations

import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any, Collection, FrozenSet, List, Sequence, Tuple

import numpy as np

from .. import checkpoint
from ..checkpoint import Checkpoint, Meta
from ..checkpoint.params_file import check_finite, load_params
from ..compat import mxnet as mx
from ..deploy import write
from ..deploy.form import Form
from ..errors import FCNXSError
from ..heads import check_image, check_one_head
from ..net import ANY_SIZE, check_size, fixed_size
from ..stages import BIGSCORE, Stage
from ..symbols.graph.nodes import Graph
from ..symbols.graph.rewrite import scores_symbol, symbol_of, with_seeded_dropout, without_crop
from ..symbols.layers import check_numclass
from ..symbols.upsampling import upsamples_bilinearly, upsamplings, with_products
from .first_values import first_values
from .inputs import check_input, check_values

TYPES = ("float16", "float32", "float64")


class FCNxs(mx.gluon.SymbolBlock):
    """A net whose `forward` returns the class scores (N, C, H, W) of images (N, 3, H, W).

    The block computes the builder's graph up to the scores. Its parameters have the names that they have in
    checkpoints; dropout is active while `autograd` trains. The input is RGB of 0 to 255 minus `mean`, as
    `fcnxs.gluon.transform(net.mean)` makes it; GluonCV's own transforms scale images otherwise.

    At first only `bigscore_weight` is fixed (`grad_req` null), as in `Solver`; `set_stage` applies the settings
    of a recipe's stage. `initialize` always makes scores zero and upsampling bilinear; its initializer serves
    the other weights.

    Attributes:
        symbol: the whole net, with its softmax, as in a checkpoint.
        meta: mean, classes and palette, as in a checkpoint's meta file.
        nclass: number of classes.
        base_size, crop_size: for GluonCV's `MultiEvalModel`, which scales an image's longer side to multiples
            of base_size and computes squares of crop_size.

    Raises:
        FCNXSError: the net does not end in one softmax over classes, or has more than 255.

    >>> import fcnxs
    >>> from fcnxs.compat import mxnet as mx
    >>> net = FCNxs(fcnxs.symbols.get_fcn8s_symbol(numclass=5, width=1 / 16, fc=16))
    >>> net.initialize(mx.init.Xavier())
    >>> net.hybridize()
    >>> net(mx.nd.zeros((2, 3, 40, 60))).shape
    (2, 5, 40, 60)
    >>> list(net.collect_params())[:3]
    ['conv1_1_weight', 'conv1_1_bias', 'conv1_2_weight']
    """

    def __init__(
        self, symbol: mx.sym.Symbol, meta: Meta | None = None, base_size: int = 520, crop_size: int = 480
    ) -> None:
        check_one_head(symbol, type(self).__name__, "give `heads.net_of_head` of one")
        check_image(symbol, type(self).__name__)
        scores_symbol(symbol)  # refuses a net without scores
        # the softmax's input; unlike scores_symbol's, with dropout
        scores = with_seeded_dropout(symbol.get_children()[0])
        super().__init__(scores, mx.sym.var("data", dtype="float32"))
        self.symbol, self.meta = symbol, meta or Meta()
        self.base_size, self.crop_size = base_size, crop_size
        self._scores, self._dtype = scores, np.dtype(np.float32)
        self._graph, self._bilinear = Graph.of(symbol), frozenset()  # weights that `_upsample` found bilinear
        self._sizes = set()  # sizes and devices that have been checked
        self._first_pass = threading.Lock()  # MXNet builds its graph in it; GluonCV calls from several threads
        size = fixed_size(symbol)
        shapes, outputs, states = scores.infer_shape(data=ANY_SIZE if size is None else (1, 3, *size))
        self.nclass = check_numclass(outputs[0][1], type(self).__name__)
        names = [*scores.list_arguments(), *scores.list_auxiliary_states()]
        for name, shape in zip(names, [*shapes, *states]):
            if name in self.params:
                self.params[name].shape, self.params[name].init = shape, first_values(name, shape)
        self._fix(BIGSCORE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(list(self.params))} parameters, {self.nclass} classes)"

    @property
    def mean(self) -> Tuple[float, float, float]:
        """Mean (R, G, B) to subtract from images of 0 to 255."""
        return self.meta.mean

    @property
    def classes(self) -> List[str] | None:
        """Names of the classes; None if unknown."""
        return self.meta.classes

    @property
    def palette(self) -> List[List[int]] | None:
        """Colour (R, G, B) of each class, 0 to 255; None if unknown."""
        return self.meta.palette

    def forward(self, x: mx.nd.NDArray) -> mx.nd.NDArray:
        """Class scores (N, C, H, W) of images `x` (N, 3, H, W), RGB of 0 to 255 minus the mean.

        Raises:
            FCNXSError: `x` has a wrong shape or type, is too small, or is on a device without the parameters;
                or parameters have no values yet.
        """
        if isinstance(x, mx.sym.Symbol):
            with self._first_pass:
                self._upsample(frozenset())
                return super().forward(x)
        check_input(x, self._dtype)
        if x.context.device_type in ("cpu_shared", "cpu_pinned"):  # as from a DataLoader
            x = x.as_in_context(mx.cpu())
        key = (x.shape[2:], x.context)
        if key in self._sizes and self._bilinear_weights(x.context) == self._bilinear:
            return super().forward(x)
        with self._first_pass:
            memory = x.context.device_type != "gpu"
            check_size(self.symbol, "data", x.shape, "the input", self._graph, memory)
            check_values(self, x.context)
            self._upsample(self._bilinear_weights(x.context))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Parameter .* is not used by any computation")
                scores = super().forward(x)
            self._sizes.add(key)
            return scores

    def evaluate(self, x: mx.nd.NDArray) -> mx.nd.NDArray:
        """Logarithms of the classes' probabilities (N, C, H, W).

        GluonCV's `MultiEvalModel` calls it for an image and its mirror image, adds both and exponentiates.
        """
        return self(x).log_softmax(axis=1)

    def predict(self, x: mx.nd.NDArray) -> mx.nd.NDArray:
        """Class scores (N, C, H, W), the same as `forward`; images are not resized."""
        return self(x)

    def demo(self, x: mx.nd.NDArray) -> mx.nd.NDArray:
        """Scores (N, C, H, W): GluonCV's older name of `predict`."""
        return self.predict(x)

    def cast(self, dtype: str | type) -> None:
        """Convert parameters, input and scores to float16, float32 or float64.

        Checkpoints and exports stay float32.

        Raises:
            FCNXSError: another type. For bfloat16 and int8, export the net.
        """
        try:
            known = np.dtype(dtype)
        except TypeError:
            known = None
        if known is None or known.name not in TYPES:
            raise FCNXSError(f"cast({dtype!r}): expected {', '.join(TYPES)}; for bf16 and int8 export the net")
        super().cast(known.name)
        self._dtype, self._bilinear = known, frozenset()
        self._cached_graph = (self._cached_graph[0], self._graph_of_scores())

    def set_stage(self, stage: Stage) -> None:
        """Apply a stage's settings of parameters: which are fixed, and the biases' learning rate and decay."""
        self._fix(stage.fixed)
        settings = stage.multipliers(self.params)
        for name, parameter in self.params.items():
            parameter.lr_mult = settings["lr_mult"].get(name, 1.0)
            parameter.wd_mult = settings["wd_mult"].get(name, 1.0)

    def checkpoint(self, params_file: Path = Path("net-0000.params")) -> Checkpoint:
        """The net as a checkpoint in memory; it shares arrays that are float32 on `mx.cpu()`.

        Args:
            params_file: path that errors name.
        """
        check_values(self)
        values = {}
        for name, parameter in self.params.items():
            values[name] = parameter.list_data()[0].as_in_context(mx.cpu()).astype("float32", copy=False)
        states = self._scores.list_auxiliary_states()
        args = {name: array for name, array in values.items() if name not in states}
        auxs = {name: values[name] for name in states}
        return Checkpoint(self.symbol, args, auxs, self.meta, params_file)

    def load_parameters(
        self,
        filename: str | Path,
        ctx: mx.Context | Sequence[mx.Context] | None = None,
        allow_missing: bool = False,
        ignore_extra: bool = False,
        cast_dtype: bool = False,
        dtype_source: str = "current",
    ) -> None:
        """As `mx.gluon.Block.load_parameters`, but without the device that the parameters were saved on.

        Raises:
            FCNXSError: the file is damaged, or has a value that is not finite.
        """
        arrays = check_finite(load_params(filename, mapped=True), filename)
        how = {"filename": filename, "cast_dtype": cast_dtype, "dtype_source": dtype_source}
        self.collect_params().load_dict(arrays, ctx, allow_missing, ignore_extra, **how)

    def save_checkpoint(self, prefix: str | Path, epoch: int) -> Path:
        """Write PREFIX-symbol.json, PREFIX-NNNN.params and PREFIX-meta.json; return the path of the parameters.

        Raises:
            FCNXSError: as `fcnxs.checkpoint.save`; or parameters have no values yet.
        """
        own = self.checkpoint()
        return checkpoint.save(prefix, epoch, own.symbol, own.arg_params, own.aux_params, own.meta)

    def export(self, path: str | Path, epoch: int = 0, form: Form | None = None) -> write.Exported:
        """Export the net as `HybridBlock.export` does, and compare the export with the net, as `fcnxs export`.

        The default form gives the block's scores: `SymbolBlock.imports` makes the same block of it. With
        `form=Form()` it ends in a softmax, as that of `fcnxs export`. No forward pass is needed before.

        Args:
            path: prefix of the files; the default form writes PATH-symbol.json, PATH-NNNN.params with the
                number of the epoch, and PATH-meta.json.
            epoch: 0 or more; the formats onnx, ncnn and mar have 0 alone.
            form: None: json, scores (N, C, H, W), images of any size; see `fcnxs.deploy.form.Form`.

        Raises:
            FCNXSError, ExportMismatch: as `fcnxs.deploy.write.export`.
        """
        form = form or Form(head="logits")
        if epoch < 0 or (epoch and form.format != "json"):
            raise FCNXSError(
                f"export: epoch={epoch}: expected {'0 or more' if epoch < 0 else f'0 for {form.format}'}"
            )
        with tempfile.TemporaryDirectory() as folder:
            prefix = Path(folder) / (Path(path).name or "net")
            self.save_checkpoint(prefix, 0)
            own = checkpoint.load(prefix, 0, operators=Graph.of(self.symbol).ops)
            return write.export(own, path, form, epoch=epoch)

    @staticmethod
    def imports(
        symbol_file: str | Path,
        input_names: str | Sequence[str],
        param_file: str | Path | None = None,
        *args: Any,  # noqa: ANN401
        operators: Collection[str] = (),
        **settings: Any,  # noqa: ANN401
    ) -> mx.gluon.SymbolBlock:
        """As `mx.gluon.SymbolBlock.imports`, which has the other arguments, of files that are checked before.

        Args:
            operators: operators that the graph may have besides the usual ones (`fcnxs.checkpoint.load`).

        Raises:
            FCNXSError: as `fcnxs.checkpoint.load_symbol` and `load_parameters`.
        """
        symbol = with_seeded_dropout(checkpoint.load_symbol(Path(symbol_file), operators))
        names = [input_names] if isinstance(input_names, str) else input_names
        if param_file is None:
            return mx.gluon.SymbolBlock(symbol, [mx.sym.var(name, dtype="float32") for name in names])
        arrays = check_finite(load_params(param_file, mapped=True), param_file)
        block = mx.gluon.SymbolBlock(symbol, [mx.sym.var(name) for name in names])  # parameters say the type
        how = {"filename": param_file, "cast_dtype": True, "dtype_source": "saved", **settings}
        block.collect_params().load_dict(arrays, *args, **how)
        return block

    def _clear_cached_op(self) -> None:
        super()._clear_cached_op()
        self._sizes = set()

    def _bilinear_weights(self, ctx: mx.Context) -> FrozenSet[str]:
        """The upsampling weights on a device that are bilinear, float32 and not trained."""
        weights = [self.params[name] for name in upsamplings(self._graph)]
        fixed = [each for each in weights if each.grad_req == "null"]
        return frozenset(each.name for each in fixed if upsamples_bilinearly(each.data(ctx)))

    def _upsample(self, bilinear: FrozenSet[str]) -> None:
        """Let these weights' upsampling be two products (`symbols/upsampling.py`) from the next pass on."""
        if bilinear != self._bilinear:
            self._bilinear = bilinear
            self._clear_cached_op()
            self._cached_graph = (self._cached_graph[0], self._graph_of_scores())

    def _graph_of_scores(self) -> mx.sym.Symbol:
        """The net up to its scores, for its type and `_bilinear`."""
        if self._dtype != np.float32:
            return without_crop(self._scores)  # MXNet's Crop takes float32 only
        graph = Graph.of(self._scores, casts=True)
        return symbol_of(with_products(graph, self._bilinear)) if self._bilinear else self._scores

    def _fix(self, names: Sequence[str]) -> None:
        states = self._scores.list_auxiliary_states()
        for name, parameter in self.params.items():
            parameter.grad_req = "null" if name in names or name in states else "write"
