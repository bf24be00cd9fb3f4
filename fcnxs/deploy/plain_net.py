"""Run an exported net as a user would.

Arguments: mxnet PREFIX FOLDER OUTPUTS MXNET_COMPAT, or onnx FILE FOLDER OUTPUTS, or ncnn FILE.param FOLDER
OUTPUTS, where OUTPUTS are the names of the net's outputs, with commas.
This script runs in a process of its own and imports nothing of this package. For each full-*.npy of the folder
it writes output I to out-I-full-*.npy, for each map-*.npy its class map to out-I-map-*.npy.
"""

import glob
import runpy
import sys
from pathlib import Path

import numpy as np

runtime, net, folder, names, *compat = sys.argv[1:]
names = names.split(",")
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
        outputs = session.run(names, {"data": data})
    elif runtime == "ncnn":
        extractor, image = model.create_extractor(), data[0].astype(np.float32)  # which ncnn.Mat does not keep
        extractor.input("data", ncnn.Mat(image))
        outputs = []
        for name in names:
            failed, output = extractor.extract(name)
            if failed:
                sys.exit(f"ncnn cannot compute the net ({failed})")
            outputs.append(np.array(output)[np.newaxis])
    else:
        data = mx.nd.array(data, dtype=data.dtype)
        if data.shape != shape:
            shape = data.shape
            executor = symbol.bind(mx.cpu(), {**args, "data": data}, grad_req="null", aux_states=auxs)
        executor.forward(is_train=False, data=data)
        outputs = [executor.output_dict[name].asnumpy() for name in names]
    for number, output in enumerate(outputs):
        if file.name.startswith("map-"):
            output = (output.argmax(1) if output.ndim == 4 else output).astype(np.uint8)
        np.save(file.with_name(f"out-{number}-{file.name}"), output)
