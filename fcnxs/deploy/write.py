"""From a checkpoint to a form for deployment, compared with the checkpoint before it counts as done."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from .. import checkpoint
from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.meta import Meta
from ..data.images import preprocess
from ..data.samples import Samples
from ..errors import FCNXSError
from ..net import Net, check_params, check_size
from ..predict.trim import trim
from ..score import Scores
from ..symbols.graph.edits import scores_symbol
from ..system.files import sha256_of, write_json, written_whole
from .compare import (
    Compared,
    Picture,
    compare,
    compare_archive,
    generated,
    mean_agreement,
    refuse_mismatch,
    score_both,
)
from .form import Form, for_bgr, refuse_exported, with_ends
from .precision import Loss, calibrate, kept_layers, losses, quantized, runs_bf16, to_bf16

MOST_LOSS = 0.01  # part of the pixels that one layer in a lower precision may change, to be in it
LOSS_IMAGES = 2  # on which that is measured
MOST_COMPARED = 16  # images: their outputs lie on the disk meanwhile


@dataclass
class Exported:
    """What was written, and what was found out about it.

    Args:
        files: what was written, with their sizes in bytes.
        compared: a line for each image.
        layers: what each layer alone costs in the lower precision; those that are kept by name have none.
        kept: convolutions in float32, where the others are not.
        trimmed: whether it is; some nets cannot be, or would not be faster.
        scores: of the checkpoint and of the export, over labelled images, if there were any.
    """

    files: Dict[str, int] = field(default_factory=dict)
    compared: List[Compared] = field(default_factory=list)
    layers: List[Loss] = field(default_factory=list)
    kept: List[str] = field(default_factory=list)
    trimmed: bool = False
    scores: Tuple[Scores, Scores] | None = None

    @property
    def largest_difference(self) -> float | None:
        """Largest difference of two outputs on any image; None between class maps."""
        differences = [each.difference for each in self.compared if each.difference is not None]
        return max(differences, default=None)

    @property
    def agreement(self) -> float:
        """Part of the pixels whose class is the same, as a mean over the images."""
        return mean_agreement(self.compared)

    def as_json(self) -> dict:
        """The comparison and the layers' precision, for the meta file."""
        content = {
            "largest_difference": self.largest_difference,
            "agreement": self.agreement,
            "images": [{"name": each.name, "size": each.size, **asdict(each)} for each in self.compared],
        }
        if self.layers or self.kept:
            content["float32_layers"] = self.kept
            content["layers"] = [loss._asdict() for loss in self.layers]
        if self.scores:
            names = ("checkpoint", "export")
            content["scores"] = {name: each.as_json() for name, each in zip(names, self.scores)}
        return content


class _Batches(Sequence):
    """Inputs of a net, made when they are asked for: there may be many, and they are large."""

    def __init__(self, pictures: List[Picture], mean: Sequence[float], bgr: bool) -> None:
        self.pictures, self.mean, self.step = pictures, mean, -1 if bgr else 1

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> np.ndarray:
        return preprocess(self.pictures[number].image, self.mean)[:, :: self.step]


@dataclass
class _Job:
    """An export on its way: what to compare it with, and what its meta file says."""

    prefix: Path
    form: Form
    net: Net  # of the checkpoint, ending in scores
    mean: Sequence[float]
    numclass: int
    pictures: List[Picture]
    samples: Samples | None
    least: float | None
    meta: Meta
    exported: Exported

    def described(self) -> dict:
        """The form, for the meta file."""
        return {**self.form.described(self.mean, self.numclass), "trimmed": self.exported.trimmed}

    def check(self, written: Path) -> dict:
        """Compare what was written; what the meta file tells of it."""
        against = (self.net, self.mean, self.form, written)
        self.exported.compared = compare(*against, self.pictures)
        refuse_mismatch(self.form, self.exported.compared, self.least)
        if self.samples is not None:
            self.exported.scores = score_both(*against, self.samples, self.numclass)
        return {"export": {**self.described(), "compared": self.exported.as_json()}}


def export(
    source: Checkpoint,
    prefix: str | os.PathLike[str],
    form: Form | None = None,
    images: Sequence[Picture] = (),
    mode: str = "minmax",
    samples: Samples | None = None,
    least: float | None = None,
    most_loss: float = MOST_LOSS,
) -> Exported:
    """Write a form of a checkpoint, whole or not at all.

    json: PREFIX-symbol.json, PREFIX-0000.params, PREFIX-meta.json. onnx: PREFIX.onnx, PREFIX.json. mar:
    PREFIX.mar, PREFIX.properties; its meta file is inside.

    Args:
        form: None: json, probabilities, any size.
        images: to take the ranges of int8 from; the first of them, or else pictures of shapes, to
            compare on.
        mode: of the ranges, `minmax` or `entropy`.
        samples: labelled images to score the checkpoint and the export on.
        least: the least agreement of the class maps in bf16 or int8.
        most_loss: layers that alone change more than this part of the pixels stay in float32.

    Raises:
        FCNXSError: `source` is not an FCN, lacks a parameter or is an export that cannot be changed any
            more, an image is too small, or the files cannot be written.
        ExportMismatch: the export gives something else than the checkpoint; nothing is then written.
    """
    form = form or Form()
    net, mean = _net_of(source, prefix), source.meta.mean
    numclass = _classes(net, form)
    if form.format == "onnx":
        from .onnx_file import check_installed

        check_installed()
    if form.precision == "int8" and not images:
        raise FCNXSError("--precision int8: the ranges come from images; give --calibrate IMAGE ...")
    pictures = [each._replace(image=form.fitted(each.image)) for each in images] or generated(form)
    for each in pictures:
        check_size(net.symbol, "data", (1, 3, *each.image.shape[:2]), each.name)
    ordered = for_bgr(net) if form.bgr else net
    lowered = trim(ordered, (1, 3, *form.size)) if form.trimmed else ordered
    exported = Exported(trimmed=lowered is not ordered)
    batches = _Batches(pictures, mean, form.bgr)
    lowered, exported.layers, exported.kept = _lowered(lowered, form, batches, mode, most_loss)
    # Of raw input nothing is left to subtract.
    meta = replace(source.meta, source=checkpoint.source_of(source.params_file))
    meta = meta if form.raw is None else replace(meta, mean=(0.0, 0.0, 0.0))
    pictures = pictures[:MOST_COMPARED]
    job = _Job(Path(prefix), form, net, mean, numclass, pictures, samples, least, meta, exported)
    write = {"json": _write_json, "onnx": _write_onnx, "mar": _write_mar}[form.format]
    files = write(job, with_ends(lowered, form, mean))
    exported.files = {str(file): file.stat().st_size for file in files}
    return exported


