"""Thousands of damaged images and labels of every format, read in a process of its own; none ends or holds it.

The long form, 3,000 files: FCNXS_LONG=1 pytest -s tests/data/test_hostile_images.py
"""

import io
import json
import os
import re
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import headers
import numpy as np
from PIL import Image

from fcnxs import FCNXSError

COUNT = 3000 if os.environ.get("FCNXS_LONG") else 200
KINDS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
LIMIT = 100_000  # pixels: of what a damaged header says, so that the sum of all is small
SECONDS, MEGABYTES = 10, 1000


def originals():
    """Small images of every format, in several modes, and some whose headers lie."""
    found = [make(300, 200) for make in headers.ALL]
    values = np.arange(6000, dtype=np.uint16).astype(np.uint8).reshape(40, 50, 3)
    tiffs = ({}, *({"compression": kind} for kind in ("tiff_lzw", "jpeg", "tiff_deflate", "packbits")))
    settings = {"TIFF": tiffs, "JPEG": ({}, {"progressive": True}), "WEBP": ({}, {"lossless": True})}
    for kind in KINDS:
        for each in map(Image.fromarray, (values, values[..., 0])):
            for how in settings.get(kind, ({},)):
                file = io.BytesIO()
                each.save(file, kind, **how)
                found.append(file.getvalue())
    return found


def damaged(rng, content):
    """Change, remove or repeat some bytes, mostly of the header, or cut the end off."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, min(len(content), 80 if rng.random() < 0.7 else len(content))))
        how = rng.integers(0, 5)
        if how < 2:
            content[at] = int(rng.choice([0, 1, 127, 128, 255, rng.integers(256)]))
        elif how == 2:
            content[at : at + 4] = int(rng.choice([0, 2**31 - 1, 2**32 - 1, 65500])).to_bytes(4, "little")
        elif how == 3:
            del content[at : at + int(rng.integers(1, 9))]
        else:
            content[at:at] = content[at : at + int(rng.integers(1, 9))]
        content = content or bytearray(b"\0")
    return bytes(content[: int(rng.integers(1, len(content) + 1))] if rng.random() < 0.1 else content)


def main(folder):
    """Read all files; print how many were read and refused, the longest time, and the most memory."""
    from fcnxs.data.images import read_image
    from fcnxs.data.labels import load_label

    warnings.simplefilter("ignore")
    rng, first, ends, longest = np.random.default_rng(0), originals(), Counter(), 0.0
    for number in range(COUNT):
        file = Path(folder, "file")
        file.write_bytes(damaged(rng, first[number % len(first)]))
        for read in (read_image, load_label):
            began = time.monotonic()
            try:
                read(file, max_pixels=LIMIT)
                ends["read"] += 1
            except FCNXSError as error:
                ends["refused"] += 1
                assert str(error).startswith(f"{file}: ") and str(error).isprintable()
            longest = max(longest, time.monotonic() - began)
    status = Path("/proc/self/status").read_text()  # getrusage also counts the process that started this one
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
    print(json.dumps({**ends, "longest": longest, "peak": peak}))


def test_damaged_files_are_read_or_refused(tmp_path):
    command = [sys.executable, __file__, str(tmp_path)]
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    how = {"capture_output": True, "text": True, "timeout": 60 * SECONDS, "check": False}
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, **how)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    print(found)
    assert found["read"] + found["refused"] == 2 * COUNT and min(found["read"], found["refused"]) > COUNT / 10
    assert found["longest"] < SECONDS and found["peak"] < MEGABYTES


if __name__ == "__main__":
    main(sys.argv[1])
