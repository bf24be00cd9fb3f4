"""Compare an export with its checkpoint: a fresh process reads its files and runs them in their own runtime."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from .. import mxnet_compat
from ..agreement import TOLERANCE, Agreement, agreement_of
from ..conventions import COLOR
from ..data.generated import picture
from ..data.images import preprocess
from ..data.labels import check_label
from ..data.samples import Samples
from ..errors import FCNXSError
from ..net import Net, outputs_of
from ..score import Scores, confusion_matrix, scores
from ..system import children
from .form import Form

LEAST = {"bf16": 0.99, "int8": 0.97}  # part of the pixels that must have the same class, over all images
NEEDED = {"onnx": ("onnx", "onnxruntime"), "ncnn": ("ncnn",)}  # packages of the extras of the formats' names
SIZES = ((375, 500), (500, 333), (96, 128))  # (H, W) of the pictures, where no images are given
start = children.run
AT_ONCE = 32  # labelled images for one process, which reads its inputs from the disk


def check_installed(format: str) -> None:
    """Check that the packages that write and run a format are installed.

    Raises:
        FCNXSError: one is not; the message has the pip command.
    """
    for package in NEEDED.get(format, ()):
        if find_spec(package) is None:
            raise FCNXSError(
                f"--format {format} needs {package}: pip install '.[{format}]' in the folder of fcnxs"
            )


class ExportMismatch(Exception):
    """An export does not run, or gives other outputs than its checkpoint."""


class Picture(NamedTuple):
    """An image to compare on: RGB uint8 (H, W, 3), or the channels of several kinds (H, W, C)."""

    name: str
    image: np.ndarray


@dataclass(frozen=True)
class Compared(Agreement):
    """Agreement of an export with its checkpoint on one image.

    Args:
        name: name of the image.
        size: size of the image, (H, W).
        head: name of the head; "" if the net has one.
    """

    name: str
    size: Tuple[int, int]
    head: str = ""

    @property
    def where(self) -> str:
        """The image, and the head of a net of several."""
        return f"{self.name}, head {self.head}" if self.head else self.name


def generated(form: Form, kinds: Sequence[str] = COLOR) -> List[Picture]:
    """Generated pictures: in several sizes, or in the one size that the export takes."""
    rng = np.random.default_rng(0)
    sizes = SIZES if form.size is None else [form.size] * 2

    def channels(kind: str, size: Tuple[int, int]) -> np.ndarray:
        image = picture(rng, *size, shapes=3)[0]
        return image if kind != "depth" else np.log(1000 + 20 * image[..., :1].astype(np.float32))  # mm

    images = [[channels(kind, size) for kind in kinds] for size in sizes]
    return [Picture(f"picture {i + 1}", np.dstack(each)) for i, each in enumerate(images)]


def compare(
    net: Net, mean: Sequence[float], form: Form, written: Path, pictures: Sequence[Picture]
) -> List[Compared]:
    """Compare the outputs of written files with the checkpoint's scores.

    Args:
        net: the checkpoint's net, which ends in scores and takes images minus `mean`.
        written: PREFIX of the json form, the ONNX file, or the .param file for ncnn.
        pictures: images in a size that the form takes.

    Raises:
        ExportMismatch: the runtime of the export cannot run the written files.
    """
    outputs = run_fresh(form, written, [form.input_of(each.image, mean) for each in pictures], "full")
    return _compared(net, mean, form, pictures, outputs)


def check_archive(net: Net, mean: Sequence[float], form: Form, least: float | None, archive: Path) -> None:
    """Refuse an archive whose handler does not give the checkpoint's class maps of generated pictures.

    Raises:
        ExportMismatch: as `refuse_mismatch`, which `least` is for; or the handler does not answer.
    """
    pictures = generated(form)
    answers = answers_of(archive, [each.image for each in pictures])
    result = _compared(
        net, mean, replace(form, head="argmax"), pictures, [[each[np.newaxis]] for each in answers]
    )
    refuse_mismatch(form, result, least)


def refuse_mismatch(form: Form, result: Sequence[Compared], least: float | None = None) -> None:
    """Refuse an export that does not give what its checkpoint gives.

    In fp32 the outputs of every image must be equal (`fcnxs.agreement`). In other precisions the agreement of
    the class maps of each head counts, as a mean over the images.

    Args:
        least: least agreement in another precision; None: that of `LEAST`.

    Raises:
        ExportMismatch: with the number that is too large or too small.
    """
    if form.precision == "fp32":
        for each in result:
            # A probability changes by at most half of what the scores change.
            limit = TOLERANCE * (each.largest if form.head == "logits" else max(each.largest / 2, 0.1))
            if each.difference is not None and not each.difference <= limit:  # NaN is not
                raise ExportMismatch(f"differs from the checkpoint by {each.difference:.1e} on {each.where}")
            if not each.same_classes:
                raise ExportMismatch(
                    f"gives the checkpoint's class in {each.agreement:.4%} of the pixels of {each.where}"
                )
        return
    least = LEAST[form.precision] if least is None else least
    for head in form.heads:
        mean = mean_agreement([each for each in result if each.head == head])
        if not mean >= least:
            of = f"of the head {head} " if head else ""
            raise ExportMismatch(
                f"in {form.precision} gives the checkpoint's class {of}in {mean:.2%} of the pixels, not "
                f"{least:.2%}; keep more layers in float32 (--keep-layers), or accept less (--min-agreement)"
            )


def mean_agreement(result: Sequence[Compared]) -> float:
    """Part of the pixels whose class is the same, as a mean over the images."""
    return float(np.mean([each.agreement for each in result]))


def score_both(
    net: Net, mean: Sequence[float], form: Form, written: Path, samples: Samples, numclass: int
) -> Tuple[Scores, Scores]:
    """Scores of the checkpoint and of the export over labelled images, resized if the export takes one size.

    Raises:
        FCNXSError: an image or a label cannot be read.
        ExportMismatch: the runtime cannot run it.
    """
    matrices = np.zeros((2, numclass, numclass), np.int64)
    for start in range(0, len(samples), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(samples)))
        pairs = [_fitted_pair(samples, number, form, numclass) for number in numbers]
        inputs = [form.input_of(image, mean) for image, _ in pairs]
        for (image, label), (theirs,) in zip(pairs, run_fresh(form, written, inputs, "map")):
            ours = outputs_of(net, {"data": preprocess(image, mean)})[0].argmax(1)
            for matrix, prediction in zip(matrices, (ours, theirs)):
                matrix += confusion_matrix(label, prediction[0], numclass)
    return scores(matrices[0]), scores(matrices[1])


def run_fresh(form: Form, written: Path, inputs: Sequence[np.ndarray], kind: str) -> Iterator[List[np.ndarray]]:
    """Yield an export's outputs for inputs (N, 3, H, W), in order; a fresh process with its runtime runs it.

    The process asks for the outputs by their names; there is one for each head.

    Args:
        kind: `full` for the outputs themselves, `map` for class maps, uint8 (N, H, W).

    Raises:
        ExportMismatch: the process fails; the message has its last line.
    """
    runtime = form.format if form.format in NEEDED else "mxnet"
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{kind}-{i:04d}.npy" for i in range(len(inputs))]
        for file, data in zip(files, inputs):
            np.save(file, data)
        compat = [mxnet_compat.__file__] if runtime == "mxnet" else []
        arguments = [runtime, str(Path(written).absolute()), folder, ",".join(form.outputs), *compat]
        _run_script("plain_net.py", arguments, folder, f"does not run in plain {runtime}")
        for file in files:
            yield [np.load(file.with_name(f"out-{i}-{file.name}")) for i in range(len(form.heads))]


def answers_of(archive: Path, images: Sequence[np.ndarray]) -> List[np.ndarray]:
    """Class maps (H, W) with which an archive's handler answers, in a fresh process that hides this package.

    Args:
        images: RGB uint8, (H, W, 3); they are sent as PNGs.

    Raises:
        ExportMismatch: the handler does not answer; the message has the handler's message.
    """
    with tempfile.TemporaryDirectory() as folder:
        model, files = Path(folder, "model"), [Path(folder, f"{i}.png") for i in range(len(images))]
        with zipfile.ZipFile(archive) as content:
            content.extractall(model)
        for file, image in zip(files, images):
            Image.fromarray(image).save(file)
        failed = f"{archive}: the server's handler does not give the expected answer"
        _run_script("plain_mar.py", [str(model), *map(str, files)], folder, failed)
        return [np.asarray(Image.open(file)) for file in files]


def _run_script(name: str, arguments: Sequence[str], folder: str, failed: str) -> None:
    """Run a script of this folder in a fresh process; if it fails, raise `failed` with its last line."""
    script = Path(__file__).with_name(name).read_text(encoding="utf-8")
    command = [sys.executable, "-c", script, *arguments]
    done = start(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
        raise ExportMismatch(f"{failed}: {lines[-1].strip()} ({done.returncode})")


def _compared(
    net: Net,
    mean: Sequence[float],
    form: Form,
    pictures: Sequence[Picture],
    outputs: Iterable[Sequence[np.ndarray]],
) -> List[Compared]:
    result = []
    for each, given in zip(pictures, outputs):
        expected = outputs_of(net, {"data": preprocess(each.image, mean)})
        for head, ours, output in zip(form.heads, expected, given):
            found = agreement_of(ours, output, probabilities=form.head == "softmax")
            result.append(Compared(**vars(found), name=each.name, size=each.image.shape[:2], head=head))
    return result


def _fitted_pair(samples: Samples, number: int, form: Form, numclass: int) -> Tuple[np.ndarray, np.ndarray]:
    image, label = samples.read(number)
    check_label(label, numclass, samples.label_name(number))
    if form.size is not None and label.shape != form.size:
        import cv2

        label = cv2.resize(label, form.size[::-1], interpolation=cv2.INTER_NEAREST)
    return form.fitted(image), label
