"""Segmenter: class maps, probabilities and overlays of images, from a checkpoint."""

from __future__ import annotations

from typing import Any, Callable, Collection, Iterable, Iterator, Sequence, Tuple, Union, overload

import numpy as np

from ..checkpoint.source import Source, checkpoint_of, one_head
from ..compat import mxnet as mx
from ..conventions import FUSION, MAX_PIXELS
from ..data.images import preprocess
from ..errors import FCNXSError
from ..net import Net, check_params
from ..symbols.graph.rewrite import scores_symbol
from ..symbols.layers import check_numclass
from ..vis import background_of, default_palette, overlay
from . import inputs
from .inputs import Image, Scene
from .multiscale import average, check_scales, naming, scaled, softmax
from .tiling import reader, windows
from .within_memory import Bounded

One = Union[Image, Scene]
Answers = Union[np.ndarray, Iterator[np.ndarray]]  # one for an image; for several, in their order


class Segmenter:
    """Segments images of any size with the weights of a checkpoint.

    An image is a path or an array, RGB uint8 (H, W, 3); OpenCV's BGR arrays are given as `image[..., ::-1]`.
    For a net of two images it is an `fcnxs.Scene` of both, where depth is an array (H, W) of numbers above 0.
    For one image, each method returns one array. For an iterable of images, such as a list of paths, it returns
    an iterator of arrays in the same order, and threads read the next files meanwhile. An image that cannot be
    read raises an error when its turn comes, which ends the iterator.
    Any number of threads may share a Segmenter. Their passes take turns: one image at a time, or one tile of an
    image that is computed in tiles; files are read meanwhile. An iterator belongs to the thread that asked for
    it and may be left unfinished. Each image under way in tiles has the memory limit for itself.

    The weights are copied, so that later changes of the checkpoint's arrays have no effect: MXNet and the
    Segmenter keep results computed from the weights, and would see such changes only in part.

    >>> import numpy as np
    >>> import fcnxs
    >>> import mxnet as mx
    >>> from fcnxs import checkpoint, symbols
    >>> net = symbols.get_fcn8s_symbol(numclass=3, width=1 / 16, fc=16)
    >>> shapes, _, _ = net.infer_shape(data=(1, 3, 60, 70))
    >>> weights = {name: mx.nd.ones(shape) for name, shape in zip(net.list_arguments(), shapes)}
    >>> segmenter = fcnxs.Segmenter(checkpoint.Checkpoint(net, weights, {}, checkpoint.Meta(), "weights"))

    Trained ones come from their files: `fcnxs.Segmenter("run/fcn8s")`.

    >>> photo = np.zeros((60, 70, 3), np.uint8)
    >>> segmenter(photo).shape, segmenter.probabilities(photo).shape, segmenter.overlay(photo).shape
    ((60, 70), (3, 60, 70), (60, 70, 3))
    >>> [int(class_map.max()) for class_map in segmenter([photo, photo])]
    [0, 0]

    Args:
        source: prefix of a checkpoint's files, such as "run/fcn8s"; a Checkpoint; or a function that returns
            one, such as the method `checkpoint` of a Gluon net.
        epoch: epoch of the checkpoint, if `source` is a prefix: a number, "best" or "last". None: the best by
            mean IU if the run had validation data, else the last.
        ctx: device; None: the CPU.
        trim: skip the part of the padded canvas that the image cannot influence. Scores change by no more than
            float32's rounding, and take less time.
        memory_limit: bytes to work in, besides the weights and the image. An image that needs more is computed
            in tiles, with the same result. None: 80% of the available memory.
        scales: factors of the image's size; the probabilities at all of them are averaged (`multiscale.py`).
        flip: average over the mirror image at each scale too.
        pooling_convention: for a checkpoint of 2016 that does not say how poolings round (`checkpoint.load`).
        exif: "apply" turns the images of files as their EXIF orientation says, "ignore" does not. None: as the
            meta file says, "apply" without one.
        max_pixels: most pixels of a file's image, told from its header before it is decoded; arrays may have
            any number.
        operators: operators that the checkpoint's symbol may have besides those that are always allowed
            (`checkpoint.load`).
        background: name of the class that overlays leave clear, "none" for no one. None: the one named
            background; class 0, if the classes have no names.
        head: of a net with several heads the one whose classes are meant, such as "geo".
        trimmed: older name of `trim`.

    Attributes:
        classes: names of the classes from the checkpoint's meta file; without one "class 0" and so on.
        palette: colour (R, G, B) of each class, 0 to 255, from the meta file; without one VOC's colours.
        background: number of the class that overlays leave clear, or None.
        images: kinds of the images that the net takes, ("color",) for most.
        mean: (R, G, B), subtracted from every pixel of an image; that of all channels of several images.
        exif: what is done with the EXIF orientation of files.
        max_pixels: most pixels of a file's image.
        numclass: number of classes.

    Raises:
        FCNXSError: the checkpoint is not an FCN, has more than 255 classes, or weights that are not finite; a
            file or a parameter is missing, or a scale makes no sense.
    """

    def __init__(
        self,
        source: Source,
        epoch: int | str | None = None,
        *,
        ctx: mx.Context | None = None,
        trim: bool = True,
        memory_limit: float | None = None,
        scales: Sequence[float] = (1,),
        flip: bool = False,
        pooling_convention: str | None = None,
        exif: str | None = None,
        max_pixels: int = MAX_PIXELS,
        operators: Collection[str] = (),
        background: str | None = None,
        head: str | None = None,
        trimmed: bool | None = None,
    ) -> None:
        trim = trim if trimmed is None else trimmed
        self.scales, self.flip = check_scales(scales), bool(flip)
        self.averages = self.scales != (1,) or self.flip
        source = checkpoint_of(source, epoch, pooling_convention, mapped=True, operators=operators)
        source = one_head(source, head)
        symbol, params_file = scores_symbol(source.symbol), source.params_file
        check_params(symbol, source.arg_params, source.aux_params, str(params_file))
        score = next(
            (f"score{end}_weight" for end in ("", *FUSION) if f"score{end}_weight" in source.arg_params), ""
        )
        if not score:
            raise FCNXSError(
                f"{params_file}: has no parameter score_weight: not an FCN, or one whose class scores are not "
                "named score"
            )
        self.ctx = mx.cpu() if ctx is None else ctx
        self.exif, self.max_pixels = exif or source.meta.exif, max_pixels
        self.images, self.mean = source.meta.images, source.meta.input_mean
        self.numclass = check_numclass(source.arg_params[score].shape[0], params_file)
        names = source.meta.classes
        if names is not None and len(names) != self.numclass:
            raise FCNXSError(f"{params_file}: {self.numclass} classes, but its meta file names {len(names)}")
        self.classes = [f"class {number}" for number in range(self.numclass)] if names is None else list(names)
        self.palette = [list(colour) for colour in source.meta.palette or default_palette(self.classes)]
        self.background = background_of(self.classes, background)
        wanted = {*symbol.list_arguments()}
        params = {name: each.copyto(self.ctx) for name, each in source.arg_params.items() if name in wanted}
        auxs = {name: array.copyto(self.ctx) for name, array in source.aux_params.items()}
        mx.nd.waitall()  # a copy is made when MXNet comes to it
        self._net = Bounded(Net(symbol, params, auxs), self.numclass, self.ctx, trim, memory_limit)

    @overload  # a string is an iterable of strings too: the first that fits counts
    def __call__(self, image: One) -> np.ndarray: ...

    @overload
    def __call__(self, image: Iterable[One]) -> Iterator[np.ndarray]: ...

    def __call__(self, image: One | Iterable[One]) -> Answers:
        """Return the class map, uint8 (H, W), of an image, or an iterator of them for an iterable of images.

        Raises:
            FCNXSError: the image cannot be read, is too small for the net, or too large for the memory.
        """
        return self._answers(image, lambda array, where: _whole(self.bands(array, where)))

    @overload
    def probabilities(self, image: One) -> np.ndarray: ...

    @overload
    def probabilities(self, image: Iterable[One]) -> Iterator[np.ndarray]: ...

    def probabilities(self, image: One | Iterable[One]) -> Answers:
        """Return the class probabilities, float32 (C, H, W), of an image, or an iterator of them.

        They need 4 bytes for each class and pixel, which count towards the memory limit.

        Raises:
            FCNXSError: as for class maps.
        """
        return self._answers(
            image, lambda array, where: self._probabilities(preprocess(array, self.mean), where)
        )

    @overload
    def overlay(self, image: One, alpha: float = 0.5) -> np.ndarray: ...

    @overload
    def overlay(self, image: Iterable[One], alpha: float = 0.5) -> Iterator[np.ndarray]: ...

    def overlay(self, image: One | Iterable[One], alpha: float = 0.5) -> Answers:
        """Return the image blended with its class map's colours, RGB uint8 (H, W, 3), or an iterator of them.

        Args:
            alpha: weight of the colours, 0 to 1. Pixels of the background keep the image's colour.

        Raises:
            FCNXSError: as for class maps.
        """
        if not 0 <= alpha <= 1:
            raise FCNXSError(f"alpha {alpha}: expected 0 (the image) to 1 (the colours)")

        def laid_over(array: np.ndarray, where: object) -> np.ndarray:
            mask = _whole(self.bands(array, where))
            return overlay(inputs.picture_of(array), mask, self.palette, alpha, self.background)

        return self._answers(image, laid_over)

    def bands(self, image: np.ndarray, where: object = "an image") -> Iterator[Tuple[int, np.ndarray]]:
        """Yield the class map in bands of rows from the top: (first row, uint8 (h, W)).

        An image that is not computed in tiles is one band. `where` names the image in an error.

        Args:
            image: RGB uint8 (H, W, 3), which may be a memory-mapped file; or as `data.scenes.load_images`.
        """
        size = inputs.checked(image, where, len(self.mean)).shape[:2]
        if self.averages:
            yield 0, self.class_map(preprocess(image, self.mean), where)
        else:
            yield from self._net.class_bands(size, reader(image, self.mean), where)

    def read(self, image: One) -> np.ndarray:
        """Pixels of an image or a scene, (H, W, C), as `bands` takes them.

        Raises:
            FCNXSError: it cannot be read, or is not what the net takes.
        """
        return inputs.read(image, "an image", self.exif, self.max_pixels, self.images)[1]

    def class_map(self, data: np.ndarray, where: object = "an image") -> np.ndarray:
        """Class map, uint8 (H, W), of a preprocessed image, float32 (1, 3, H, W); `where` is its name.

        Raises:
            FCNXSError: `data` has several images; or as for class maps.
        """
        if len(data) != 1:
            raise FCNXSError(f"{where}: {len(data)} images in a batch; give them one at a time, as data[:1]")
        if self.averages:
            return self._probabilities(data, where).argmax(axis=0).astype(np.uint8)
        return _whole(self._net.class_bands(data.shape[2:], windows(data), where))

    @property
    def memory_limit(self) -> float | None:
        """Bytes to work in, besides the weights and the image; None: 80% of the available memory."""
        return self._net.limit

    @memory_limit.setter
    def memory_limit(self, limit: float | None) -> None:
        """Set the limit for the images from now on."""
        with self._net.turn:
            self._net.limit = limit

    def fits(self, size: Tuple[int, int], where: object = "an image") -> bool:
        """Whether an image of this size (rows, columns) is computed as a whole, and not in tiles.

        Raises:
            FCNXSError: as `check`.
        """
        self.check(size, where)
        return self.averages or self._net.fits(size)

    def check(self, size: Tuple[int, int], where: object = "an image") -> None:
        """Refuse a size (rows, columns) that cannot be segmented, before the image is read.

        Raises:
            FCNXSError: it is too small for the net at one of the scales, or the probabilities to average over
                need more than the memory limit.
        """
        for scale in self.scales:
            with naming(scale, where) as name:
                self._net.check_size(scaled(size, scale), name)
        if self.averages:
            self._net.room(self._net.bytes_of_scores(size), where)

    def _answers(self, image: One | Iterable[One], answer: Callable[[np.ndarray, object], Any]) -> Answers:
        how = self.exif, self.max_pixels, self.images
        if inputs.is_one(image):
            where, array = inputs.read(image, "an image", *how)
            return answer(array, where)
        return (answer(array, where) for where, array in inputs.read_ahead(image, *how))

    def _probabilities(self, data: np.ndarray, where: object) -> np.ndarray:
        """Probabilities, float32 (C, H, W), of the net's input (1, 3, H, W)."""
        size = data.shape[2:]
        self.check(size, where)
        if not self.averages:
            return softmax(self._net.scores(data, where))
        taken = self._net.bytes_of_scores(size)  # for the sum over the scales

        def probabilities(data: np.ndarray, where: object) -> np.ndarray:
            return softmax(self._net.scores(data, where, taken))

        return average(data, self.scales, self.flip, probabilities, where)


def _whole(bands: Iterator[Tuple[int, np.ndarray]]) -> np.ndarray:
    maps = [band for _, band in bands]
    return maps[0] if len(maps) == 1 else np.concatenate(maps)
