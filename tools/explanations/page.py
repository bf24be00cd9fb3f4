"""A page that draws a net and recomputes it as the reader changes its image, kernels, strides and pads.

The page has the net as data, and the arithmetic of `symbols/` again as a script, `net.js`.
"""

from __future__ import annotations

from importlib.resources import files
from math import prod
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from jinja2 import Environment, StrictUndefined

from ...errors import FCNXSError, shown
from ...symbols import Row
from ...symbols.graph.layer_sizes import joins_equals
from ...symbols.graph.maps import own_map
from ...symbols.graph.nodes import JOIN, SAME, Graph, Node, flag, has, image_inputs, setting, window
from ...system.files import written_whole
from ...system.own import refuse_strangers

SCRIPTS = ("net.js", "draw.js", "page.js")
MARK = b'<meta name="generator" content="fcnxs explain">'


def write_page(
    graph: Graph, name: str, size: Tuple[int, int], rows: Sequence[Row], file: Path, overwrite: bool = False
) -> None:
    """Write the page of a net; it contains all that it needs, and loads nothing.

    Args:
        size: rows and columns of the image.
        rows: result of `describe` for this size.
        overwrite: replace the file also if it is no result of ours.

    Raises:
        FCNXSError: the file's name does not end in .html, it is there and not ours, or it cannot be written.
    """
    if file.suffix.lower() not in (".html", ".htm"):
        raise FCNXSError(f"--html {file}: give the name of an HTML file, such as page.html")
    refuse_strangers([file], overwrite, _is_own)
    folder = files(__package__)
    html, *scripts = (folder.joinpath(each).read_text(encoding="utf-8") for each in ("page.html", *SCRIPTS))
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    net = {"name": shown(name), "size": size, "nodes": nodes_of(graph, size, rows)}
    page = environment.from_string(html).render(name=shown(name), net=net, script="\n".join(scripts))
    with written_whole(file) as (part,):
        part.write_text(page, encoding="utf-8")


def _is_own(file: Path) -> bool:
    with file.open("rb") as page:
        return MARK in page.read(4096)


def nodes_of(graph: Graph, size: Tuple[int, int], rows: Sequence[Row]) -> List[Dict[str, Any]]:
    """The images, variables and layers of a graph in order, as `net.js` takes them."""
    described, images = dict(zip(graph.layers, rows)), graph.image_shapes(size)
    inputs = {i: image_inputs(graph.nodes[i]) for i in graph.layers}
    used = {j for i in graph.layers for j in (*inputs[i], *_like(graph.nodes[i]))} | {*described, *graph.images}
    place = {i: number for number, i in enumerate(sorted(used))}
    found = []
    for i in sorted(used):
        node, row = graph.nodes[i], described.get(i)
        given: Dict[str, Any] = {"name": shown(node["name"]), "op": node["op"], "shape": None, "base": 0}
        if row is None:
            given.update(kind="image" if i in graph.images else "variable", shape=images.get(node["name"]))
        else:
            given.update(_layer(node, row), shape=row.shape)
            given["from"] = [place[j] for j in inputs[i]]
            source = described.get(inputs[i][0]) if inputs[i] else None
            given.update(_parameters(node, row, given["kind"], source))
            like = [place[j] for j in _like(node)]
            if like:
                given["like"] = like[0] if given["kind"] == "crop" else like
        found.append(given)
    return found


def _like(node: Node) -> List[int]:
    """Nodes whose rows and columns a crop takes; slice_like takes only those of its axes."""
    inputs = [entry[0] for entry in node["inputs"]]
    if node["op"] == "Crop" and len(inputs) == 2:
        return [inputs[1], inputs[1]]
    if node["op"] != "slice_like":
        return []
    axes = [each.strip() for each in node["attrs"].get("axes", "()").strip("()").split(",")]
    return [inputs[1] if axes == [""] or str(axis) in axes else inputs[0] for axis in (2, 3)]


def _layer(node: Node, row: Row) -> Dict[str, Any]:
    """Kind and settings of a layer; `kind` says how its sizes follow from those of its inputs."""
    op, pair = node["op"], lambda key, default: [setting(node, key, axis, default) for axis in (0, 1)]
    known = {"identity": own_map(node, 0) == (1, 0) and (op in SAME or op in JOIN)}
    if op in ("Convolution", "Pooling", "Deconvolution") and not flag(node, "global_pool"):
        if has(node, "target_shape"):
            return {"kind": "fixed", "size": pair("target_shape", 0)}
        windows = [window(node, axis) for axis in (0, 1)]
        keys = {"kernel": pair("kernel", 1), "dilate": pair("dilate", 1)}
        keys.update(stride=[each[1] for each in windows], pad=[each[2] for each in windows])
        if op == "Deconvolution":
            return {"kind": "deconvolution", **keys, "adj": pair("adj", 0)}
        convention = node["attrs"].get("pooling_convention", "valid") if op == "Pooling" else "valid"
        return {"kind": op.lower(), **keys, "round": {"valid": "floor", "full": "ceil"}.get(convention)}
    if op == "Pooling":
        return {"kind": "fixed", "size": [1, 1]}
    if op == "Crop":
        offset = {} if flag(node, "center_crop") else {"offset": pair("offset", 0)}
        if len(node["inputs"]) == 2:
            return {"kind": "like"} if not offset else {"kind": "crop", "given": offset["offset"]}
        return {"kind": "fixed", "size": [each or None for each in pair("h_w", 0)], **offset}
    if op == "slice_like":
        return {"kind": "like", **known}
    if op in JOIN:
        return {"kind": "join" if known["identity"] else "unknown", "equal": joins_equals(node), **known}
    if op == "argmax" and node["attrs"].get("axis") != "1":
        return {"kind": "unknown", **known}
    if op in SAME:
        return {"kind": "same", "everywhere": op == "InstanceNorm", **known}
    if op == "UpSampling":
        return {"kind": "upsampling", "scale": int(node["attrs"]["scale"])}
    dense = op == "FullyConnected" and node["attrs"].get("flatten", "True").lower() in ("true", "1")
    return {"kind": "dense" if dense else "flatten" if op == "Flatten" else "unknown"}


def _parameters(node: Node, row: Row, kind: str, source: Row | None) -> Dict[str, int]:
    """Weights for each cell of the kernel, or each input of a dense layer, and `base`: the rest, as biases."""
    if kind == "dense":
        cells = prod(source.shape[1:]) if source is not None and source.shape else 0
    else:
        cells = setting(node, "kernel", 0, 1) * setting(node, "kernel", 1, 1) if row.kernel is not None else 0
    no_bias = flag(node, "no_bias") if "no_bias" in node["attrs"] else row.op == "Deconvolution"  # as MXNet
    biases = min(row.shape[1], row.parameters) if cells and row.shape and not no_bias else 0
    if not cells or (row.parameters - biases) % cells:
        return {"base": row.parameters}
    return {"base": biases, "unit": (row.parameters - biases) // cells}
