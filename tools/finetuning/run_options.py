"""Options of a resumed run: those that it began with, from run.json, and the few that may change."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Dict, Tuple

from ...data.datasets import NAMED
from ...errors import FCNXSError

PATHS = ("data", "val", "root", "classes", "prefix", "output")
REQUIRED = ("data", "prefix", "epoch", "output")
# Options that earlier versions wrote to run.json by other names.
RENAMED = {"mirror": "recompute", "random_mirror": "random_flip"}
# Options that may differ when a run resumes: where and how it runs, but not its result.
FREE = (
    *("gpus", "cpus", "kv_store", "workers", "recompute", "quiet", "tensorboard", "resume"),
    *("checkpoint_every", "keep"),
)


def restored(args: argparse.Namespace) -> Tuple[argparse.Namespace, Dict[str, Any] | None]:
    """Options of the run that --resume names, with those given now; and its run.json, or None.

    Raises:
        FCNXSError: an option differs from the run's, or a required one is missing.
    """
    given, before = _given(args), None
    defaults = {name: args.parser.get_default(name) for name in vars(args)}
    if args.resume is not None:
        from ...finetune.run_folder import read_plan

        if _path(args.output or args.resume) != _path(args.resume):
            raise FCNXSError(
                f"--output {args.output}: --resume {args.resume} is another folder; give one of them"
            )
        given["output"] = args.resume
        before = read_plan(Path(args.resume))
    if before is not None and "skipped" not in before:
        raise FCNXSError(
            f"{args.resume}: this run was begun from Python, not by this command; go on with it there"
        )
    if before is not None:
        options = {RENAMED.get(name, name): value for name, value in before["options"].items()}
        began = {**defaults, **options}
        for name, value in storable(argparse.Namespace(given=given)).items():
            if name not in (*FREE, "output") and value != began.get(name):
                has = f"with {began[name]}" if began.get(name) else "without"
                said = _option(name) if value is True else f"{_option(name)} {value}"
                raise FCNXSError(
                    f"{said}: the run in {args.resume} began {has}; leave the option out to "
                    "go on with it, or begin another run with --output"
                )
        free = {name: value for name, value in given.items() if name in (*FREE, "output")}
        # A job of several processes may go on as one process, and the other way round.
        store, job = options.get("kv_store", "local"), os.environ.get("DMLC_ROLE") == "worker"
        store = store if ("dist" in store) == job else "dist_sync" if job else "local"
        began_with = dict(options, kv_store=store)
        if "gpus" in given or "cpus" in given:
            began_with.update(gpus=None, cpus=None)
        given = {**began_with, **free}
    missing = [_option(name) for name in REQUIRED if given.get(name) is None]
    if missing:
        what = f"no run to go on with in {args.resume}, and " if args.resume is not None else ""
        raise FCNXSError(f"{what}missing: {', '.join(missing)}; see fcnxs finetune --help")
    return argparse.Namespace(**{**defaults, **given, "given": given}), before


def _given(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that the command line has."""
    left_out = object()
    probe = argparse.Namespace(**dict.fromkeys(vars(args), left_out))
    args.parser.parse_args(args.arguments, probe)
    return {name: value for name, value in vars(probe).items() if value is not left_out}


def storable(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that were given, in types that JSON can hold; paths are absolute, valid from any folder."""
    return {
        name: _path(value) if name in PATHS and value not in NAMED else value
        for name, value in args.given.items()
        if name != "resume" and value is not None
    }


def _path(value: str) -> str:
    return str(Path(value).absolute())


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
