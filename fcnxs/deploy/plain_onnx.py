"""Run an exported net as a user of ONNX Runtime would: FILE.onnx FOLDER.

This script runs in a process of its own and imports nothing of this package. For each full-*.npy of the folder
it writes the output to out-full-*.npy, for each map-*.npy the class map to out-map-*.npy.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

file, folder = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
for file in sorted(Path(folder).glob("*-*.npy")):
    output = session.run(None, {"data": np.load(file)})[0]
    if file.name.startswith("map-"):
        output = (output.argmax(1) if output.ndim == 4 else output).astype(np.uint8)
    np.save(file.with_name(f"out-{file.name}"), output)
