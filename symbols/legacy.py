"""Symbols saved by early versions of MXNet and of the original example (2015 and 2016).

**Rounding.** MXNet's Pooling rounded sizes up from its first version until 8 July 2016 (apache/mxnet commit
5532511e1c), and has rounded them down since. The example's nets of that time fit every size only if poolings
round up; on 31 October 2016 it got `adj`, which makes up for rounding down. Until version 0.9, MXNet wrote
every setting that it knew, with its value, and no version, so a file tells when it was written: Deconvolution
got `adj` on 18 June 2016 (7cb047464b), Convolution `cudnn_off` on 14 September (ef68dae124), Pooling
`pooling_convention` on 20 October (8e1e7f0c9f). Files from between, and those that a later version saved again,
leave the rounding open.

**Names and inputs.** The first FCN-32s calls its last layers fc8, deconv8 and crop8. In December 2015, Crop
did not count its inputs yet.
"""

from __future__ import annotations

import json
from typing import Collection, Dict, List, NamedTuple, Tuple

from ..compat import mxnet as mx
from ..errors import FCNXSError, last_line
from .graph.nodes import WITH_VERSION, Entry, Graph, Node, flag, has, setting
from .graph.rewrite import Writer
from .graph.trust import check

FIRST_NAMES = {"fc8": "score", "deconv8": "bigscore", "crop8": "upscore"}
OPEN = (
    "does not say whether its poolings round sizes up, as in MXNet until July 2016, or down, as since; read as "
    "rounding up (pooling_convention='valid', in commands --pooling-convention valid: down)"
)


class Reading(NamedTuple):
    """How a saved symbol is read.

    Attributes:
        symbol: the net; the saved symbol itself if it needs no change.
        names: new names of layers and parameters, by those that the file has.
        notes: what was changed, a sentence for each.
        open: whether the file leaves open how its poolings round, and a default was taken.
    """

    symbol: mx.sym.Symbol
    names: Dict[str, str]
    notes: List[str]
    open: bool


def load(text: str, operators: Collection[str] = ()) -> mx.sym.Symbol:
    """Symbol of a file's JSON, which MXNet gets as `loadable` writes it; arguments as there.

    Raises:
        FCNXSError: as `loadable`, or MXNet refuses the graph.
    """
    try:
        return mx.sym.load_json(loadable(text, operators))
    except (mx.MXNetError, UnicodeError) as error:
        raise FCNXSError(f"MXNet cannot load this symbol: {last_line(error)}") from None


def loadable(text: str, operators: Collection[str] = ()) -> str:
    """JSON of the same graph that this MXNet loads, written anew from what was checked.

    No key reaches MXNet that was not read. Every Crop has the number of its inputs.

    Args:
        text: JSON of a graph, of any version of MXNet.
        operators: operators that the graph may have besides those of `graph/operators.py`.

    Raises:
        FCNXSError: as `Graph.read` and `trust.check`.
    """
    graph = Graph.read(text)
    for node in graph.nodes:
        if node["op"] == "Crop":
            node["attrs"].setdefault("num_args", str(len(node["inputs"])))
    check(graph, operators)
    return json.dumps(graph.content, ensure_ascii=False)


def read(
    symbol: mx.sym.Symbol,
    file: Graph | None = None,
    pooling_convention: str | None = None,
    strict: bool = True,
) -> Reading:
    """Read a saved symbol as it was meant by the version that wrote it.

    Args:
        symbol: the symbol as MXNet loads it.
        file: graph of the file's text, which still has the version; None: the symbol's, of this MXNet.
        pooling_convention: 'full' or 'valid', where the file does not say how its poolings round.
        strict: refuse another `pooling_convention` than the file's; else the file's counts.

    Raises:
        FCNXSError: the file says another convention, or has layers by their first and by their later names.
    """
    graph = Graph.of(symbol, casts=True)
    names = _new_names(graph)
    convention, is_open = _rounding(file or graph, pooling_convention, strict)
    rounded = _poolings(graph) if convention == "full" else []
    short = [] if rounded or graph.rounds_up else _short(graph)
    if not names and not rounded and not short:
        return Reading(symbol, {}, [], False)
    writer = Writer()

    def changed(i: int, node: Node, inputs: List[Entry]) -> Entry | None:
        settings = {"pooling_convention": "full"} if i in rounded else {}
        if i in short:
            settings["adj"] = tuple(setting(node, "stride", axis, 1) - 1 for axis in (0, 1))
        return writer.copy(node, inputs, names.get(node["name"]), **settings)

    layers = {old: new for old, new in names.items() if old in FIRST_NAMES}
    notes = [f"The file names {', '.join(layers)} what is here {', '.join(layers.values())}."] if layers else []
    if rounded:
        why = "The poolings round sizes up, as in MXNet until July 2016."
        notes.append(f"The file {OPEN}." if is_open else why)
    if short:
        upsampled = " and ".join(graph.nodes[i]["name"] for i in short)
        notes.append(
            f"The file gives no adj to {upsampled}: here it has the one that fits poolings that round down."
        )
    return Reading(writer.symbol(writer.write(graph, changed)), names, notes, is_open)


