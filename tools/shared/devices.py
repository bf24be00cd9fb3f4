"""The option --device, where a command computes, and its former names --gpus and --cpus.

`cpu` and `gpu` are device 0 of their kind; `gpu:1` is another one, and `gpu:0,1` are two. `cpu:0,1` are MXNet's
devices cpu(0) and cpu(1), which share the processors.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from typing import TYPE_CHECKING, List, Tuple

from ...doctor import gpus
from ...doctor.facts import Facts, quick
from ...errors import FCNXSError
from ...launch.dmlc import own_share

if TYPE_CHECKING:
    from ...compat import mxnet as mx

MOST = 1000  # devices; MXNet has room for each number up to the highest


def add_device(
    parser: argparse.ArgumentParser,
    text: str = "device to compute on: cpu, gpu, or gpu:1",
    default: str = "cpu",
) -> None:
    """Add --device, and --gpus of earlier versions; only one of them can be given."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--device", metavar="DEVICE", help=f"{text} (default: {default})")
    group.add_argument("--gpus", dest="device", type=of_gpus, help=argparse.SUPPRESS)


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Add --device for a command that trains, on one device or several, and --gpus and --cpus."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--device",
        metavar="DEVICE",
        help="device to train on: cpu, gpu, gpu:1, or several that share each step, gpu:0,1 (default: cpu)",
    )
    group.add_argument("--gpus", dest="device", type=of_gpus, help=argparse.SUPPRESS)
    group.add_argument("--cpus", dest="device", type=of_cpus, help=argparse.SUPPRESS)


def of_gpus(numbers: str) -> str:
    """--device for a value of --gpus."""
    return f"gpu:{numbers}"


def of_cpus(count: str | int) -> str:
    """--device for a value of --cpus.

    Raises:
        argparse.ArgumentTypeError: it is no number from 1 to 1000.
    """
    if not re.fullmatch("[0-9]{1,4}", str(count)) or not 1 <= int(count) <= MOST:
        raise argparse.ArgumentTypeError(f"{count}: expected a number of devices, from 1 to {MOST}")
    return f"cpu:{','.join(map(str, range(int(count))))}"


def kind_and_numbers(text: str | None) -> Tuple[str, List[int]]:
    """`cpu` or `gpu`, and the numbers of the devices; None stands for the CPU.

    Raises:
        FCNXSError: `text` names no devices, or one twice.
    """
    found = re.fullmatch("(cpu|gpu)(?::([0-9]{1,3}(?:,[0-9]{1,3})*))?", text or "cpu")
    if not found:
        raise FCNXSError(f"--device {text}: expected cpu, gpu, or numbers from 0, as gpu:1 or gpu:0,1")
    numbers = [int(number) for number in (found[2] or "0").split(",")]
    if len(set(numbers)) < len(numbers):
        raise FCNXSError(f"--device {text}: name each device only once")
    return found[1], numbers


def processors_shared_by(text: str | None) -> int:
    """Number of CPU devices, which share the processors; 1 with GPUs."""
    kind, numbers = kind_and_numbers(text)
    return len(numbers) if kind == "cpu" else 1


def device(text: str | None) -> mx.Context:
    """The one device of --device.

    Raises:
        FCNXSError: it names several devices, none, or a GPU that MXNet does not see or has no code for.
    """
    kind, numbers = kind_and_numbers(text)
    if len(numbers) > 1:
        raise FCNXSError(f"--device {text}: this command computes on one device; give {kind}:{numbers[0]}")
    return _context(kind, numbers[0])


def devices(text: str | None) -> List[mx.Context]:
    """The devices of --device; the training processes of a job on one machine divide the GPUs.

    Raises:
        FCNXSError: one is no device, named twice, or a GPU that MXNet does not see or has no code for; or the
            GPUs cannot be divided.
    """
    kind, numbers = kind_and_numbers(text)
    return [_context(kind, number) for number in (own_share(numbers) if kind == "gpu" else numbers)]


def numbers(count: int) -> str:
    """The numbers that a count of GPUs has, in words: `numbers 0 to 3`."""
    return {1: "number 0", 2: "numbers 0 and 1"}.get(count, f"numbers 0 to {count - 1}")


def _facts() -> Facts:
    """What explains that MXNet, which is loaded, sees no GPU."""
    from ...compat import mxnet as mx

    return replace(quick(), features={"CUDA": mx.runtime.Features().is_enabled("CUDA")})


def _context(kind: str, number: int) -> mx.Context:
    from ...compat import mxnet as mx

    if kind == "cpu":
        return mx.cpu(number)
    try:
        count = mx.context.num_gpus()
    except mx.MXNetError:
        count = 0
    if number >= count:
        why = f", with {numbers(count)}" if count else f": {gpus.why_none(_facts(), number)}"
        sees = f"MXNet sees {gpus.counted(count)} here{why}"
        raise FCNXSError(f"--device gpu:{number}: {sees}; --device cpu uses the CPU")
    capability = gpus.capability_of(number)
    if not gpus.runs_on(capability):
        good = [f"gpu:{other}" for other in range(count) if gpus.runs_on(gpus.capability_of(other))]
        way = f"--device cpu uses the CPU; {gpus.ONNX}"
        if good:
            way = f"it has code for --device {' and '.join(good)}"
        raise FCNXSError(
            f"--device gpu:{number}: MXNet has no code for this GPU, of compute capability "
            f"{gpus.shown(capability)}, but for 5.0 to 8.9; {way}"
        )
    return mx.gpu(number)
