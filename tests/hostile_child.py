"""Uses graphs as the commands and the library do, in a process that they may end.

python tests/hostile_child.py < GRAPHS    # a JSON text a line; answers with two lines for each
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
from hostile_sources import SIZE

from fcnxs import FCNXSError, feasible
from fcnxs.compat import mxnet as mx
from fcnxs.deploy.precision import BFLOAT16
from fcnxs.symbols import legacy
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.tools import explain

MEMORY = 100 << 20  # bytes that a net finds available
OPTIONS = argparse.ArgumentParser()
explain.add_arguments(OPTIONS)


def used(text: str) -> str:
    """Use a graph as the commands and the library do; what happened, in a word."""
    symbol = legacy.load(text)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "net-symbol.json"
        file.write_text(text, encoding="utf-8")
        with contextlib.suppress(FCNXSError):
            explain.run(OPTIONS.parse_args([str(file), "--image-size", "52x40"]))
    arguments = symbol.list_arguments()
    image = next((name for name in ("data", *arguments[:1]) if name in arguments), None)
    if image is None:
        return "without an image"
    shapes, _, states = symbol.infer_shape_partial(**{image: SIZE})
    if any(not shape or min(shape) < 1 for shape in (*shapes, *states)):
        return "without shapes"
    feasible.check_layers(symbol, Graph.of(symbol, casts=True), {image: SIZE}, "the image")
    if sum(map(np.prod, (*shapes, *states))) > 1 << 24:
        return "with weights that no file of this size has"
    attrs, rng = symbol.attr_dict(), np.random.default_rng(0)
    args = {}
    for name, shape in zip(arguments, shapes):
        args[name] = mx.nd.array(rng.uniform(-1, 1, shape))
        if attrs.get(name, {}).get("__dtype__") == "12":
            args[name] = mx.nd.amp_cast(args[name], dtype=BFLOAT16)
    auxs = {name: mx.nd.ones(shape) for name, shape in zip(symbol.list_auxiliary_states(), states)}
    for train in (False, True):
        grads = {name: mx.nd.zeros_like(array) for name, array in args.items()} if train else None
        executor = symbol.bind(mx.cpu(), args, grads, "write" if train else "null", auxs)
        for output in executor.forward(is_train=train):
            output.wait_to_read()
        lowered = any(op.startswith("_sg") or "quantize" in op for op in Graph.of(symbol).ops)
        if train and not lowered:
            executor.backward([mx.nd.ones_like(output) for output in executor.outputs])
        mx.nd.waitall()
    return "run"


def memory(what: str) -> int:
    """Bytes of memory of this process: VmRSS, now, or VmHWM, the peak."""
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) * 1024


def main() -> None:
    """Use the graphs of standard input, a JSON text a line; print a line for the start and the end of each."""
    feasible.available_memory = lambda: MEMORY
    out = sys.stdout
    for i, line in enumerate(sys.stdin):
        print("start", i, file=out, flush=True)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
        begin, before = time.process_time(), memory("VmRSS")
        try:
            what = used(line.rstrip("\n"))
        except FCNXSError as error:
            what = "refused" if "\n" not in str(error) else "traceback: several lines"
        except mx.MXNetError as error:
            what = f"refused by MXNet: {str(error).splitlines()[-1]:.300}"
        except Exception:
            what = "traceback: " + traceback.format_exc().replace("\n", " | ")
        peak = memory("VmHWM") - before
        print("end", i, round(time.process_time() - begin, 2), peak, what, file=out, flush=True)


if __name__ == "__main__":
    main()