def completed(symbol: mx.sym.Symbol, pooling_convention: str | None = None) -> mx.sym.Symbol:
    """The same net, running at every size that its layers take: the symbol of `read`.

    Where poolings round down and the last upsampling has no `adj`, it is smaller than the image at some sizes,
    and MXNet refuses to crop it: of the 65 sizes from 32 to 96, at 24 for FCN-32s, at 8 for FCN-16s, at none
    for FCN-8s. `adj` adds rows and columns at its end, which no score reaches and which hold what MXNet gives
    to such cells. At the other sizes the crop takes them off again: nothing changes.

    Returns:
        `symbol` itself where nothing is missing.
    """
    return read(symbol, None, pooling_convention).symbol


def _new_names(graph: Graph) -> Dict[str, str]:
    """Names of today for the layers and parameters of the first FCN-32s; none for other nets."""
    if "deconv8" not in graph.named("Deconvolution"):
        return {}
    found, there = {}, {node["name"] for node in graph.nodes}
    for node in graph.nodes:
        layer, _, kind = node["name"].partition("_") if node["op"] == "null" else (node["name"], "", "")
        if layer in FIRST_NAMES:
            found[node["name"]] = FIRST_NAMES[layer] + (f"_{kind}" if kind else "")
    for old, new in found.items():
        if new in there:
            raise FCNXSError(f"{old} is the first name of {new}, and the net has both; rename one of them")
    return found


def _rounding(file: Graph, asked: str | None, strict: bool) -> Tuple[str | None, bool]:
    """Convention to give to the poolings (None: leave them), and whether the file leaves it open."""
    if asked not in (None, "valid", "full"):
        raise FCNXSError(f"pooling_convention={asked!r}: expected 'valid' or 'full'")
    said, why = _said(file)
    if said is not None:
        if strict and asked not in (None, said):
            raise FCNXSError(
                f"pooling_convention {asked}: the symbol already sets how its poolings round ({said}: {why}); "
                "leave this option out"
            )
        return None, False
    upsampling = _settings(file, "Deconvolution")
    if asked or not upsampling:  # a classifier's image has a size that every pooling halves without a rest
        return asked, False
    if any("cudnn_off" in settings for settings in _settings(file, "Convolution")):
        return "valid", False
    return "full", file.version >= WITH_VERSION or any("adj" in settings for settings in upsampling)


def _said(file: Graph) -> Tuple[str | None, str]:
    """Convention that a file sets for its poolings, and by what; None if it sets none."""
    conventions = {file.nodes[i]["attrs"].get("pooling_convention") for i in _poolings(file)} - {None}
    if conventions:
        return ("valid" if conventions == {"valid"} else "full"), "it is written there"
    for node in file.nodes:
        if node["op"] == "Deconvolution" and (has(node, "adj") or has(node, "target_shape")):
            return "valid", f"{node['name']} has an adj or target_shape, which make up for rounding down"
    # Defaults that only versions before 0.9 wrote: a later version loaded an old file and saved it again.
    old = any("adj" in settings for settings in _settings(file, "Deconvolution"))
    old = old or any({"no_bias", "num_group"} <= settings.keys() for settings in _settings(file, "Convolution"))
    if file.version >= WITH_VERSION and not old:
        return "valid", f"MXNet {file.version // 10000}.{file.version // 100 % 100} wrote it"
    return None, ""


def _settings(file: Graph, op: str) -> List[Dict[str, str]]:
    return [node["attrs"] for node in file.nodes if node["op"] == op]


def _poolings(graph: Graph) -> List[int]:
    """Numbers of the poolings that round."""
    return [
        i for i, node in enumerate(graph.nodes) if node["op"] == "Pooling" and not flag(node, "global_pool")
    ]


def _short(graph: Graph) -> List[int]:
    """Numbers of the upsamplings that are cropped to the image and have no `adj`."""
    crops = [node["inputs"] for node in graph.nodes if node["op"] == "Crop" and len(node["inputs"]) == 2]
    cropped = {x[0]: graph.nodes[x[0]] for x, like in crops if graph.nodes[like[0]]["op"] == "null"}
    upsampled = {i: node for i, node in cropped.items() if node["op"] == "Deconvolution"}
    return [i for i, node in upsampled.items() if not has(node, "adj") and not has(node, "target_shape")]
