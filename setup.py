"""Install the folders fcnxs/, symbols/ and tools/ as the one package `fcnxs`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "fcnxs" / "__init__.py").read_text(encoding="utf-8"))[1]
FOLDERS = {"fcnxs": "fcnxs", "fcnxs.symbols": "symbols", "fcnxs.tools": "tools"}  # package: its folder

MXNETS = {"cpu": "mxnet==1.9.1", "cu112": "mxnet-cu112==1.9.1", "cu117": "mxnet-cu117==1.9.1"}
OF_MXNET = ["graphviz<0.9", "requests"]  # what MXNet needs besides NumPy
# The wheels for GPUs are linked to these libraries of CUDA 11 and cuDNN 8, and bring none of them. MXNet finds
# them by `fcnxs doctor --link-cuda`; fcnxs/system/libraries.py has the same names.
CUDA = [
    *("nvidia-cuda-runtime-cu11", "nvidia-cuda-nvrtc-cu11", "nvidia-nvtx-cu11", "nvidia-nccl-cu11"),
    *("nvidia-cublas-cu11", "nvidia-cufft-cu11", "nvidia-curand-cu11", "nvidia-cusolver-cu11"),
    "nvidia-cudnn-cu11<9",
]
LIBRARIES = {"cpu": [], "cu112": CUDA, "cu117": [*CUDA, "nvidia-cusparse-cu11"]}

# MXNet was written for NumPy 1.23; with newer ones it works by fcnxs/mxnet_compat.py.
NUMPY = [
    "numpy>=1.21,<1.24; python_version<'3.12'",
    "numpy>=1.26,<2; python_version=='3.12'",
    "numpy>=2.1; python_version>='3.13'",
]
OLD = ["pandas<3", "scipy<1.16", "opencv-python<4.12", "matplotlib<3.11", "contourpy<1.3.3"]
ONNX = ["onnx>=1.14.1,<1.19; python_version<'3.13'", "onnx>=1.19; python_version>='3.13'", "onnxruntime"]

setup(
    name="fcnxs",
    version=VERSION,
    description="Fully convolutional networks (FCN-32s, 16s, 8s) for semantic segmentation, on MXNet",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.15",
    packages=[
        *FOLDERS,
        *(f"{package}.{room}" for package, folder in FOLDERS.items() for room in find_packages(folder)),
    ],
    package_dir=FOLDERS,
    package_data={
        "fcnxs": ["vgg16_shapes.caffemodel", "py.typed"],
        "fcnxs.report": ["report.html"],
        "fcnxs.tools.explanations": ["page.html", "net.js", "draw.js", "page.js"],
    },
    entry_points={"console_scripts": ["fcnxs = fcnxs.tools.main:main"]},
    install_requires=[
        "numpy",  # which one, the extras below say
        "opencv-python<5",  # 5 no longer reads Caffe's models
        "gluoncv==0.10.5.post0",
        "pillow>=9.4",
        "tqdm",
        "protobuf>=4.22",  # message_factory.GetMessageClass
        "safetensors",
        *("jinja2>=3", "matplotlib>=3.7"),  # of `fcnxs report`; GluonCV needs matplotlib as well
        "scipy",  # SBD's labels; GluonCV needs it as well
        "packaging",  # `fcnxs doctor` reads these bounds
        # Beside NumPy 1.23 an old pip would try, and fetch, many newer ones first.
        *(f"{name}; python_version<'3.12'" for name in OLD),
    ],
    extras_require={
        # MXNet asks for NumPy below 2: from Python 3.13 on, pip could not install an extra that names it.
        **{
            name: [*NUMPY, *OF_MXNET, f"{mxnet}; python_version<'3.13'", *LIBRARIES[name]]
            for name, mxnet in MXNETS.items()
        },
        "numpy2": ["numpy>=2", *OF_MXNET],  # beside an MXNet that is installed
        "coco": ["pycocotools"],
        "tensorboard": ["tensorboardX>=2.6.2.2"],
        "onnx": ONNX,
        "ncnn": ["ncnn"],
        # The last releases of both; they run on Java 8 to 17, which pip does not install.
        "serve": ["multi-model-server==1.1.11", "model-archiver==1.0.3"],
        # What `fcnxs benchmark infer` compares with; PyTorch too, where it is installed: its wheels bring CUDA.
        "bench": [
            *ONNX,
            *("ncnn", "MNN"),
            "ml_dtypes",  # which onnxruntime's quantization imports and does not ask for
            # NNCF from 2.15 on needs NumPy 1.24, and 2.14 does not know OpenVINO 2026.
            *("openvino<2026; python_version<'3.12'", "nncf==2.14.1; python_version<'3.12'"),
            *("openvino>=2026; python_version>='3.12'", "nncf>=3; python_version>='3.12'"),
        ],
        "test": [
            *("pytest", "pytest-xdist", "hypothesis", "scikit-learn", "pycocotools"),
            *("tensorboardX>=2.6.2.2", "ruff==0.17.6", "mypy"),
            *(*ONNX, "ncnn"),
            *("multi-model-server==1.1.11", "model-archiver==1.0.3"),
        ],
    },
)
