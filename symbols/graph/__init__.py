"""Graphs of any net: how to read and write them, and the sizes, maps and receptive fields of their layers.

Begin with `nodes.py`, which reads a graph, and `maps.py`, which finds the coordinate map of each layer.
`layer_sizes.py` is about rows and columns, `reach.py` about receptive fields; `describe.py` and `crops.py`
explain a net; `rewrite.py` writes a graph, and has small changes that several rooms need. `trust.py` checks
the graph of a file before MXNet sees it, by the table in `operators.py`.

This room may import `coord_map`, but neither the nets nor `trimming/`.
"""
