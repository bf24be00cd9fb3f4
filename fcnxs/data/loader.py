"""Batches of labelled images, decoded in advance by threads, reproducible bit for bit.

`FileIter` is the original example's iterator: the images of a list, one at a time.
"""

from __future__ import annotations

from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import Callable, Collection, Dict, Generator, Iterable, List, Sequence, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..conventions import COLOR, VGG_MEAN, PathLike
from ..errors import FCNXSError, finite_mean
from ..heads import with_head
from ..symbols.layers import check_numclass
from ..system.threads import default_workers, in_order, result_of
from .augment import Augmentation, Size
from .batch import Batch, by_names
from .lists import read_list
from .reader import Reader
from .samples import Samples
from .scenes import channels_of

_DROPOUT = 2  # separates the random numbers of dropout from those of augmentation, 1


class Loader(mx.io.DataIter):
    """Batches of a data set's images, read and augmented in advance by threads.

    The order of an epoch depends on `seed` and the epoch alone, the augmentation of an image on these two and
    the image's number. So the batch at a position of an epoch is always the same, bit for bit.
    A new loader is at epoch 0; `reset` moves to the next epoch.

    Args:
        samples: the data set.
        mean: subtracted from every pixel (R, G, B); of several images that of all their channels.
        batch_size: images of a batch; the last batch of an epoch may have fewer.
        augmentation: random changes of the images; None: none.
        cut_off_size: images with a longer side are cut, at a random place, to a square whose side is the
            smallest of height, width and `cut_off_size`. None: never.
        resize: (height, width) that all images are resized to, bilinearly, and those of their labels, by
            nearest neighbour. None: as they are.
        shuffle: whether each epoch has a new random order.
        num_classes: labels must be below this, or 255; of several heads that of each, by name. None: any.
        workers: threads that read; None: `default_workers()` of `system/threads.py`.
        data_name, label_name: names of the symbol's inputs; a name for each of several images, or one for all
            their channels. Of several heads `softmax_label` becomes `softmax_sem_label` (`heads.with_head`).

    Attributes:
        data_names, label_names: names of the images and labels; `data_name` and `label_name` are the first.
        should_stop: asked while a file is waited for; if it says so, `next` raises `StalledError`.

    Raises:
        FCNXSError: at once, if an argument is out of range. When its batch is due, if a file cannot be read, a
            label has a wrong value, or images of one batch differ in size; the message names the file.
    """

    def __init__(
        self,
        samples: Samples,
        mean: Iterable[float] = VGG_MEAN,
        *,
        batch_size: int = 1,
        augmentation: Augmentation | None = None,
        cut_off_size: int | None = None,
        resize: Tuple[Size, Size] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        num_classes: int | Dict[str, int] | None = None,
        workers: int | None = None,
        data_name: str | Sequence[str] = "data",
        label_name: str = "softmax_label",
    ) -> None:
        super().__init__(batch_size)
        workers = default_workers() if workers is None else workers
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 1),
            ("seed", seed, 0),
            ("images in the data set", len(samples), 1),
            ("cut_off_size", 1 if cut_off_size is None else cut_off_size, 1),
        ):
            if value < least:
                raise FCNXSError(f"{name}={value}: expected {least} or more")
        counts = num_classes if isinstance(num_classes, dict) else {"": num_classes} if num_classes else {}
        for count in counts.values():
            check_numclass(count, "num_classes")
        self._channels = [*map(channels_of, zip(getattr(samples, "kinds", COLOR)))]
        self.mean = finite_mean(mean, "mean", sum(self._channels))
        self.samples, self.cut_off_size, self.resize = samples, cut_off_size, resize
        self.shuffle, self.seed, self.num_classes = shuffle, seed, num_classes
        self.data_names = [data_name] if isinstance(data_name, str) else [*data_name]
        self.label_names = [with_head(label_name, head) for head in samples.heads]
        self.data_name, self.label_name = self.data_names[0], self.label_names[0]
        self._read = Reader(samples, self.mean, augmentation, cut_off_size, counts, seed, resize)
        self._workers = workers
        self.should_stop: Callable[[], bool] | None = None
        self._batch: Batch | None = None
        self._files: Tuple[Path, ...] = ()
        self._images: Generator | None = None
        self.seek(0)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.samples)

    @property
    def batches(self) -> int:
        """Number of batches of an epoch."""
        return -(-len(self.samples) // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Numbers of the images, int64, shape (len(self),), in the order of an epoch."""
        numbers = np.arange(len(self))
        if self.shuffle:
            np.random.default_rng((self.seed, epoch)).shuffle(numbers)
        return numbers

    def reset(self) -> None:
        """Begin the next epoch, in a new order if the images are shuffled."""
        self.seek(self.epoch + 1)

    def seek(self, epoch: int, positions: Sequence[int] | None = None) -> None:
        """Go to an epoch and give the batches at these positions, in this order.

        Args:
            positions: numbers from 0 to `batches` - 1; None: all. Other batches' images are not read.

        Raises:
            FCNXSError: there is no such position, or the epoch is below 0.
        """
        positions = range(self.batches) if positions is None else positions
        wrong = [position for position in positions if not 0 <= position < self.batches]
        if wrong or epoch < 0:
            raise FCNXSError(
                f"epoch {epoch}, batches {wrong}: batches go from 0 to {self.batches - 1}, epochs from 0"
            )
        self.close()
        self.epoch = epoch
        order, size = self.order(epoch), self.batch_size
        self._rest = [tuple(map(int, order[k * size : (k + 1) * size])) for k in positions]
        items = [(epoch, number) for numbers in self._rest for number in numbers]
        self._rest.reverse()  # the next one is the last
        self._images = in_order(self._read, items, self._workers, 2 * self._workers + size)

    def iter_next(self) -> bool:
        """Go to the next batch, which `getdata` and the like then give; False after the last."""
        if not self._rest:
            return False
        self._due = self._take()
        return True

    def next(self) -> Batch:
        """Next batch.

        Raises:
            StopIteration: there is none in this epoch.
            FCNXSError: one of its files is wrong; the next call gives the batch after it.
        """
        if not self._rest:
            raise StopIteration
        return self._receive(*self._take())

    @property
    def current(self) -> Path:
        """File of the image that was read last, the last one of its batch; `Batch.files` has all of them."""
        return self._files[-1] if self._files else self._last().files[-1]

    @property
    def data(self) -> np.ndarray:
        """Images of the last batch, float32 (N, 3, H, W); before the first batch, that batch's images."""
        return self._last()[self.data_name]

    @property
    def label(self) -> np.ndarray:
        """Labels of the last batch, as `data`, float32 (N, H, W); of several heads those of the first."""
        return self._last()[self.label_name]

    @property
    def provide_data(self) -> List[mx.io.DataDesc]:
        """Name and shape of `data`."""
        return self._last().provide_data

    @property
    def provide_label(self) -> List[mx.io.DataDesc]:
        """Name and shape of `label`."""
        return self._last().provide_label

    def getdata(self) -> List[mx.nd.NDArray]:
        """Images of the batch that `iter_next` went to, a list of arrays (N, 3, H, W)."""
        return self._last().data

    def getlabel(self) -> List[mx.nd.NDArray]:
        """Labels of the batch that `iter_next` went to, a list of arrays (N, H, W), one for each head."""
        return self._last().label

    def getindex(self) -> np.ndarray:
        """Numbers of this batch's images in the data set, int64 (N,)."""
        return self._last().index

    def getpad(self) -> int:
        """0: a last batch with fewer images is not filled up."""
        return Batch.pad

    def get_batch_size(self) -> int:
        """Images of a batch."""
        return self.batch_size

    def close(self) -> None:
        """End the threads. There are no more batches until `reset` or `seek`."""
        self._rest: List[Tuple[int, ...]] = []
        self._due: Tuple[Tuple[int, ...], List[Future]] | None = None
        if self._images is not None:
            self._images.close()

    def _names(self, numbers: Sequence[int]) -> Tuple[Path, ...]:
        return tuple(Path(self.samples.name(number)) for number in numbers)

    def _take(self) -> Tuple[Tuple[int, ...], List[Future]]:
        """Numbers of the next batch's images, and the futures of the images."""
        numbers = self._rest.pop()
        return numbers, list(islice(self._images, len(numbers)))

    def _receive(self, numbers: Sequence[int], parts: List[Future]) -> Batch:
        self._files = self._names(numbers)
        pairs = []
        while parts:  # popped, so that nothing keeps what a future holds
            pairs.append(result_of(parts.pop(0), self.should_stop))
        self._batch = self._make(numbers, pairs)
        return self._batch

    def _last(self) -> Batch:
        if self._due is not None:
            due, self._due = self._due, None
            return self._receive(*due)
        if self._batch is None:
            numbers = self._rest[-1] if self._rest else (0,)
            self._files = self._names(numbers)
            self._batch = self._make(numbers, [self._read((self.epoch, number)) for number in numbers])
        return self._batch

    def _make(self, numbers: Sequence[int], pairs: Sequence[Tuple[np.ndarray, np.ndarray]]) -> Batch:
        sizes = {label.shape[2:]: name for (_, label), name in zip(pairs, self._files)}
        if len(sizes) > 1:
            (size, first), (other, second) = list(sizes.items())[:2]
            raise FCNXSError(
                f"{second}: {other[1]}x{other[0]} pixels, but {first} in the same batch has "
                f"{size[1]}x{size[0]}; cut them alike (--crop-size), or take one at a time and --accumulate"
            )
        images, labels = (np.concatenate(arrays) if len(arrays) > 1 else arrays[0] for arrays in zip(*pairs))
        seed = np.random.SeedSequence((self.seed, self.epoch, numbers[0], _DROPOUT)).generate_state(1)[0]
        of_heads = {name: labels[:, k] for k, name in enumerate(self.label_names)}
        by_name = by_names(images, self.data_names, self._channels)
        return Batch(by_name, of_heads, numbers, self._files, int(seed) & 0x7FFFFFFF)


class FileIter(Loader):
    """Labelled images of a list, one at a time, whole, each of its own size.

    Each step gives `{data_name: (1, 3, H, W) float32, label_name: (1, H, W) float32}`; the image is RGB
    minus `rgb_mean`. Every image of the list comes once between two calls of `reset`.

    Args:
        root_dir: folder that the paths of the list are relative to.
        flist_name: list file in `root_dir`, as `read_list` takes it.
        rgb_mean: subtracted from every pixel (R, G, B).
        cut_off_size, data_name, label_name: see `Loader`.
        ignore: values of the labels that become 255.
        images: kinds of the images of a sample, such as ("color", "hha"); `rgb_mean` is that of all channels.
        **options: shuffle, seed and num_classes of `Loader`.

    Source: the arguments by position are those of apache/mxnet 1.4.1 example/fcn-xs/data.py.

    Raises:
        FCNXSError: as `read_list`; or an image cannot be read, or its label has a wrong size, kind or value (at
            once for the first image, while iterating for the others).
    """

    def __init__(
        self,
        root_dir: PathLike,
        flist_name: PathLike,
        rgb_mean: Iterable[float] = VGG_MEAN,
        cut_off_size: int | None = None,
        data_name: str | Sequence[str] = "data",
        label_name: str = "softmax_label",
        *,
        ignore: Collection[int] = (),
        images: Sequence[str] = COLOR,
        **options: bool | int | None,
    ) -> None:
        samples = Samples(*zip(*read_list(root_dir, flist_name)), root_dir).reading(ignore=ignore)
        samples = samples.of_kinds(images)
        names = {"data_name": data_name, "label_name": label_name}
        super().__init__(samples, rgb_mean, cut_off_size=cut_off_size, **names, **options)
        self._last()
