"""The other engines of `fcnxs benchmark infer`, with the settings that their makers recommend.

All have a fixed size, all processors and one stream. Their processes do not import MXNet. `file` is the
net's, in the folder ROOT/WxH (see engines.py).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Callable

import numpy as np

from ....errors import FCNXSError
from .engines import Run, threads


def _image(file: Path) -> np.ndarray:
    return np.load(file.with_name("image.npy"))


def opencv(file: Path, precision: str) -> Run:
    """OpenCV's DNN module."""
    import cv2

    cv2.setNumThreads(threads())
    net, image = cv2.dnn.readNetFromONNX(str(file)), _image(file)

    def run() -> np.ndarray:
        net.setInput(image)
        return net.forward()

    return run


def onnxruntime(file: Path, precision: str) -> Run:
    """ONNX Runtime with all graph optimizations; int8 by its static quantization."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if precision == "int8":
        file = _quantized(file)
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    image, binding, (output,) = _image(file), session.io_binding(), session.get_outputs()
    scores = np.empty(output.shape, np.float32)
    binding.bind_cpu_input(session.get_inputs()[0].name, image)
    binding.bind_output(output.name, "cpu", 0, np.float32, scores.shape, scores.ctypes.data)

    def run() -> np.ndarray:
        session.run_with_iobinding(binding)
        return scores

    return run


def _quantized(file: Path) -> Path:
    """The net in 8 bits, with a scale for each channel of the weights, which its makers advise for x86."""
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(np.load(file.with_name("calibration.npy")))

        def get_next(self) -> dict | None:
            image = next(self.images, None)
            return None if image is None else {"data": image[np.newaxis]}

    target = file.with_name(f"{file.stem}-int8-onnxruntime.onnx")
    quantization.quantize_static(file, target, Calibration(), per_channel=True)
    return target


def openvino(file: Path, precision: str) -> Run:
    """OpenVINO for low latency; bfloat16 by its precision hint, int8 by NNCF's post-training quantization.

    Inputs of layers are unsigned with an offset (`MIXED`). Otherwise those of a trimmed net, which has negative
    ones, are signed, and OpenVINO convolves signed numbers half as fast with AVX512.
    """
    import openvino as ov

    core, images = ov.Core(), np.load(file.with_name("calibration.npy"))
    model = core.read_model(file)
    if precision == "int8":
        import nncf

        calibration = nncf.Dataset([image[np.newaxis] for image in images])
        preset = nncf.QuantizationPreset.MIXED
        model = nncf.quantize(model, calibration, preset=preset, subset_size=len(images))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads(),
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    image = _image(file)
    return lambda: request.infer([image], share_inputs=True, share_outputs=True)[0]


def ncnn(file: Path, precision: str) -> Run:
    """The engine ncnn, with pools of memory as in its own benchmark; bfloat16 by its storage option."""
    import ncnn as engine

    net, pools = engine.Net(), (engine.UnlockedPoolAllocator(), engine.PoolAllocator())
    net.opt.blob_allocator, net.opt.workspace_allocator = pools
    net.opt.num_threads = threads()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = net.opt.use_bf16_packed = precision == "bf16"
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix(".bin"))):
        raise FCNXSError(f"{file.name}: ncnn cannot read it")
    image = _image(file)[0]  # ncnn's array below keeps no reference to it
    data, output = engine.Mat(image), net.output_names()[0]

    def run() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("data", data)
        failed, scores = extractor.extract(output)
        if failed:
            raise FCNXSError("ncnn cannot run the net")
        return np.asarray(scores)[np.newaxis]

    run.pools, run.image = pools, image
    return run


def mnn(file: Path, precision: str) -> Run:
    """MNN, from the ONNX file by its own converter."""
    import MNN

    target = file.with_suffix(".mnn")
    # Not by the command mnnconvert, which installs a package and reports its use to MNN's makers.
    code = "import sys, _tools; sys.exit(not _tools.mnnconvert(sys.argv))"
    files = ["--modelFile", str(file.resolve()), "--MNNModel", str(target.resolve())]
    command = [sys.executable, "-c", code, "-f", "ONNX", "--bizCode", "fcnxs", *files]
    if subprocess.run(command, cwd=file.parent).returncode:  # there, since it writes a file where it runs
        raise FCNXSError(f"{file.name}: MNN cannot convert it")
    interpreter, image = MNN.Interpreter(str(target)), _image(file)
    session = interpreter.createSession({"backend": "CPU", "numThread": threads(), "precision": "high"})
    kind, order = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    data, output = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    scores = MNN.Tensor(output.getShape(), kind, np.zeros(output.getShape(), np.float32), order)

    def run() -> np.ndarray:
        data.copyFrom(MNN.Tensor(image.shape, kind, image, order))  # each time: a pass overwrites its input
        interpreter.runSession(session)
        output.copyToHostTensor(scores)
        return scores.getNumpyData()

    return run


def torch_channels_last(
    folder: Path, precision: str, change: Callable = lambda net: net, order: str = "channels_last"
) -> Run:
    """PyTorch with channels last, the memory format in which its convolutions are fastest.

    Args:
        folder: folder with the files of one size.
        precision: fp32 or bf16.
        change: takes the net and returns the one to run.
        order: PyTorch's name of a memory format.
    """
    import torch

    from ..torch_fcn8s import load_fcn8s

    torch.set_num_threads(threads())
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    form = {"dtype": dtype, "memory_format": getattr(torch, order)}
    net = change(load_fcn8s(folder.parent / "weights.safetensors").to(**form))
    image = torch.from_numpy(np.load(folder / "image.npy")).to(**form)

    @torch.inference_mode()
    def run() -> np.ndarray:
        return net(image).float().numpy()

    return run


torch = partial(torch_channels_last, order="contiguous_format")  # PyTorch's default memory format


def torch_compiled(folder: Path, precision: str) -> Run:
    """PyTorch with channels last, compiled by PyTorch's inductor with frozen weights.

    Raises:
        FCNXSError: there is no C++ compiler, which inductor needs.
    """
    import torch

    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise FCNXSError("torch.compile needs a C++ compiler (on Debian: apt-get install g++)")
    torch._inductor.config.freezing = True
    return torch_channels_last(folder, precision, torch.compile)
