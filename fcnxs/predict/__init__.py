"""Class maps, probabilities and overlays of images of any size, from a checkpoint.

Begin with `segmenter.py`; `scoring.py` counts what it gets right. `inputs.py` takes images as people have them,
`multiscale.py` averages over scales. `within_memory.py` computes an image whole (`forward.py`, which trims the
net and estimates its memory) or in tiles (`tiling.py`, `subgraph.py`). `image_files.py` and `video_files.py`
write the results of files.

This room may import `data` and what is below it; neither `solver` nor `convert`. Segmenter is imported at its
first use: a server's handler needs `forward` alone, and has no OpenCV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List

if TYPE_CHECKING:
    from .scoring import evaluate
    from .segmenter import Segmenter

__all__ = ["Segmenter", "evaluate"]


def __getattr__(name: str) -> object:
    """Import `fcnxs.predict.Segmenter` or `fcnxs.predict.evaluate` at its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import scoring, segmenter

    return scoring.evaluate if name == "evaluate" else segmenter.Segmenter


def __dir__() -> List[str]:
    """Names of the room, with those that are imported at their first use."""
    return [*{*globals(), *__all__}]
