"""The command `fcnxs`: sub-commands, one-line errors, exit codes.

Exit codes: 0 success; 1 a negative result, or a part that failed; 2 wrong usage or input; 128 + n signal n.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pickle
import re
import signal
import sys
import tokenize
import warnings
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from itertools import chain, takewhile
from typing import Callable, List, NoReturn, TextIO

from .. import __version__
from ..compat import use_the_machine
from ..errors import FCNXSError, FCNXSWarning, shown
from ..late_operators import make_late
from ..launch import lifeline
from ..system import libraries, variables
from .shared import signals, streams
from .shared.printing import say
from .shared.signals import Ended

COMMANDS = {
    "convert": "weights of Caffe, Gluon or torchvision to a checkpoint",
    "import-data": "write your images and labels, or a labelling tool's export, as a data set",
    "check-data": "describe a data set, and find errors that would stop training on it",
    "pack": "write a data set as one RecordIO file",
    "finetune": "train FCN-32s, FCN-16s, FCN-8s in a row",
    "evaluate": "score a checkpoint on labelled images",
    "report": "one page on a run: curves, scores, best and worst images",
    "segment": "write masks and overlays of images and videos",
    "export": "write a checkpoint for deployment",
    "explain": "show a net: layers, sizes, offsets, and the reasons",
    "demo": "convert, train, evaluate and export, on generated pictures",
    "benchmark": "measure speed, memory and fidelity at full size",
    "launch": "run a command as a job of several processes or machines",
    "doctor": "show what this machine has, each error, and its cure",
}
# Words that other programs use for these commands. A misspelled name is found by its letters.
MEANT = {
    "finetune": ("train", "training", "fit", "fine-tune", "resume"),
    "segment": ("predict", "prediction", "infer", "inference", "run", "video"),
    "evaluate": ("test", "score", "eval", "val", "validate"),
    "convert": ("weights",),
    "import-data": ("import", "prepare", "dataset", "labels", "masks"),
    "check-data": ("check", "data", "inspect"),
    "pack": ("record", "recordio", "im2rec"),
    "export": ("deploy", "onnx", "serve", "save"),
    "explain": ("info", "show", "summary", "describe"),
    "report": ("plot", "results"),
    "demo": ("example", "try"),
    "benchmark": ("speed", "time", "profile"),
    "launch": ("distribute",),
}


class NegativeResult(FCNXSError):
    """A comparison of a command's result with its source has failed: one line, and exit code 1."""


def main(argv: List[str] | None = None) -> int:
    """Run one sub-command; returns its exit code, and announces it to the launcher of a job.

    Args:
        argv: words after `fcnxs`; None: those of this process, which ends here, unless it is part of a job.
    """
    if argv is not None:
        return _announced(argv)
    signals.watch()
    try:
        code = _announced(sys.argv[1:])
    except SystemExit as end:
        code = end.code
    return streams.end(code, at_once=not lifeline.joined())


def _announced(arguments: List[str]) -> int:
    code = 1
    try:
        code = _guarded(arguments)
    except SystemExit as end:
        code = int(end.code or 0) if isinstance(end.code, (int, type(None))) else 1
        raise
    finally:
        lifeline.leave(code)
    return code


def _guarded(arguments: List[str]) -> int:
    """Run one sub-command; an error becomes one line and an exit code."""
    try:
        return _run(arguments)
    except BrokenPipeError:  # the reader of our output has ended
        return 128 + signal.SIGPIPE
    except NegativeResult as result:
        return _say(str(result), 1)
    except (FCNXSError, ImportError, MemoryError, OSError) as error:
        return _say(_explained(error), 2)
    except (KeyboardInterrupt, Ended) as end:
        end = end if isinstance(end, Ended) else Ended(signal.SIGINT)
        signals.told()
        return _say(str(end), 128 + end.number)
    except RuntimeError as error:
        if type(error).__name__ != "MXNetError":
            raise
        return _say(f"MXNet failed: {str(error).strip().splitlines()[-1]}", 1)


def _run(arguments: List[str]) -> int:
    environment = dict(os.environ)
    joined = lifeline.join()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files that the terminal cannot show
    for line in variables.leave_out(environment):
        if arguments[:1] != ["doctor"]:  # which says it, too
            say(f"fcnxs: warning: {line}", sys.stderr)
    if os.environ.get("DMLC_ROLE") in ("server", "scheduler") and arguments[:1] not in (["launch"], ["doctor"]):
        _serve(joined)
    args = parse(arguments)
    args.environment = environment  # before `use_the_machine` changes it
    use_the_machine()
    make_late()
    signals.raise_ended()
    with warnings.catch_warnings():
        warnings.simplefilter("always", FCNXSWarning)
        warnings.showwarning = partial(_warn, warnings.showwarning)
        return args.run(args)


