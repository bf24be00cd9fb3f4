"""Convert weights of Caffe, Gluon, torchvision and timm to checkpoints, and compare both by their scores.

Begin with `conversion.py`, which copies, reshapes or drops (with a reason) every array of a file.
`source_file.py`, `arrays.py` and `caffemodel.py` read files. `verify.py` compares scores with those of the
file in its own framework.

Files of Caffe also describe layers. `caffe_prototxt.py` has our description of the nets; `caffe_layers.py`
reads that of a file, with the messages of `caffe_schema.py`; `caffe_compare.py` compares the two, and
`caffe_net.py` changes our net or refuses. `caffe_input.py` reads means and scales.

This room may import `data`, `checkpoint` and what is below them; neither `solver` nor `predict`.
"""

from .conversion import TITLES, Converted, read

__all__ = ["TITLES", "Converted", "read"]
