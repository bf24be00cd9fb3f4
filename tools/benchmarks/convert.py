"""`fcnxs benchmark convert`: time and memory of converting a caffemodel of VGG-16's full size."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from ...errors import FCNXSError


def convert(args: argparse.Namespace) -> int:
    """Convert in a process of its own; print its seconds and its peak of memory."""
    from ...convert.caffemodel import write_caffemodel
    from .parity import random_blobs

    blobs = random_blobs("vgg16", args.width, args.fc, 1000)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "vgg16.caffemodel"
        write_caffemodel(source, blobs, v1=True)
        blobs.clear()
        megabytes = source.stat().st_size / 1e6
        code = (
            "import sys, time; began = time.time(); from fcnxs.tools.main import main; "
            f"code = main(['convert', {str(source)!r}, {str(Path(folder) / 'vgg16fc')!r}]); "
            "from fcnxs.tools.benchmarks.worker import memory; "
            "print(f'{time.time() - began:.1f} s, peak {memory()[1]:.2f} GB'); sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise FCNXSError(f"fcnxs convert failed: {done.stderr.strip()}")
    print(f"fcnxs convert of {megabytes:.0f} MB: {done.stdout.splitlines()[-1]}")
    return 0