def _warn(other: Callable[..., None], message: Warning, category: type, *place: object) -> None:
    """Print a warning of this package as a line; `other` shows those of other packages."""
    if issubclass(category, FCNXSWarning):
        say(message)
    else:
        other(message, category, *place)


def _serve(joined: bool) -> NoReturn:
    """Be the server or scheduler that DMLC_ROLE names: MXNet serves during its import, then exits.

    A launched job ignores signals here, since the workers need the servers until their last step. Servers
    read no pickles, in which optimizers would arrive, since a pickle can run any code.
    """
    for number in signals.SIGNALS:
        ignored = joined or signal.getsignal(number) is signal.SIG_IGN
        signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    use_the_machine()
    pickle.loads = _refuse_pickle
    from ..compat import mxnet  # noqa: F401

    raise FCNXSError("this MXNet has no parameter server; `fcnxs doctor` shows its features")


def _refuse_pickle(*_: object) -> NoReturn:
    raise pickle.UnpicklingError("servers take no optimizer: the workers update")


class Parser(argparse.ArgumentParser):
    """Parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the error and the command for help; exit code 2."""
        self.exit(2, f"fcnxs: {shown(message)}; see {self.prog} --help\n")

    def _print_message(self, message: str, file: TextIO | None = None) -> None:
        """As argparse's, which keeps it to itself if nothing can be written."""
        if message:
            (file or sys.stderr).write(message)


def parse(arguments: List[str]) -> argparse.Namespace:
    """Parse the arguments of a sub-command; its `run`, `parser` and `arguments` are added to its options.

    Only the module of this sub-command is imported.
    """
    parser = Parser(
        prog="fcnxs",
        description="Fully convolutional networks for semantic segmentation, on MXNet.",
        epilog="example: fcnxs demo",
    )
    parser.add_argument("--version", action="version", version=f"fcnxs {__version__}")
    _refuse_empty(arguments[1:])
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise FCNXSError(_unknown(arguments[0]))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name in arguments[:1]:
            module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
            sub_parser = commands.add_parser(
                name,
                help=summary,
                description=module.__doc__ or _docstring(module.__file__),
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
            )
            module.add_arguments(sub_parser)
            sub_parser.set_defaults(run=module.run, parser=sub_parser, arguments=arguments[1:])
        else:
            commands.add_parser(name, help=summary)
    if not arguments:
        parser.print_help()
        parser.exit()
    return parser.parse_args(arguments)


def _refuse_empty(arguments: List[str]) -> None:
    """Refuse empty values, of which `--output ''` would be this folder; behind `--` is another command."""
    own = [*takewhile("--".__ne__, arguments)]
    for before, each in zip(["", *own], own):
        if not each or re.fullmatch(r"--[\w-]+=", each):
            name = each[:-1] or (before if before.startswith("-") else "one of the values")
            raise FCNXSError(f"{name}: is empty; is a shell variable in the command not set?")


def _docstring(file: str) -> str | None:
    """Text at the head of a module, which Python drops if PYTHONOPTIMIZE is 2."""
    with tokenize.open(file) as source:
        return ast.get_docstring(ast.parse(source.read()))


def _unknown(word: str) -> str:
    """Message on a word that is no command; it names the command that is probably meant."""
    words = [*COMMANDS, *chain(*MEANT.values())]
    near = get_close_matches(word.lower().replace("_", "-"), words, n=1, cutoff=0.65)
    meant = next((name for name in COMMANDS if {name, *MEANT.get(name, ())}.intersection(near)), None)
    guess = f"did you mean `fcnxs {meant}` ({COMMANDS[meant]})?" if meant else "see fcnxs --help"
    return f"there is no command {word!r}; {guess}"


def _explained(error: BaseException) -> str:
    """The error's text; if a library of the system is missing, the names of all that are, and the cure."""
    missing = libraries.missing() if "cannot open shared object file" in str(error) else []
    if missing:
        from ..doctor import facts, gpus, packages

        known = facts.quick()
        for what, cure in packages.two_wheels(known, gpu=bool(gpus.usable(known))):
            return f"{what}; {cure}"
        groups = libraries.cures(missing, libraries.installed())
        return "; ".join(f"this system has no {', '.join(names)}; {cure}" for names, cure in groups)
    if isinstance(error, OSError) and error.filename is None and error.errno in streams.UNWRITABLE:
        return streams.failed(error)
    return str(error) or type(error).__name__


def _say(message: str, code: int) -> int:
    lifeline.leave(code)  # before a KVStore is freed with the error, which waits for the other processes
    line = " ".join(message.split())
    with suppress(OSError):  # nobody reads it, or the disk is full
        say(f"fcnxs: {line}", sys.stderr)
    return code
