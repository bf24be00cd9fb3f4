import os
import subprocess
import sys

import pytest

import fcnxs

PATH = os.pathsep.join(path for path in sys.path if path)


def run(code: str, **environment: str) -> str:
    """Standard output of a fresh interpreter."""
    of_mxnet = {**fcnxs.compat.MXNET_VARIABLES, **fcnxs.compat.CUDA_VARIABLES}
    known = [*of_mxnet, *fcnxs.compat.MALLOC_PARAMETERS, "OMP_NUM_THREADS"]
    rest = {key: value for key, value in os.environ.items() if key not in known}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**rest, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_makes_mxnet_importable_and_does_not_import_it():
    assert run("import sys, fcnxs; print('mxnet' in sys.modules); import mxnet; print(mxnet.__version__)") == (
        "False\n1.9.1"
    )


def test_a_part_of_distutils_that_mxnet_and_gluoncv_need_is_there():
    assert (
        run("import fcnxs; from distutils.version import LooseVersion as V; print(V('1.10') > V('1.9'))")
        == "True"
    )


SETTINGS = """
import os
from fcnxs.compat import use_the_machine
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
use_the_machine()
print(os.environ["OMP_NUM_THREADS"], os.environ["MXNET_CPU_TEMP_COPY"], os.environ["MXNET_MKLDNN_CACHE_NUM"])
"""


def test_commands_use_the_processors_that_the_process_may_run_on():
    assert run(SETTINGS) == "1 1 1"
    command = SETTINGS.replace(
        "use_the_machine()", "from fcnxs.tools.main import main; main(['convert', 'a', 'b'])"
    )
    assert run(command) == "1 1 1"


def test_what_a_user_has_set_wins():
    assert run(SETTINGS, OMP_NUM_THREADS="7", MXNET_CPU_TEMP_COPY="3") == "7 3 1"


@pytest.mark.parametrize("begin", ["use()", "from fcnxs.tools.main import main; main(['convert', 'a', 'b'])"])
def test_variables_for_gpus_are_set_where_the_user_has_set_none(begin):
    """By the library's function, and by every command, whose children inherit them."""
    code = f"import os; from fcnxs.compat import CUDA_VARIABLES as names, use_the_machine as use; {begin}; "
    code += "print(*(os.environ[name] for name in names))"
    assert run(code) == "PCI_BUS_ID 0 0 1 1 Round"
    assert run(code, MXNET_USE_FUSION="1", MXNET_GPU_MEM_POOL_TYPE="Naive") == "PCI_BUS_ID 1 0 1 1 Naive"


def test_import_of_the_package_changes_no_setting():
    assert run("import os; a = dict(os.environ); import fcnxs; print(a == dict(os.environ))") == "True"


@pytest.mark.parametrize("module", ["symbols", "data.loader", "solver", "predict.segmenter"])
def test_without_mxnet_the_first_use_says_what_to_install(module):
    hide = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'mxnet':\n"
        "            raise ModuleNotFoundError('No module named mxnet', name='mxnet')\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    use = (
        f"import fcnxs\ntry:\n    import fcnxs.{module}\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    message = run(hide + use)
    assert message.startswith("MXNet is not installed") and "pip install --no-deps mxnet==1.9.1" in message
    command = (
        "import sys\nfrom fcnxs.tools.main import main\nsys.stderr = sys.stdout\nmain(['convert', 'a', 'b'])"
    )
    assert run(hide + command).startswith("fcnxs: MXNet is not installed")


def test_gluoncv_loads_beside_pytorch_2(tmp_path):
    """Which it refuses by itself; whether PyTorch has been loaded before or is loaded after."""
    (tmp_path / "torch.py").write_text("__version__ = '2.0.0'")
    code = "import fcnxs; from fcnxs.compat import gluoncv; print(len(gluoncv.data.VOCSegmentation.CLASSES)); "
    code += "import torch; print(torch.__version__)"
    refusal = "import fcnxs\ntry:\n    import gluoncv\nexcept RuntimeError as error:\n    print(error)"
    assert "Legacy torch==2.0.0 detected" in run(refusal, PYTHONPATH=f"{tmp_path}:{PATH}")
    for first in ("", "import torch; "):
        assert run(first + code, PYTHONPATH=f"{tmp_path}:{PATH}").splitlines() == ["21", "2.0.0"]


def test_gluoncv_does_not_make_pillow_take_images_that_are_cut_off(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError")
    code = "from PIL import ImageFile; print(ImageFile.LOAD_TRUNCATED_IMAGES)"
    assert run(f"import fcnxs, gluoncv; {code}", PYTHONPATH=f"{tmp_path}:{PATH}") == "True"
    assert run(f"from fcnxs.compat import gluoncv; {code}") == "False"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python has no distutils")
def test_setuptools_is_not_loaded_for_a_comparison_of_versions():
    """It offers its own distutils, and loads all of itself for it; it warns if Python's own is left behind."""
    code = "import sys; from fcnxs.compat import mxnet; print({'setuptools', 'distutils'} & sys.modules.keys())"
    assert run(code) == "set()"


OPERATORS = """
import hashlib, inspect, sys
import fcnxs
from fcnxs import late_operators
late = %s
if late:
    late_operators.make_late()
import mxnet as mx
if late:
    image, weight = mx.nd.ones((1, 1, 3, 3)), mx.nd.ones((1, 1, 2, 2))
    result = mx.nd.Convolution(image, weight, no_bias=True, kernel=(2, 2), num_filter=1)
    assert result.asnumpy().tolist() == [[[[4, 4], [4, 4]]]]
    assert mx.sym.Pooling(mx.sym.var("x"), kernel=(2, 2), name="pool").list_outputs() == ["pool_output"]
    assert mx.np.sin(mx.np.zeros(3)).asnumpy().tolist() == [0, 0, 0]
rows = []
for name, module in sorted(sys.modules.items()):
    if name.startswith("mxnet."):
        for key, value in sorted(vars(module).items()):
            own = inspect.isfunction(value) and (value.__qualname__, value.__code__.co_filename)
            if own and (own[0].startswith("_operator.") if late else own[1] == "<string>"):
                real = value.__closure__[0].cell_contents() if late else value
                assert real.__name__ == value.__name__
                code, signature = real.__code__, str(vars(value).get("__signature__", inspect.signature(real)))
                rows.append((name, key, value.__name__, value.__module__, signature))
                rows.append((code.co_names, code.co_varnames, code.co_code))
print(len(rows) > 4000, hashlib.sha256(repr(rows).encode()).hexdigest())
"""


def test_operators_that_are_made_late_are_the_same():
    """Names, signatures and code of all, as they are made; a few are called."""
    now, late = run(OPERATORS % False), run(OPERATORS % True)
    assert now.startswith("True ") and now == late
