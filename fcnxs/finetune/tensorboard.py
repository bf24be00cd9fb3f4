"""TensorBoard: curves and pictures of a run, for `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Dict, Sequence

import numpy as np
from PIL import Image

from ..compat import hidden
from ..conventions import Palette
from ..errors import FCNXSError, reason
from ..score import NAMES, Scores
from ..stages import Stage
from ..vis import colour, comparison, default_palette
from .listener import Listener

INSTALL_HINT = "TensorBoard's files need tensorboardX, which is not installed: pip install tensorboardX"
SPEED_EVERY = 10  # seconds


class TensorBoard(Listener):
    """Write event files, in a folder for each stage, so that TensorBoard shows the stages as runs to compare.

    The step of a point is the number of images that its stage has trained on. Each step has its `loss`
    and `learning rate`, every ten seconds there is `images per second`, and each epoch has `train loss`,
    `val loss`, the four `scores`, `IU` by class, and pictures of the first few predictions: image, truth,
    prediction. A resumed run adds a file, whose points replace the earlier ones from its first step on.

    Args:
        folder: the stages' folders are made in it.
        classes: names of the classes.
        palette: their colours.
        mean: mean of the net's input, RGB.
        clock: returns seconds.
        heads: names of the classes of each head, of a net with several, in the place of `classes`; each has
            tags of its own, such as `geo/scores/mean iu`, beside those of all together.

    Raises:
        FCNXSError: tensorboardX is not installed, or a file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str] | None,
        palette: Palette | None,
        mean: Sequence[float],
        clock: Callable[[], float] = time.monotonic,
        heads: Dict[str, Sequence[str]] | None = None,
    ) -> None:
        self._tensorboardx = _tensorboardx()
        self.folder, self.classes = folder, heads or {"": classes}
        self.palettes = {head: default_palette(heads[head]) if heads else palette for head in self.classes}
        self.mean = np.asarray(mean[:3], np.float32)
        self._clock = clock
        self._images, self._stage, self._file, self._writer = 0, "", folder, None

    def begin(self, stages: Sequence[Stage], images: int, evaluated: int) -> None:
        """Remember the number of images in an epoch, to number the points."""
        self._images = images
        self._count()

    def step(self, stage: Stage, epoch: int, done: int, images: int, loss: float) -> None:
        """Write the loss and the learning rate."""
        at = (epoch - 1) * self._images + done
        values = {"loss": loss, "learning rate": stage.learning_rate}
        self._counted += images
        seconds = self._clock() - self._counted_from
        if seconds >= SPEED_EVERY:
            values["images per second"] = self._counted / seconds
            self._count()
        self._write_scalars(stage.name, at, values)

    def prediction(
        self,
        stage: Stage,
        epoch: int,
        number: int,
        data: np.ndarray,
        truth: np.ndarray,
        class_map: np.ndarray,
        head: str = "",
    ) -> None:
        """Write a picture: image, truth and prediction side by side.

        Args:
            number: number of the image in the data set.
            data: the net's input (3, H, W).
            truth, class_map: classes, uint8 (H, W), or of a size of their own; 255 in the truth is left out.
            head: whose prediction it is.
        """
        image = (data[:3].transpose(1, 2, 0) + self.mean).round().clip(0, 255).astype(np.uint8)
        maps = [Image.fromarray(each).resize(image.shape[1::-1], Image.NEAREST) for each in (truth, class_map)]
        truth, predicted = (colour(np.asarray(each), self.palettes[head]) for each in maps)
        picture = comparison([{"image": image, "truth": truth, "prediction": predicted}])
        tag = f"{_prefix(head)}predictions/{number}"
        summary = self._tensorboardx.summary.image(tag, picture, dataformats="HWC")
        self._write(stage.name, epoch * self._images, summary)

    def epoch(self, record: Dict[str, Any], result: Scores | Dict[str, Scores] | None) -> None:
        """Write the losses and scores."""
        values: Dict[str, float | None] = {}
        for head, each in {"": record, **(record.get("heads") or {})}.items():
            tags = {"train loss": each["train_loss"], "val loss": each["val_loss"]}
            tags.update({f"scores/{name.replace('_', ' ')}": each[name] for name in NAMES})
            values.update({f"{_prefix(head)}{tag}": value for tag, value in tags.items()})
        results = result if isinstance(result, dict) else {"": result} if result else {}
        for head, scores in results.items():
            ius = zip(self.classes[head], scores.class_iu)
            values.update({f"{_prefix(head)}IU/{name}": iu for name, iu in ius})
        self._write_scalars(record["stage"], record["epoch"] * self._images, values)
        self._flush()
        self._count()  # the speed is that of training, without the evaluation

    def evaluated(self, stage: Stage, epoch: int, done: int) -> None:
        """Leave the evaluation's seconds out of the training's speed."""
        self._count()

    def saved(self, file: Path) -> None:
        """Write the curves to disk, so that a saved state is never ahead of the event file."""
        self._flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
        self._writer, self._stage = None, ""

    def _count(self) -> None:
        """Start to count images and seconds anew."""
        self._counted, self._counted_from = 0, self._clock()

    def _write_scalars(self, stage: str, at: int, values: Dict[str, float | None]) -> None:
        """Write numbers by tag at a step; None and NaN are left out."""
        summary = self._tensorboardx.summary.Summary()
        for tag, value in values.items():
            if value is not None and value == value:
                summary.value.add(tag=tag, simple_value=float(value))
        self._write(stage, at, summary)

    def _write(self, stage: str, at: int, summary: object) -> None:
        """Write a `Summary` at a step."""
        try:
            if stage != self._stage:
                self._open(stage, at)
            self._event(at, summary=summary)
        except OSError as error:
            raise self._error(error) from None

    def _open(self, stage: str, at: int) -> None:
        """Begin a file of a stage; TensorBoard drops the points of earlier files from step `at` on."""
        self.close()
        self._file = self.folder / stage
        self._file.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, which have the time in seconds; the nanoseconds
        # order two files of one second.
        writer = self._tensorboardx.event_file_writer.EventsWriter
        self._writer = writer(str(self._file / "events"), f".{time.time_ns()}")
        self._stage = stage
        session = self._tensorboardx.proto.event_pb2.SessionLog
        self._event(at, session_log=session(status=session.START))

    def _event(self, at: int, **what: object) -> None:
        event = self._tensorboardx.proto.event_pb2.Event(step=at, wall_time=time.time(), **what)
        self._writer.write_event(event)

    def _flush(self) -> None:
        if self._writer is not None:
            try:
                self._writer.flush()
            except OSError as error:
                raise self._error(error) from None

    def _error(self, error: OSError) -> FCNXSError:
        return FCNXSError(f"{self._file}: cannot write TensorBoard's events: {reason(error)}")


def _prefix(head: str) -> str:
    return f"{head}/" if head else ""


def _tensorboardx() -> ModuleType:
    """The package tensorboardX, of which `EventsWriter` and the messages are used.

    Its SummaryWriter does not serve. It replaces spaces in tags, so that classes "a b" and "a_b" share a
    curve. It writes in a thread: `flush` leaves points in the queue, and when the disk is full, the thread dies
    and the next call never returns.
    """
    try:
        with hidden(*{"torch"} - {*sys.modules}):  # tensorboardX loads PyTorch, which takes seconds
            import tensorboardX
            import tensorboardX.event_file_writer
            import tensorboardX.proto.event_pb2
            import tensorboardX.summary
    except ModuleNotFoundError:
        raise FCNXSError(INSTALL_HINT) from None
    return tensorboardX
