"""Write nets for ncnn: the layers as text (PREFIX.param), and their weights (PREFIX.bin).

A line of the text is a layer: its type, its name, how many inputs and outputs it has, their names, and its
settings as NUMBER=VALUE. The numbers mean something else for each type (`ncnn_layers.py`).

Source: Tencent/ncnn docs/developer-guide/param-and-model-file-structure.md, src/paramdict.cpp and modelbin.cpp.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from ..net import Net
from .form import Form
from .ncnn_layers import Layer, translated

MAGIC = 7767517


def write_ncnn(net: Net, form: Form, param: Path, weights: Path) -> None:
    """Write a net to ncnn's two files. Its input is `data` (3, H, W), its outputs have the form's names.

    Args:
        net: the net to write, from `with_ends`.

    Raises:
        FCNXSError: ncnn cannot compute a layer, which the message names.
    """
    layers, ends = translated(net, form.size)
    names = dict(zip(ends, form.outputs))
    layers = [layer._replace(name=names.get(layer.name, layer.name)) for layer in layers]
    param.write_text(_text(layers), encoding="utf-8")
    with weights.open("wb") as stream:
        for array in (array for layer in layers for array in layer.weights):
            stream.write(np.ascontiguousarray(array, "<f4"))


def _text(layers: List[Layer]) -> str:
    """Text of the layers. An output has one reader; a `Split` hands on one that has more."""
    readers = [name for layer in layers for name in layer.inputs]
    copies = {name: [f"{name}_splitncnn_{i}" for i in range(readers.count(name))] for name in readers}
    left = {name: iter(names) for name, names in copies.items()}
    lines: List[str] = []
    outputs: List[str] = []
    for layer in layers:
        inputs = [next(left[name]) if len(copies[name]) > 1 else name for name in layer.inputs]
        lines.append(_line(layer.kind, layer.name, inputs, [layer.name], layer.settings))
        outputs.append(layer.name)
        if len(copies.get(layer.name, ())) > 1:
            lines.append(_line("Split", f"{layer.name}_split", [layer.name], copies[layer.name], {}))
            outputs += copies[layer.name]
    return "\n".join([str(MAGIC), f"{len(lines)} {len(outputs)}", *lines, ""])


def _line(kind: str, name: str, inputs: List[str], outputs: List[str], settings: Dict[int, Any]) -> str:
    words = [len(inputs), len(outputs), *inputs, *outputs, *(_setting(*each) for each in settings.items())]
    return f"{kind:<22} {name:<22} {' '.join(map(str, words))}"


def _setting(number: int, value: Any) -> str:  # noqa: ANN401
    if isinstance(value, list):
        return f"{-23300 - number}={','.join(map(str, [len(value), *value]))}"
    # ncnn reads 15 characters of a number, and a number without a point as an integer.
    return f"{number}={value:.8e}" if isinstance(value, float) else f"{number}={value}"
