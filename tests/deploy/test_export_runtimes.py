"""The json form in runtimes of its own: every way in which plain MXNet loads it, and the C predict API."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import LOWER, photo
from test_export import centred, in_process, make, probabilities, small_pictures  # noqa: F401

from fcnxs.compat import mxnet as mx
from fcnxs.deploy import compare
from fcnxs.deploy.form import Form
from fcnxs.deploy.write import export

# What a user without this package does, in each of MXNet's three ways. On new versions of NumPy and
# Python MXNet itself wants three lines before.
PLAIN = """
import runpy, sys
import numpy as np
runpy.run_path(f"{sys.argv[1]}-mxnet_compat.py")
import mxnet as mx

def load_checkpoint(prefix, image):
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 0)
    return symbol.bind(mx.cpu(), {**args, "data": image}, grad_req="null", aux_states=auxs).forward()[0]

def Module(prefix, image):
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 0)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([mx.io.DataDesc("data", image.shape, image.dtype)], for_training=False)
    module.set_params(args, auxs)
    module.forward(mx.io.DataBatch([image]))
    return module.get_outputs()[0]

def SymbolBlock(prefix, image):
    return mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["data"], f"{prefix}-0000.params")(image)

for prefix, file in zip(sys.argv[1::2], sys.argv[2::2]):
    image = np.load(file)
    image = mx.nd.array(image, dtype=image.dtype)
    for way in (load_checkpoint, Module, SymbolBlock):
        np.save(f"{file}-{way.__name__}.npy", way(prefix, image).asnumpy())
assert not [name for name in sys.modules if name.startswith("fcnxs")]
"""


def predict_c(prefix, data):
    """Output of the C predict API, by libmxnet's own functions."""
    library = ctypes.CDLL(mx.libinfo.find_lib_path()[0])
    library.MXGetLastError.restype = ctypes.c_char_p

    def call(function, *arguments):
        assert getattr(library, function)(*arguments) == 0, library.MXGetLastError()

    content = Path(f"{prefix}-0000.params").read_bytes()
    handle, shape, ndim = ctypes.c_void_p(), ctypes.POINTER(ctypes.c_uint)(), ctypes.c_uint()
    call(
        "MXPredCreate",
        *(Path(f"{prefix}-symbol.json").read_bytes(), content, ctypes.c_int(len(content))),
        *(1, 0, ctypes.c_uint(1), (ctypes.c_char_p * 1)(b"data")),
        *((ctypes.c_uint * 2)(0, 4), (ctypes.c_uint * 4)(*data.shape), ctypes.byref(handle)),
    )
    try:
        data = np.ascontiguousarray(data, np.float32)  # the API takes and gives nothing else
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        call("MXPredSetInput", handle, b"data", pointer, ctypes.c_uint(data.size))
        call("MXPredForward", handle)
        call("MXPredGetOutputShape", handle, ctypes.c_uint(0), ctypes.byref(shape), ctypes.byref(ndim))
        output = np.empty([shape[i] for i in range(ndim.value)], np.float32)
        pointer = output.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        call("MXPredGetOutput", handle, ctypes.c_uint(0), pointer, ctypes.c_uint(output.size))
    finally:
        call("MXPredFree", handle)
    return output


@in_process
def test_plain_mxnet_loads_it_without_this_package(tmp_path):
    """Probabilities of centred images, class maps of raw ones, and int8, at a size that was not compared."""
    source, image = make(tmp_path), photo(45, 61)
    raw = image.transpose(2, 0, 1)[np.newaxis]
    inputs = {"net": centred(image), "raw": raw, "raw_float": raw.astype(np.float32), "int8": centred(image)}
    export(source, tmp_path / "net")
    export(source, tmp_path / "raw", Form(head="argmax", raw="uint8"))
    export(source, tmp_path / "raw_float", Form(head="argmax", raw="float32"))
    export(source, tmp_path / "int8", Form(precision="int8"), [compare.Picture("photo", image)], least=0.5)
    for name, data in inputs.items():
        np.save(tmp_path / f"{name}.npy", data)
    arguments = [f"{tmp_path / name}{end}" for name in inputs for end in ("", ".npy")]
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], check=True, cwd=tmp_path)
    expected = probabilities(source, centred(image))
    for way in ("load_checkpoint", "Module", "SymbolBlock"):
        outputs = {name: np.load(tmp_path / f"{name}.npy-{way}.npy") for name in inputs}
        np.testing.assert_allclose(outputs["net"], expected, atol=1e-6)
        np.testing.assert_array_equal(outputs["raw"], expected.argmax(1))
        np.testing.assert_array_equal(outputs["raw_float"], expected.argmax(1))
        assert 0 < np.abs(outputs["int8"] - expected).max() < 0.5


@in_process
def test_the_c_predict_api_loads_it(tmp_path):
    source, image = make(tmp_path), photo(45, 61)
    expected = probabilities(source, centred(image))
    export(source, tmp_path / "net")
    np.testing.assert_allclose(predict_c(tmp_path / "net", centred(image)), expected, atol=1e-6)
    export(source, tmp_path / "bgr", Form(head="argmax", raw="uint8", bgr=True))
    blue_first = image[..., ::-1].transpose(2, 0, 1)[np.newaxis]
    np.testing.assert_array_equal(predict_c(tmp_path / "bgr", blue_first), expected.argmax(1))


@in_process
@pytest.mark.parametrize("precision", LOWER)
def test_the_c_predict_api_loads_lower_precisions(precision, tmp_path):
    source, image = make(tmp_path), photo(45, 61)
    form = Form(head="logits", precision=precision)
    export(source, tmp_path / "net", form, [compare.Picture("photo", image)], least=0.5)
    classes = predict_c(tmp_path / "net", centred(image)).argmax(1)
    assert (classes == probabilities(source, centred(image)).argmax(1)).mean() > 0.5
