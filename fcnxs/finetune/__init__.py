"""Staged finetuning: FCN-32s from VGG-16, FCN-16s from FCN-32s, FCN-8s from FCN-16s (FCN paper, section 4.2).

Begin with `staged.py`: stages of epochs (`epochs.py`) of steps (`Solver.step`). All of them take one `Run`
(`run.py`), which resumes from a `State` (`state.py`); `run_folder.py` has its other files. A `Listener`
(`listener.py`) hears what happens: `run_log.py` and `tensorboard.py` write it down.

This room may import `solver`, `data` and the levels below them; not `deploy`.
"""

from .listener import Listener
from .nets import make_solver
from .run import Data, Output, Settings, StoppedError
from .staged import finetune

__all__ = ["Data", "Listener", "Output", "Settings", "StoppedError", "finetune", "make_solver"]
