"""What is wrong with a machine or its Python, and the cure.

Begin with `rules.py`: each rule goes over the facts that `facts.py` gathers, even where MXNet, NumPy or OpenCV
cannot be imported.

This room may import `compat`, `errors`, `conventions`, `symbols` and `system` alone.
"""

from .facts import Facts, gather
from .rules import Finding, findings

__all__ = ["Facts", "Finding", "findings", "gather"]