def _net_of(source: Checkpoint, prefix: str | os.PathLike[str]) -> Net:
    """Net of a checkpoint that can be exported to `prefix`, ending in scores."""
    refuse_exported(source.symbol, source.params_file)
    symbol = scores_symbol(source.symbol)
    check_params(source.symbol, source.arg_params, source.aux_params, str(source.params_file))
    source_prefix = source.params_file.with_name(source.params_file.stem[: -len("-0000")])
    if Path(prefix).resolve() == source_prefix.resolve():
        raise FCNXSError(f"{prefix}: an export would replace the symbol of its source; choose another --output")
    if not Path(prefix).name or os.fspath(prefix).endswith(os.sep):
        raise FCNXSError(f"{str(prefix)!r}: want a prefix of files, a folder and a name, such as {prefix}net")
    args = {name: source.arg_params[name] for name in symbol.list_arguments() if name != "data"}
    return Net(symbol, args, source.aux_params)


def _classes(net: Net, form: Form) -> int:
    """Number of classes; the form's size is looked at, too."""
    shape = (1, 3, *(form.size or (500, 500)))
    check_size(net.symbol, "data", shape, f"--size {shape[2]}x{shape[3]}")
    return net.symbol.infer_shape(data=shape)[1][0][1]


def _lowered(
    net: Net, form: Form, batches: Sequence[np.ndarray], mode: str, most_loss: float
) -> Tuple[Net, List[Loss], List[str]]:
    """The net in the form's precision, what its layers cost, and those that stay in float32."""
    if form.precision == "fp32":
        return net, [], []
    kept_layers(net.symbol, form.keep)  # refuses a wrong name before the work
    if form.precision == "bf16" and not runs_bf16():
        raise FCNXSError(
            "--precision bf16: this processor cannot run bfloat16 (MXNet needs AVX512 for it), so the export "
            "cannot be compared with its checkpoint; export on a processor with AVX512, or in fp32 or int8"
        )
    ranges = calibrate(net, batches, mode) if form.precision == "int8" else {}

    def lower(keep: Sequence[str]) -> Net:
        return quantized(net, ranges, keep) if form.precision == "int8" else to_bf16(net, keep)

    found = list(losses(net, lower, list(islice(batches, LOSS_IMAGES)), form.keep))
    keep = [*form.keep, *(loss.layer for loss in found if not loss.changed <= most_loss)]
    return lower(keep), found, kept_layers(net.symbol, keep)


def _write_json(job: _Job, net: Net, prefix: Path | None = None) -> List[Path]:
    prefix = prefix or job.prefix
    checkpoint.save(prefix, 0, net.symbol, net.arg_params, net.aux_params, job.meta, job.check)
    return [Path(f"{prefix}{end}") for end in ("-symbol.json", "-0000.params", "-meta.json")]


def _write_onnx(job: _Job, net: Net) -> List[Path]:
    from .onnx_file import write_onnx

    file, meta_file = (Path(f"{job.prefix}{end}") for end in (".onnx", ".json"))
    versions = {**checkpoint.versions(), "onnx": version("onnx"), "onnxruntime": version("onnxruntime")}
    content = asdict(replace(job.meta, versions=versions))
    with written_whole(meta_file, file) as (meta_part, part):
        texts = {**content, "export": job.described()}
        write_onnx(net, job.form, {key: json.dumps(value) for key, value in texts.items()}, part)
        content["checksums"] = {file.name: [sha256_of(part)]}
        write_json(meta_part, {**content, **job.check(part)})
    return [file, meta_file]


def _write_mar(job: _Job, net: Net) -> List[Path]:
    from .mar import write_mar

    archive, config = (Path(f"{job.prefix}{end}") for end in (".mar", ".properties"))
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / job.prefix.name
        _write_json(job, net, inner)
        with written_whole(config, archive) as (_, part):
            write_mar(inner, part)  # and its settings beside it
            answers = compare_archive(job.net, job.mean, job.form, part)
            refuse_mismatch(job.form, answers, job.least)
    return [archive, config]
