"""Run an exported net as a user would.

Arguments: mxnet PREFIX FOLDER MXNET_COMPAT, or onnx FILE FOLDER, or ncnn FILE.param FOLDER.
This script runs in a process of its own and imports nothing of this package. For each full-*.npy of the folder
it writes the output to out-full-*.npy, for each map-*.npy the class map to out-map-*.npy.
"""

import glob
import runpy
import sys
from pathlib import Path

import numpy as np

runtime, net, folder, *compat = sys.argv[1:]
if runtime == "onnx":
    import onnxruntime

    session = onnxruntime.InferenceSession(net, providers=["CPUExecutionProvider"])
elif runtime == "ncnn":
    import ncnn

    model = ncnn.Net()
    if model.load_param(net) or model.load_model(str(Path(net).with_suffix(".bin"))):
        sys.exit("ncnn cannot load the files")
else:
    runpy.run_path(*compat)
    import mxnet as mx

    (params,) = Path(net).parent.glob(f"{glob.escape(Path(net).name)}-*.params")
    symbol, args, auxs = mx.model.load_checkpoint(net, int(params.stem.rpartition("-")[2]))
shape = None
for file in sorted(Path(folder).glob("*-*.npy")):
    data = np.load(file)
    if runtime == "onnx":
        output = session.run(None, {"data": data})[0]
    elif runtime == "ncnn":
        extractor, image = model.create_extractor(), data[0].astype(np.float32)  # which ncnn.Mat does not keep
        extractor.input("data", ncnn.Mat(image))
        failed, output = extractor.extract(model.output_names()[0])
        if failed:
            sys.exit(f"ncnn cannot compute the net ({failed})")
        output = np.array(output)[np.newaxis]
    else:
        data = mx.nd.array(data, dtype=data.dtype)
        if data.shape != shape:
            shape = data.shape
            executor = symbol.bind(mx.cpu(), {**args, "data": data}, grad_req="null", aux_states=auxs)
        output = executor.forward(is_train=False, data=data)[0].asnumpy()
    if file.name.startswith("map-"):
        output = (output.argmax(1) if output.ndim == 4 else output).astype(np.uint8)
    np.save(file.with_name(f"out-{file.name}"), output)
