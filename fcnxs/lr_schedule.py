"""Learning rates that change during a stage: a schedule for MXNet's optimizers."""

from __future__ import annotations

import math
from typing import Callable, Dict

from .compat import mxnet as mx
from .errors import FCNXSError
from .stages import SCHEDULES, Stage

# Factor of the learning rate after a part of the steps, from 0 to below 1.
_FACTORS: Dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "poly": lambda done: (1 - done) ** 0.9,  # Chen et al., DeepLab (2018), section 4.1.1
    "step": lambda done: 0.1 ** ((done >= 0.5) + (done >= 0.75)),
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,  # Loshchilov and Hutter, SGDR (2017), equation 5
}


class Schedule(mx.lr_scheduler.LRScheduler):
    """A schedule of MXNet's for a known number of steps; it depends on the step's number alone.

    In the first `warmup` steps the rate rises linearly to `base_lr`; behind them it falls: "poly" by a power of
    0.9 and "cosine" by half a cosine, to nearly 0; "step" to a tenth after half and to a hundredth after three
    quarters of these steps. "constant" stays at `base_lr`.

    >>> schedule = Schedule("poly", steps=4, base_lr=1.0, warmup=2)
    >>> [round(schedule(step), 4) for step in (1, 2, 3, 4)]  # MXNet counts steps from 1
    [0.5, 1.0, 1.0, 0.5359]

    Raises:
        FCNXSError: there is no such schedule, or the warm-up is not shorter than all steps.
    """

    def __init__(self, name: str, steps: int, base_lr: float, warmup: int = 0) -> None:
        if name not in SCHEDULES:
            raise FCNXSError(f"schedule {name!r}: expected one of {', '.join(SCHEDULES)}")
        if not 0 <= warmup < steps:
            raise FCNXSError(
                f"warm-up of {warmup} steps: there are {steps} steps in all; give fewer, 0 or more"
            )
        super().__init__(base_lr)
        self.name, self.steps, self.warmup = name, steps, warmup

    def __call__(self, num_update: int) -> float:
        """Learning rate of a step, counted from 1; behind the last step that of the last."""
        if num_update <= self.warmup:
            return self.base_lr * max(num_update, 1) / self.warmup
        done = min(max(num_update, 1), self.steps) - 1 - self.warmup
        return self.base_lr * _FACTORS[self.name](done / (self.steps - self.warmup))


def schedule_of(stage: Stage, steps: int | None) -> Schedule | None:
    """Schedule of a stage of so many steps; None if its rate does not change.

    Raises:
        FCNXSError: `steps` is None although the rate changes; or as `Schedule`, with the stage's name.
    """
    if (stage.schedule, stage.warmup) == ("constant", 0):
        return None
    if steps is None:
        raise FCNXSError(f"{stage.name}: the schedule {stage.schedule!r} needs the number of steps")
    try:
        return Schedule(stage.schedule, steps, stage.learning_rate, stage.warmup)
    except FCNXSError as error:
        raise FCNXSError(f"{stage.name}: {error}") from None
