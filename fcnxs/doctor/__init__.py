"""Errors of a machine or its Python, and their cures.

Begin with `rules.py`: each rule reads the facts that `facts.py` gathers, even if MXNet, NumPy or OpenCV cannot
be imported.

This room may import `compat`, `errors`, `conventions`, `symbols` and `system` alone.
"""
