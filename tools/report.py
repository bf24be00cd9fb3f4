"""Write the report of a run of `fcnxs finetune`: one HTML page that needs nothing else.

The page has the curves and scores of the stages, settings and versions. With the last epoch of each stage (with
--patience its best one) the command segments the run's validation data again, for the IU of each class, the
confusion matrices, and the best and the worst images beside their truth. A run without validation data, or one
that has not ended, gets a page without these parts.

Examples:
    fcnxs report run
    fcnxs report run --data VOC2012 --split val --output report.html
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, List, Tuple

from ..conventions import COLOR, IGNORE_LABEL
from ..errors import FCNXSError
from ..system.json_files import Or, checked, told_of
from ..system.own import refuse_strangers
from .shared import data_checks, data_options, devices, options
from .shared.printing import say

if TYPE_CHECKING:
    from ..data.samples import Samples
    from ..report.evaluation import Evaluation
    from ..report.run import RunRecord

OPTIONS = {
    **dict.fromkeys(("data", "val", "val_split", "root"), Or(str)),
    "allow": Or([str], []),
}  # in run.json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs report`."""
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder that `fcnxs finetune` wrote")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.html", help="page to write (default: RUN/report.html)"
    )
    parser.add_argument(
        "--data",
        metavar="DIR|LST|NAME",
        help=f"score on this data, and not on what the run was evaluated on: {data_options.DATA_HELP}",
    )
    data_options.add_root_and_split(parser, "val")
    data_checks.add_ignore_label(parser, "as the run")
    data_checks.add_allow(parser)
    data_checks.add_max_pixels(parser)
    options.add_overwrite(parser)
    devices.add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Score the stages, print their scores and what is missing, write the page."""
    output = args.output or args.folder / "report.html"
    if output.suffix.lower() not in (".html", ".htm") or output.is_dir():
        raise FCNXSError(f"--output {output}: give the name of an HTML file, such as report.html")
    if args.data is None and (args.split or args.root):
        raise FCNXSError("--split and --root go with --data; without it the run's own validation data is taken")

    from ..report.page import page
    from ..report.run import read_run
    from ..system.files import written_whole

    data_options.folder_here(vars(args))
    told = read_run(args.folder)
    outputs = {head: output.with_name(f"{output.stem}-{head}{output.suffix}") for head in told.heads}
    outputs = outputs or {"": output}
    refuse_strangers([*outputs.values()], args.overwrite, _is_report)
    options.refuse_unwritable("--output", output.parent)
    samples, same, notes = _samples(args, told)
    if samples and told.records:
        exif = (told.plan.get("meta") or {}).get("exif")
        ignore = data_options.ignored(args.ignore_label, args.folder)
        kinds = tuple((told.plan.get("meta") or {}).get("means") or COLOR)
        samples = samples.of_kinds(kinds).reading(exif, max_pixels=args.max_pixels, ignore=ignore)
    for head, output in outputs.items():
        of_head, evaluation = told.of_head(head), None
        if samples and told.records:
            own = samples.heads[head]
            data_checks.checked(own, of_head.classes or options.default_classes(IGNORE_LABEL))
            evaluation = _evaluation(args, of_head, own, same)
        for note in (*told.notes, *notes, *(evaluation.notes if evaluation else ())):
            say(note)
        html = page(of_head, evaluation, notes).encode("utf-8", "backslashreplace")  # names may be no text
        with written_whole(output) as (part,):
            part.write_bytes(html)
        say(f"wrote {output} ({len(html) / 1e6:.1f} MB)")
    return 0


def _is_report(file: Path) -> bool:
    with file.open("rb") as page:
        return b"report of a run of fcnxs</title>" in page.read(4096)


def _samples(args: argparse.Namespace, told: RunRecord) -> Tuple[Samples | None, bool, List[str]]:
    """Data to score on, whether the run was evaluated on the same data, and notes on it."""
    from ..finetune.run_folder import PLAN

    fingerprint = (told.plan["data"] or {}).get("val")
    if args.data is not None:
        where = (args.data, args.split, args.root, "val")
        samples = data_options.headed_samples([*told.heads], *where, allow=args.allow)
        data_options.tell_split(args.data, args.split)
        if samples.fingerprint() == fingerprint:
            return _without_skipped(samples, told), True, []
        return samples, False, [f"Scored on {args.data}, which is not what the run was evaluated on."]
    with told_of(args.folder / PLAN, "the record of a run"):
        given = checked(told.plan["options"], OPTIONS, "options")
    given["allow"] = [*given["allow"], *(args.allow or ())]
    way_out = "--data and --split name some"
    try:
        given = argparse.Namespace(**given)
        samples = data_options.validation_samples(given, [*told.heads]) if fingerprint else None
    except FCNXSError as error:
        return None, False, [f"The validation data is gone, so nothing is scored here ({way_out}): {error}"]
    if samples is None:
        return None, False, [f"The run has no validation data, so nothing is scored here; {way_out}."]
    same = samples.fingerprint() == fingerprint
    samples = _without_skipped(samples, told) if same else samples
    gone = []
    for i in range(len(samples)):
        gone += [] if samples.has_image(i) else [samples.name(i)]
        gone += [] if samples.has_label(i) else [samples.label_name(i)]
    if gone:
        what = f"{len(gone)} files of the validation data are gone, so nothing is scored here"
        return None, False, [f"{what} ({way_out}): {gone[0]}"]
    changed = "The validation data has changed: it names other images than when the run began."
    return samples, same, [] if same else [changed]


def _without_skipped(samples: Samples, told: RunRecord) -> Samples:
    """Validation data without the images that the run skipped (--skip-bad)."""
    left_out = {number for number, _ in (told.plan["skipped"] or {}).get("val", ())}
    return samples.subset([i for i in range(len(samples)) if i not in left_out])


def _evaluation(args: argparse.Namespace, told: RunRecord, samples: Samples, same: bool) -> Evaluation:
    """Score the stages, with a bar on a terminal; print their scores."""
    from tqdm import tqdm

    from ..report.evaluation import evaluate

    total = len(samples) * len(told.records)
    with tqdm(total=total, unit="image", leave=False, disable=None) as bar:

        def on_image(stage: str, epoch: int) -> None:
            bar.set_description_str(f"{stage} epoch {epoch}", refresh=False)
            bar.update()

        evaluation = evaluate(told, samples, devices.device(args.device), on_image, same)
    for each in evaluation.stages:
        of = f", head {told.head}" if told.head else ""
        say(f"{each.stage} epoch {each.epoch}{of}: mean IU {each.scores.mean_iu:.4f} on {len(samples)} images")
    return evaluation
