"""Options of a run of `fcnxs finetune` that is resumed: those that it began with, from run.json."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Dict, Tuple

from ...data.datasets import NAMED
from ...errors import FCNXSError
from ...system.json_files import Null, Number, checked, told_of
from ..shared import data_options
from ..shared.devices import MOST, of_cpus, of_gpus
from .stage_options import AUTO

PATHS = ("data", "val", "root", "classes", "prefix", "output", "class_weights")
NAMES = {"class_weights": (AUTO,)}  # values of PATHS that are no paths; of the others, NAMED
REQUIRED = ("data", "prefix", "epoch", "output")
OF_COMMAND = ("skipped", "options", "meta", "data", "stages")  # keys of run.json that this command writes
# Options that earlier versions wrote to run.json by other names.
RENAMED = {
    **{"mirror": "recompute", "random_mirror": "random_flip", "keep": "keep_epochs"},
    **{"gpus": "device", "cpus": "device"},
}
# Those of them whose values have changed, too: the form that these had, and what they are now.
CHANGED = {"gpus": (str, of_gpus), "cpus": (Number(int, 1, MOST), of_cpus)}
# Options that may differ when a run resumes: where and how it runs, but not its result.
FREE = (
    *("device", "kv_store", "workers", "recompute", "quiet", "tensorboard", "resume"),
    *("checkpoint_every", "keep_epochs", "max_pixels"),
)


def restored(args: argparse.Namespace) -> Tuple[argparse.Namespace, Dict[str, Any] | None]:
    """Options of the run that --resume names, with those given now; and its run.json, or None.

    Raises:
        FCNXSError: an option differs from the run's, or a required one is missing.
    """
    given, before = _given(args), None
    data_options.folder_here(given, args.quiet)
    defaults = {name: args.parser.get_default(name) for name in vars(args)}
    if args.resume is not None:
        from ...finetune.run_folder import PLAN, read_plan

        if _path(args.output or args.resume) != _path(args.resume):
            raise FCNXSError(
                f"--output {args.output}: --resume {args.resume} is another folder; give one of them"
            )
        given["output"] = args.resume
        before = read_plan(Path(args.resume))
    if before is not None:
        options = _options_of(before, Path(args.resume, PLAN), args.parser)
        began = {**defaults, **options}
        for name, value in storable(argparse.Namespace(given=given)).items():
            if name not in (*FREE, "output") and value != began.get(name):
                has = f"with {began[name]}" if began.get(name) and not isinstance(value, bool) else "without it"
                raise FCNXSError(
                    f"{_written(args.parser, name, value)}: the run in {args.resume} began {has}; leave the "
                    "option out to go on with it, or begin another run with --output"
                )
        free = {name: value for name, value in given.items() if name in (*FREE, "output")}
        # A job of several processes may go on as one process, and the other way round.
        store, job = options.get("kv_store"), os.environ.get("DMLC_ROLE") == "worker"
        store = store if ("dist" in (store or "")) == job else "dist_sync" if job else None
        given = {**options, "kv_store": store, **free}
    of_one = ("prefix", "epoch")
    if given.get("init") and any(given.get(name) is not None for name in of_one):
        raise FCNXSError("--init: takes the place of --prefix and --epoch; leave them out")
    missing = [_option(name) for name in REQUIRED if given.get(name) is None]
    missing = [] if given.get("init") and {*missing} <= {*map(_option, of_one)} else missing
    if missing:
        what = f"no run to go on with in {args.resume}, and " if args.resume is not None else ""
        raise FCNXSError(f"{what}missing: {', '.join(missing)}; see fcnxs finetune --help")
    return argparse.Namespace(**{**defaults, **given, "given": given}), before


def _options_of(before: Dict[str, Any], file: Path, parser: argparse.ArgumentParser) -> Dict[str, Any]:
    """Options in a run.json, by their names today.

    Raises:
        FCNXSError: it is not one of this command, or has an option or a value that a command line cannot have.
    """
    lacks = [key for key in OF_COMMAND if before[key] is None]
    if lacks:
        raise FCNXSError(
            f"{file}: has no {lacks[0]}: this run was begun from Python, not by this command; go on with it "
            "there"
        )
    forms: Dict[str, Any] = {}
    for action in parser._actions:
        kinds = {None: str, int: Number(int), float: Number(float)}  # of a type of its own: a list
        form = bool if action.nargs == 0 else kinds.get(action.type, [str])
        form = [form] if isinstance(action, argparse._AppendAction) else form
        if action.help != argparse.SUPPRESS:  # a former name
            forms[action.dest] = Null({*action.choices} if action.choices else form)
    with told_of(file, "the record of a run of this version", "begin another run with --output"):
        options = _renamed(before["options"])
        unknown = [name for name in options if name not in forms]
        if unknown:
            raise ValueError(f"options: there is no option {unknown[0]!r:.80}")
        return {name: checked(value, forms[name], f"options.{name}") for name, value in options.items()}


def _renamed(options: Dict[str, Any]) -> Dict[str, Any]:
    """Options of a run.json, by their names and with their values of today.

    Raises:
        ValueError: a value is none that the option could have.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in {*CHANGED} & {*given}:
        form, today = CHANGED[name]
        given[name] = today(checked(given[name], form, f"options.{name}"))
    return {RENAMED.get(name, name): value for name, value in given.items()}


def _given(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that the command line has."""
    left_out = object()
    probe = argparse.Namespace(**dict.fromkeys(vars(args), left_out))
    for action in args.parser._actions:
        if isinstance(action, argparse._AppendAction):  # which extends what is there
            setattr(probe, action.dest, None)
    args.parser.parse_args(args.arguments, probe)
    return {name: value for name, value in vars(probe).items() if value is not left_out and value is not None}


def storable(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that were given, in types that JSON can hold; paths are absolute, valid from any folder."""
    return {
        name: _path(value) if name in PATHS and value not in NAMES.get(name, NAMED) else value
        for name, value in args.given.items()
        if name != "resume" and value is not None
    }


def _path(value: str) -> str:
    return str(Path(value).absolute())


def _written(parser: argparse.ArgumentParser, name: str, value: Any) -> str:  # noqa: ANN401
    """The option as it is written on a command line: `--seed 3`, `--no-trim`."""
    actions = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    names = next(action.option_strings for action in actions if action.dest == name)
    if isinstance(value, bool):
        return names[0 if value else -1]
    return f"{names[0]} {','.join(map(str, value)) if isinstance(value, list) else value}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
