"""Convert weights of Caffe, Gluon, torchvision and timm to checkpoints, and compare both by their scores.

Begin with `conversion.py`, which copies, reshapes or drops (with a reason) every array of a file.
`arrays.py` and `caffemodel.py` read files. `verify.py` compares scores with those of the file in its own
framework; for OpenCV, `caffe_prototxt.py` writes the nets as Caffe describes them.

This room may import `data`, `checkpoint` and what is below them; neither `solver` nor `predict`.
"""

from .conversion import TITLES, Converted, read

__all__ = ["TITLES", "Converted", "read"]
