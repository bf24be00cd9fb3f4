"""Run an exported net as a user of ONNX Runtime would: FILE.onnx, then a folder of inputs and outputs.

Its text is run by itself, in a process of its own; nothing of this package is imported. For each
full-*.npy of the folder the output goes to out-full-*.npy, for each map-*.npy the class map.
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
