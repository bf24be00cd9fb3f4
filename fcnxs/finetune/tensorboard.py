"""TensorBoard: curves and pictures of a run, for `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

import io
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from ..conventions import VGG_MEAN, Palette
from ..errors import FCNXSError, reason
from ..score import NAMES, Scores
from ..stages import Stage
from ..vis import colour, comparison, voc_palette
from .listener import Listener

INSTALL_HINT = "TensorBoard's files need tensorboardX, which is not installed: pip install 'fcnxs[tensorboard]'"
SPEED_EVERY = 10  # seconds


class _Messages(NamedTuple):
    """Protobuf's classes of what event files hold."""

    Event: Any
    SessionLog: Any
    Summary: Any


class TensorBoard(Listener):
    """Write event files, a folder for each stage, so that TensorBoard shows them as runs to compare.

    The step of a point is the number of images that its stage has trained on. Each step has its `loss`
    and `learning rate`, every ten seconds there is `images per second`, and each epoch has `train loss`,
    `val loss`, the four `scores`, `IU` by class, and pictures of the first few predictions: image, truth,
    prediction. A run that goes on adds a file that takes the place of the points from there on.

    Args:
        folder: the stages' folders come into it.
        classes: their names.
        palette: their colours; None takes those of VOC.
        mean: of the net's input, RGB.
        clock: seconds, from anywhere.

    Raises:
        FCNXSError: tensorboardX is not installed, or a file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        palette: Palette | None = None,
        mean: Sequence[float] = VGG_MEAN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proto, self._events_writer = _tensorboardx()
        self.folder, self.classes, self.mean = folder, classes, np.asarray(mean, np.float32)
        self.palette = voc_palette(len(classes)) if palette is None else palette
        self._clock = clock
        self._images, self._stage, self._file, self._writer = 0, "", folder, None

    def begin(self, stages: Sequence[Stage], images: int, evaluated: int) -> None:
        """Remember the number of images, by which steps are counted."""
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
        self._write(stage.name, at, values)

    def prediction(
        self, stage: Stage, epoch: int, number: int, data: np.ndarray, truth: np.ndarray, class_map: np.ndarray
    ) -> None:
        """Write a picture: image, truth and prediction side by side.

        Args:
            number: of the image.
            data: the net's input (3, H, W).
            truth, class_map: classes, uint8 (H, W); 255 in the truth is left out.
        """
        image = (data.transpose(1, 2, 0) + self.mean).round().clip(0, 255).astype(np.uint8)
        pictures = {"image": image, "truth": colour(truth, self.palette)}
        picture = comparison([{**pictures, "prediction": colour(class_map, self.palette)}])
        png = io.BytesIO()
        Image.fromarray(picture).save(png, format="PNG")
        height, width, channels = picture.shape
        shown = self._proto.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=png.getvalue()
        )
        self._write(stage.name, epoch * self._images, {f"predictions/{number}": shown})

    def epoch(self, record: Dict[str, Any], result: Scores | None) -> None:
        """Write the losses and scores."""
        values = {"train loss": record["train_loss"], "val loss": record["val_loss"]}
        values.update({f"scores/{name.replace('_', ' ')}": record[name] for name in NAMES})
        if result is not None:
            values.update({f"IU/{name}": iu for name, iu in zip(self.classes, result.class_iu)})
        self._write(record["stage"], record["epoch"] * self._images, values)
        self._flush()
        self._count()  # the evaluation's seconds are not of training

    def evaluated(self, stage: Stage, epoch: int, done: int) -> None:
        """An evaluation's seconds are not of training."""
        self._count()

    def saved(self, file: Path) -> None:
        """What a run goes on from has its points on the disk."""
        self._flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
        self._writer, self._stage = None, ""

    def _count(self) -> None:
        """Count images from now on."""
        self._counted, self._counted_from = 0, self._clock()

    def _write(self, stage: str, at: int, values: Dict[str, Any]) -> None:
        """Write values at a step: numbers, where there is one, and pictures by tag."""
        value_of = self._proto.Summary.Value
        shown = [
            value_of(tag=tag, image=value)
            if isinstance(value, self._proto.Summary.Image)
            else value_of(tag=tag, simple_value=float(value))
            for tag, value in values.items()
            if value is not None and value == value
        ]
        try:
            if stage != self._stage:
                self._open(stage, at)
            self._event(at, summary=self._proto.Summary(value=shown))
        except OSError as error:
            raise self._error(error) from None

    def _open(self, stage: str, at: int) -> None:
        """A new file of a stage; TensorBoard forgets what earlier ones have from step `at` on."""
        self.close()
        self._file = self.folder / stage
        self._file.mkdir(parents=True, exist_ok=True)
        # The writer's names have seconds and the machine; files are read in the order of their names.
        self._writer = self._events_writer(str(self._file / "events"), f".{time.time_ns()}")
        self._stage = stage
        start = self._proto.SessionLog(status=self._proto.SessionLog.START)
        self._event(at, session_log=start)

    def _event(self, at: int, **what: object) -> None:
        self._writer.write_event(self._proto.Event(step=at, wall_time=time.time(), **what))

    def _flush(self) -> None:
        if self._writer is not None:
            try:
                self._writer.flush()
            except OSError as error:
                raise self._error(error) from None

    def _error(self, error: OSError) -> FCNXSError:
        return FCNXSError(f"{self._file}: cannot write TensorBoard's events: {reason(error)}")


def _tensorboardx() -> Tuple[_Messages, Any]:
    """The messages of event files, and tensorboardX's writer of them.

    Its SummaryWriter is not used: a thread writes for it, and when that meets a full disk, the next call
    waits for ever.
    """
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # which it would load, for seconds, for tensors that never come
    try:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2, summary_pb2
    except ModuleNotFoundError:
        raise FCNXSError(INSTALL_HINT) from None
    finally:
        if hidden:
            del sys.modules["torch"]
    return _Messages(event_pb2.Event, event_pb2.SessionLog, summary_pb2.Summary), EventsWriter
