"""Python runs this at its start, with this folder in PYTHONPATH: MXNet then has GPUs that are CPU devices."""

import importlib.abc
import os
import sys
from importlib.machinery import PathFinder


class Finder(importlib.abc.MetaPathFinder):
    """Finds MXNet as usual, and lets its import end with `stand_in_gpus.installed`."""

    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target) if name == "mxnet" else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            import stand_in_gpus

            self.gpus = stand_in_gpus.installed(module, int(os.environ["FCNXS_STAND_IN_GPUS"]))
            self.gpus.__enter__()

        spec.loader.exec_module = exec_module
        return spec


if os.environ.get("FCNXS_STAND_IN_GPUS"):
    sys.meta_path.insert(0, Finder())
