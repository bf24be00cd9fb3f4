"""Export a checkpoint, and compare the export with the checkpoint before its files get their names."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from .. import checkpoint, mxnet_compat
from ..checkpoint import Checkpoint, Meta
from ..checkpoint.source import of_one_image
from ..data.images import preprocess
from ..data.samples import Samples
from ..errors import FCNXSError
from ..heads import check_one_head, heads_of
from ..net import Net, check_params, check_size
from ..predict.forward import trim
from ..score import Scores
from ..symbols.graph.rewrite import scores_symbol
from ..symbols.layers import check_numclass
from ..system.files import real, sha256_of, write_json, written_whole
from .compare import (
    NEEDED,
    Compared,
    Picture,
    check_archive,
    check_installed,
    compare,
    generated,
    mean_agreement,
    refuse_mismatch,
    score_both,
)
from .form import Form, for_bgr, refuse_exported, with_ends
from .mar import beside, write_mar
from .ncnn_file import write_ncnn
from .onnx_file import write_onnx
from .own import ENDS
from .precision import Loss, calibrate, kept_layers, losses, quantized, runs_bf16, to_bf16

MOST_LOSS = 0.01  # layers that alone change the class of a larger part of the pixels stay in float32
LOSS_IMAGES = 2  # images on which this loss is measured
MOST_COMPARED = 16  # images to compare on: their outputs go through the disk

Check = Callable[[Path], Dict[str, Any]]  # compares written files; returns the part `export` of the meta file


@dataclass
class Exported:
    """An export: its files, and the comparison with its checkpoint.

    Args:
        files: size in bytes of each file written.
        compared: agreement on each image.
        layers: share of pixels whose class changes if this layer alone is in the lower precision; layers that
            `keep` names are not measured.
        kept: convolutions in float32, if others are not.
        trimmed: whether the graph is trimmed; some nets cannot be trimmed, or would not be faster.
        scores: scores of the checkpoint and of the export on labelled images, if any were given.
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
    """Inputs of a net, each made on access: all of them at once may not fit the memory."""

    def __init__(self, pictures: List[Picture], mean: Sequence[float], bgr: bool) -> None:
        self.pictures, self.mean, self.step = pictures, mean, -1 if bgr else 1

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> np.ndarray:
        return preprocess(self.pictures[number].image, self.mean)[:, :: self.step]


def export(
    source: Checkpoint,
    prefix: str | os.PathLike[str],
    form: Form | None = None,
    images: Sequence[Picture] = (),
    mode: str = "minmax",
    samples: Samples | None = None,
    least: float | None = None,
    most_loss: float = MOST_LOSS,
    epoch: int = 0,
) -> Exported:
    """Export a checkpoint to a form, with an output for each head; write all of its files, or none.

    The files are PREFIX-symbol.json, PREFIX-0000.params, PREFIX-meta.json and PREFIX-mxnet_compat.py (a copy of
    `mxnet_compat.py`) for the format json, PREFIX.onnx and PREFIX.json for onnx, PREFIX.param, PREFIX.bin and
    PREFIX-ncnn.json for ncnn, PREFIX.mar (with the meta file inside), PREFIX.properties and PREFIX-server.sh
    for mar.

    Args:
        form: None: json, probabilities, any size.
        images: images for the ranges of int8; the first 16 also serve the comparison, for which generated
            pictures stand in if there are none.
        mode: how the ranges of int8 are found, `minmax` or `entropy`.
        samples: labelled images to score the checkpoint and the export on.
        least: least agreement of the class maps in bf16 or int8.
        most_loss: layers that alone change more than this part of the pixels stay in float32.
        epoch: number in the name of the parameters, of the format json.

    Raises:
        FCNXSError: `source` is not an FCN, has more than 255 classes, lacks a parameter, or is an export; an
            image is too small; the processor cannot run bf16; or the files cannot be written.
        ExportMismatch: the export gives other outputs than the checkpoint; nothing is written.
    """
    form, source = form or Form(), of_one_image(source)
    _refuse_several(source, form, images)
    if form.format == "mar" or samples is not None:
        what = "--format mar: archives answer" if form.format == "mar" else "--data: exports are scored"
        check_one_head(source.symbol, source.params_file, f"{what} for one head; choose it (--task)")
    form = replace(form, heads=tuple(heads_of(source.symbol)) or ("",))
    net, mean = _net_of(source, prefix), source.meta.input_mean
    shape = (1, len(mean), *(form.size or (500, 500)))
    check_size(net.symbol, "data", shape, f"--image-size {shape[3]}x{shape[2]}")
    outputs = net.symbol.infer_shape(data=shape)[1]
    counts = [check_numclass(output[1], source.params_file) for output in outputs]
    check_installed(form.format)
    pictures = _pictures(net, form, images, source.meta.images)
    ordered = for_bgr(net) if form.bgr else net
    # ncnn has a layer for bilinear upsampling, so that it needs no products of matrices.
    bilinear = () if form.format == "ncnn" else None
    lowered = trim(ordered, shape, bilinear=bilinear) if form.trimmed else ordered
    exported = Exported(trimmed=lowered is not ordered)
    batches = _Batches(pictures, mean, form.bgr)
    lowered, exported.layers, exported.kept = _lowered(lowered, form, batches, mode, most_loss)
    meta = replace(source.meta, source=checkpoint.source_of(source.params_file))
    meta = meta if form.raw is None else _without_mean(meta)  # the graph subtracts it
    described = {**form.described(mean, counts, meta.images), "trimmed": exported.trimmed}

    def check(written: Path) -> dict:
        """Compare the written files with the checkpoint; the result is the meta file's part `export`."""
        exported.compared = compare(net, mean, form, written, pictures[:MOST_COMPARED])
        refuse_mismatch(form, exported.compared, least)
        if samples is not None:
            exported.scores = score_both(net, mean, form, written, samples, *counts)
        return {"export": {**described, "compared": exported.as_json()}}

    pending = (with_ends(lowered, form, mean), Path(prefix), meta, check)
    if form.format == "json":
        files = _write_json(*pending, epoch)
    elif form.format == "mar":
        files = _write_mar(*pending, partial(check_archive, net, mean, form, least))
    else:
        files = _write_converted(*pending, form, described)
    exported.files = {str(file): file.stat().st_size for file in files}
    return exported


