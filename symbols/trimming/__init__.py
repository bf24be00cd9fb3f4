"""The trimmed canvas: a net that computes only the part of its padded canvas that the image can influence.

Begin with `windows.py`, the mathematics in one dimension, without MXNet. `trunk.py` finds the layers that can
be trimmed, `plateaus.py` computes the values outside of the windows, `trimmed.py` writes the trimmed graph.

This room may import `graph/` and `interpolation`.
"""
