"""MXNet on this NumPy does what it did on NumPy 1.23, with fcnxs and with the file alone."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fcnxs import mxnet_compat
from fcnxs.compat import mxnet as mx

FILE = Path(mxnet_compat.__file__)


def test_the_file_imports_nothing_but_the_standard_library_and_numpy():
    imports = [
        node for node in ast.walk(ast.parse(FILE.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
    assert not any(node.level for node in imports if isinstance(node, ast.ImportFrom))
    used = {name.split(".")[0] for name in names}
    assert used <= {"numpy", "__future__", "functools", "importlib", "re", "sys", "types", "typing", "warnings"}


def test_a_copy_of_the_file_serves_a_program_without_fcnxs(tmp_path):
    """In a process of its own, in which fcnxs cannot be imported."""
    copy = tmp_path / "net-mxnet_compat.py"
    copy.write_bytes(FILE.read_bytes())
    code = (
        "import runpy, sys; sys.modules['fcnxs'] = None\n"
        f"for _ in range(2): runpy.run_path({str(copy)!r})\n"  # as for two exports in one program
        "import mxnet as mx, numpy as np\n"
        "x = mx.nd.arange(16).reshape((1, 1, 4, np.int64(4)))\n"
        "print(mx.nd.Pooling(x, kernel=(np.int64(2), 2), stride=(np.int32(2), 2)).asnumpy().tolist())\n"
        "print(mx.__version__, mx.nd.array([-1, 258], dtype='uint8').asnumpy().tolist())\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.stdout == "[[[[5.0, 7.0], [13.0, 15.0]]]]\n1.9.1 [255, 2]\n", done.stderr


@pytest.mark.parametrize(
    "value, text",
    [
        ((np.int64(3), 3), "(3, 3)"),
        ([np.int32(-1), (np.uint8(7),)], "[-1, (7,)]"),
        ((np.float32(0.1), np.float64(1e-20), np.float16(2)), "(0.1, 1e-20, 2.0)"),
        ((np.bool_(True), None, "a"), "(True, None, 'a')"),
        (np.float32(0.1), "0.1"),
        ((), "()"),
        ("a", "a"),
    ],
)
def test_text_is_that_of_numpy_1(value, text):
    """The expected texts are what NumPy 1.23 prints."""
    assert mxnet_compat.Text(value) == text and type(mxnet_compat.Text(value)) is str


def test_a_symbol_with_numbers_of_numpy_is_that_with_plain_numbers():
    def net(number: type) -> mx.sym.Symbol:
        data = mx.sym.Variable("data", shape=(number(1), number(3), 0, 0), lr_mult=number(2))
        width = (0, 0, 0, 0, number(1), number(1), number(2), 2)
        padded = mx.sym.pad(data, mode="constant", pad_width=width, name="pad")
        conv = mx.sym.Convolution(padded, kernel=(number(3), number(3)), num_filter=number(4), name="conv")
        return mx.sym.slice(conv, begin=(None, number(0)), end=(None, number(2)), name="slice")

    assert net(np.int64).tojson() == net(int).tojson()
    assert net(np.int32).infer_shape(data=(1, 3, 8, 8))[1] == [(1, 2, 8, 10)]


def test_other_code_prints_as_before():
    code = "import numpy as np; before = repr((np.int64(3), np.float32(0.5))); from fcnxs.compat import mxnet; "
    code += "print(before == repr((np.int64(3), np.float32(0.5))))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_removed_functions_are_there_and_each_is_one_of_its_own():
    """MXNet keeps functions in a dict: an old name that is the new function would take its place."""
    x = np.array([[3.0, 1.0], [2.0, 0.0]])
    assert (np.sometrue(x), np.alltrue(x), np.product(x + 1)) == (True, False, 24)
    assert np.in1d([1, 5], x).tolist() == [True, False] and np.trapz([0, 1, 2]) == 2
    assert np.msort(x).tolist() == [[2, 0], [3, 1]] and np.round_(1.26, 1) == 1.3
    assert np.PINF == -np.NINF == np.Inf and np.isnan(np.NaN) and np.dtype(np.int) == np.int64
    assert np.product is not np.prod and np.sometrue is not np.any and np.in1d is not np.isin


def test_numpy_calls_on_arrays_of_mxnet_are_answered_by_mxnet():
    """By NumPy's protocol, in which MXNet registers its functions by those of NumPy."""
    x = mx.np.array([[3.0, 1.0], [2.0, 0.0]])
    for name in ("sum", "prod", "concatenate", "argmax"):
        answer = getattr(np, name)([x, x] if name == "concatenate" else x)
        assert isinstance(answer, mx.np.ndarray), name
    assert float(np.prod(x + 1)) == 24.0


def test_thresholds_of_calibration_are_numbers():
    counts, edges = np.histogram(np.random.default_rng(0).normal(size=100_000), bins=8001, range=(-5, 5))
    collected = {"layer": (counts, edges, -5.0, 5.0, 5.0)}
    low, high = mx.contrib.quantization._get_optimal_thresholds(collected, "auto")["layer"]
    assert isinstance(high, float) and low == -high and 1 < high < 5
