"""What is seen while a net trains: a bar for each epoch on a terminal, and a line for each in any case."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Dict

from tqdm import tqdm

from ..stages import Stage


class Progress:
    """Callbacks of `fcnxs.finetune.finetune`."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.bar: tqdm | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def step(self, stage: Stage, epoch: int, step: int, loss: float) -> None:
        """Show a step and its loss."""
        if self.bar is None:
            title = f"{stage.name} epoch {epoch}/{stage.epochs}"
            hidden = not sys.stderr.isatty()
            self.bar = tqdm(total=self.steps, desc=title, unit="image", leave=False, disable=hidden)
        self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.bar.update()

    def epoch(self, record: Dict[str, Any]) -> None:
        """Print what an epoch came to."""
        self._close()
        line = f"{record['stage']} epoch {record['epoch']}: train loss {record['train_loss']:.4f}"
        if record["pixel_accuracy"] is not None:
            line += (
                f", val loss {record['val_loss']:.4f}, pixel acc. {record['pixel_accuracy']:.4f}, "
                f"mean acc. {record['mean_accuracy']:.4f}, mean IU {record['mean_iu']:.4f}, "
                f"f.w. IU {record['frequency_weighted_iu']:.4f}"
            )
        print(f"{line} ({record['seconds']} s)", flush=True)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
