"""Training and evaluation of one net through MXNet's executor, on one device or several.

Begin with `solver.py`, whose `step` is the whole of a training step. `replica.py` is the net on one device,
`executors.py` binds it for images of each size, or trains it in less memory, `collective.py` sums gradients
over devices and machines.

This room may import `data` and what is below it; neither `predict` nor `convert`.
"""

from .solver import BatchEndParam, Solver

__all__ = ["BatchEndParam", "Solver"]
