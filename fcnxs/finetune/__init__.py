"""Staged finetuning: FCN-32s from VGG-16, FCN-16s from FCN-32s, FCN-8s from FCN-16s (FCN paper, section 4.2).

Begin with `staged.py`: stages of epochs (`epochs.py`) of steps (`Solver.step`). `context.py` is what a run
carries along, `state.py` what it resumes from. `listener.py` is told what happens; `run_log.py` and
`tensorboard.py` are listeners that write it down.

This room may import `solver`, `data` and what is below them; not `deploy`.
"""

from .context import StoppedError
from .staged import finetune, make_solver

__all__ = ["StoppedError", "finetune", "make_solver"]