def _net_of(source: Checkpoint, prefix: str | os.PathLike[str]) -> Net:
    """Net of a checkpoint, ending in scores; refuse one that cannot be exported to `prefix`."""
    refuse_exported(source.symbol, source.params_file)
    symbol = scores_symbol(source.symbol, several=bool(heads_of(source.symbol)))
    check_params(source.symbol, source.arg_params, source.aux_params, str(source.params_file))
    source_prefix = source.params_file.with_name(source.params_file.stem[: -len("-0000")])
    if real(prefix) == real(source_prefix):
        raise FCNXSError(f"{prefix}: the export would overwrite its source; choose another --output")
    if not Path(prefix).name or os.fspath(prefix).endswith(os.sep):
        raise FCNXSError(f"{str(prefix)!r}: not a prefix; give a folder and a name, such as {prefix}net")
    args = {name: source.arg_params[name] for name in symbol.list_arguments() if name != "data"}
    return Net(symbol, args, source.aux_params)


def _refuse_several(source: Checkpoint, form: Form, images: Sequence[Picture]) -> None:
    """Refuse what a net of several images cannot be exported to."""
    kinds = source.meta.images
    if not kinds[1:]:
        return
    what = f"{source.params_file}: takes images of {' and '.join(kinds)}"
    if form.format == "mar":
        raise FCNXSError(f"{what}, and --format mar makes a server of one image; use another --format")
    if form.precision == "int8" or images:
        raise FCNXSError(f"{what}, and --calibrate reads one; export it in fp32 or bf16")
    if form.bgr or (form.raw == "uint8" and "depth" in kinds):
        wrong = "--bgr: is for three channels" if form.bgr else "--raw-input uint8: is no logarithm of a depth"
        raise FCNXSError(f"{what}, and {wrong}; leave it out")


def _without_mean(meta: Meta) -> Meta:
    """Meta data of a net that subtracts the mean itself."""
    means = {kind: (0.0,) * len(mean) for kind, mean in meta.means.items()} if meta.means else None
    return replace(meta, mean=(0.0, 0.0, 0.0), means=means)


def _pictures(net: Net, form: Form, images: Sequence[Picture], kinds: Sequence[str]) -> List[Picture]:
    """Images in a size that the form takes, or generated ones; refuse one that is too small for the net."""
    if form.precision == "int8" and not images:
        raise FCNXSError("--precision int8: needs images to measure ranges on; give --calibrate IMAGE ...")
    pictures = [each._replace(image=form.fitted(each.image)) for each in images] or generated(form, kinds)
    for each in pictures:
        check_size(net.symbol, "data", (1, each.image.shape[2], *each.image.shape[:2]), each.name)
    return pictures


def _lowered(
    net: Net, form: Form, batches: Sequence[np.ndarray], mode: str, most_loss: float
) -> Tuple[Net, List[Loss], List[str]]:
    """The net in the form's precision, the losses of its layers, and those that stay in float32."""
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


def _write_json(net: Net, prefix: Path, meta: Meta, check: Check, epoch: int) -> List[Path]:
    compat_file = Path(f"{prefix}-mxnet_compat.py")
    with written_whole(compat_file, prefix=prefix) as (part,):
        part.write_bytes(Path(mxnet_compat.__file__).read_bytes())
        checkpoint.save(prefix, epoch, net.symbol, net.arg_params, net.aux_params, meta, check)
    ends = ("-symbol.json", f"-{epoch:04d}.params", "-meta.json")
    return [*(Path(f"{prefix}{end}") for end in ends), compat_file]


def _write_converted(
    net: Net, prefix: Path, meta: Meta, check: Check, form: Form, described: Dict[str, Any]
) -> List[Path]:
    """Write the files of the format onnx or ncnn."""
    *files, meta_file = (Path(f"{prefix}{end}") for end in ENDS[form.format])
    versions = {**checkpoint.versions(), **{name: version(name) for name in NEEDED[form.format]}}
    content = asdict(replace(meta, versions=versions))
    with written_whole(meta_file, *files, prefix=prefix) as (meta_part, *parts):
        if form.format == "onnx":
            texts = {key: json.dumps(value) for key, value in {**content, "export": described}.items()}
            write_onnx(net, form, texts, *parts)
        else:
            write_ncnn(net, form, *parts)
        content["checksums"] = {part.name: [sha256_of(part)] for part in parts}
        write_json(meta_part, {**content, **check(parts[0])})
    return [*files, meta_file]


def _write_mar(net: Net, prefix: Path, meta: Meta, check: Check, check_archive: Callable) -> List[Path]:
    archive = Path(f"{prefix}.mar")
    others = beside(archive)
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / prefix.name
        checkpoint.save(inner, 0, net.symbol, net.arg_params, net.aux_params, meta, check)
        with written_whole(*others, archive, prefix=prefix) as (*_, part):
            write_mar(inner, part)  # and the others beside it
            check_archive(part)
    return [archive, *others]
