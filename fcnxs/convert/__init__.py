"""Weights of other frameworks to checkpoints, compared with the framework that they come from.

Begin with `conversion.py`: every array of a file is copied, reshaped or dropped with a reason.
`layer_names.py` maps names, `caffemodel.py` and `weight_files.py` read files. `verify.py` compares scores with
the runtimes of `other_runtimes.py`; for OpenCV, `caffe_prototxt.py` writes the nets as Caffe describes them.

This room may import `data`, `checkpoint` and what is below them; neither `solver` nor `predict`.
"""

from .conversion import TITLES, Converted, read

__all__ = ["TITLES", "Converted", "read"]
