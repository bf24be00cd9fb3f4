"""Install the folders fcnxs/, symbols/ and tools/ as the one package `fcnxs`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "fcnxs" / "__init__.py").read_text(encoding="utf-8"))[1]
FOLDERS = {"fcnxs": "fcnxs", "fcnxs.symbols": "symbols", "fcnxs.tools": "tools"}  # package: its folder

setup(
    name="fcnxs",
    version=VERSION,
    description="Fully convolutional networks (FCN-32s, 16s, 8s) for semantic segmentation, on MXNet",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9,<3.13",
    packages=[
        *FOLDERS,
        *(f"{package}.{room}" for package, folder in FOLDERS.items() for room in find_packages(folder)),
    ],
    package_dir=FOLDERS,
    package_data={"fcnxs": ["vgg16_shapes.caffemodel", "py.typed"], "fcnxs.report": ["report.html"]},
    entry_points={"console_scripts": ["fcnxs = fcnxs.tools.main:main"]},
    install_requires=[
        # Below 1.24 a plain `import mxnet` works; Python 3.12 has no such NumPy (fcnxs/compat.py).
        "numpy>=1.21,<1.24; python_version<'3.12'",
        "numpy>=1.26,<2; python_version>='3.12'",
        "setuptools; python_version>='3.12'",  # its distutils, for MXNet
        "opencv-python<5",  # 5 no longer reads Caffe's models
        "gluoncv==0.10.5.post0",
        "pillow>=9.4",
        "tqdm",
        "protobuf>=4.22",  # message_factory.GetMessageClass
        "safetensors",
        *("jinja2>=3", "matplotlib>=3.7"),  # of `fcnxs report`; GluonCV needs matplotlib as well
        "scipy",  # SBD's labels; GluonCV needs it as well
        "packaging",  # `fcnxs doctor` reads these bounds
    ],
    extras_require={
        "cpu": ["mxnet==1.9.1"],
        "cu112": ["mxnet-cu112==1.9.1"],
        "cu117": ["mxnet-cu117==1.9.1"],
        "coco": ["pycocotools"],
        "tensorboard": ["tensorboardX>=2.6.2.2"],
        # MXNet's converter uses what onnx 1.19 has dropped.
        "onnx": ["onnx>=1.14.1,<1.19", "onnxruntime"],
        # The last releases of both; they run on Java 8 to 17, which pip does not install.
        "serve": ["multi-model-server==1.1.11", "model-archiver==1.0.3"],
        # What `fcnxs benchmark infer` compares with; PyTorch too, where it is installed: its wheels bring CUDA.
        "bench": [
            *("onnx>=1.14.1,<1.19", "onnxruntime"),
            "ml_dtypes",  # which onnxruntime's quantization imports and does not ask for
            # NNCF from 2.15 on needs NumPy 1.24, and 2.14 does not know OpenVINO 2026.
            *("openvino<2026; python_version<'3.12'", "nncf==2.14.1; python_version<'3.12'"),
            *("openvino>=2026; python_version>='3.12'", "nncf>=3; python_version>='3.12'"),
        ],
        "test": [
            *("pytest", "pytest-xdist", "hypothesis", "scikit-learn", "pycocotools"),
            *("tensorboardX>=2.6.2.2", "ruff==0.17.6"),
            *("onnx>=1.14.1,<1.19", "onnxruntime"),
            *("multi-model-server==1.1.11", "model-archiver==1.0.3"),
        ],
    },
)
