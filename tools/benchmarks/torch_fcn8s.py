"""FCN-8s in PyTorch, the same as this project's, to compare with: a training step, and scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict

import numpy as np

if TYPE_CHECKING:
    import torch

# Of the net of pad 100 and pooling that rounds down; `fcnxs benchmark train` checks the whole against ours.
CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each group, before its pooling
SKIPS = (("score2", "score_pool4", 3, 5), ("score4", "score_pool3", 2, 9))  # upsampling, score, pool, offset
UPSCORE_OFFSET = 31


def make_step(
    weights: Dict[str, np.ndarray], batch: Dict[str, np.ndarray], settings: dict, dropout: float = 0.5
) -> Callable[[], float]:
    """Step that trains the arrays of `weights` in place; it returns the mean loss over pixels that count."""
    import torch
    from torch.nn import functional

    params = {name: torch.from_numpy(array) for name, array in weights.items()}
    trained = [param.requires_grad_() for name, param in params.items() if name != "bigscore_weight"]
    optimizer = torch.optim.SGD(
        trained, settings["learning_rate"], settings["momentum"], weight_decay=settings["wd"]
    )
    data = torch.from_numpy(batch["data"])
    label = torch.from_numpy(batch["softmax_label"]).long()  # (1, H, W)
    counted = int((label != 255).sum())

    def step() -> float:
        optimizer.zero_grad()
        scores = _scores(params, data, dropout)
        total = functional.cross_entropy(scores, label, ignore_index=255, reduction="sum")
        (total / label.numel()).backward()  # as SoftmaxOutput: by H*W, whether the pixels count or not
        optimizer.step()
        return total.item() / counted

    return step


def load_fcn8s(file: Path) -> torch.nn.Module:
    """The net for inference, of images (1, 3, H, W), with the weights of a safetensors file."""
    import torch
    from safetensors.torch import load_file

    class FCN8s(torch.nn.Module):
        def __init__(self, weights: Dict[str, torch.Tensor]) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterDict(weights)

        def forward(self, data: torch.Tensor) -> torch.Tensor:
            return _scores(self.weights, data, dropout=0)

    return FCN8s(load_file(file)).eval().requires_grad_(False)


def _scores(params: dict, data: object, dropout: float) -> object:
    """Scores (1, C, H, W) before the softmax."""
    from torch.nn import functional

    def conv(x: object, name: str, pad: int = 0) -> object:
        return functional.conv2d(x, params[f"{name}_weight"], params[f"{name}_bias"], padding=pad)

    def up(x: object, name: str, stride: int) -> object:
        weight = params[f"{name}_weight"]
        return functional.conv_transpose2d(x, weight, stride=stride, output_padding=stride - 1)

    def crop(x: object, like: object, offset: int) -> object:
        height, width = like.shape[2:]
        return x[:, :, offset : offset + height, offset : offset + width]

    x, pools = data, []
    for group, layers in enumerate(CONVOLUTIONS, 1):
        for layer in range(1, layers + 1):
            x = functional.relu(conv(x, f"conv{group}_{layer}", 100 if (group, layer) == (1, 1) else 1))
        x = functional.max_pool2d(x, 2)
        pools.append(x)
    for name in ("fc6", "fc7"):
        x = functional.dropout(functional.relu(conv(x, name)), dropout)
    x = conv(x, "score")
    for name, score, pool, offset in SKIPS:
        x = up(x, name, 2)
        x = x + crop(conv(pools[pool], score), x, offset)
    return crop(up(x, "bigscore", 8), data, UPSCORE_OFFSET)
