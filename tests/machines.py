"""Facts of machines for `fcnxs doctor`: one with nothing wrong, and that one with changes."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace

from fcnxs.doctor.facts import Facts, Gpu

REQUIRES = {  # setup.py's
    "requires": importlib.metadata.requires("fcnxs"),
    "requires_python": importlib.metadata.metadata("fcnxs")["Requires-Python"],
}
GOOD = {
    **{"numpy": "1.23.5", "mxnet": "1.9.1", "opencv-python": "4.11.0.86", "gluoncv": "0.10.5.post0"},
    **{"pillow": "11.0", "tqdm": "4.67", "protobuf": "5.29.1", "safetensors": "0.5", "jinja2": "3.1.6"},
    **{"matplotlib": "3.9.4", "scipy": "1.13.1", "packaging": "24.2", "tensorboardx": "2.6.2.2"},
    **{"pandas": "2.2.3", "contourpy": "1.3.0", "graphviz": "0.8.4", "requests": "2.32.3"},
}
A100 = Gpu("NVIDIA A100-SXM4-40GB", (8, 0), "40960 MiB", "535.129.03")
RTX4090 = Gpu("NVIDIA GeForce RTX 4090", (8, 9), "24564 MiB", "550.54.14")
H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0), "81559 MiB", "535.129.03")
V100 = Gpu("Tesla V100-SXM2-32GB", (7, 0), "32768 MiB", "535.129.03")


def healthy(**changes):
    room = {"memory": 16 * 10**9, "available": 12 * 10**9, "shm": 10**9, "disk": 10**11}
    features = {"CUDA": False, "DIST_KVSTORE": True}
    return replace(Facts(packages=dict(GOOD), features=features, processors=8, **room, **REQUIRES), **changes)


def packages(without=(), gpus=(), mxnet_gpus=0, requires=REQUIRES["requires"], **changes):
    changed = {name.replace("_", "-"): version for name, version in changes.items()}
    have = {name: version for name, version in {**GOOD, **changed}.items() if name not in without}
    return healthy(packages=have, gpus=list(gpus), mxnet_gpus=mxnet_gpus, requires=requires)


def cuda(**changes):
    return replace(packages(["mxnet"], mxnet_cu112="1.9.1"), **changes)
