"""The texts, tables and pictures of `fcnxs explain`.

Begin with `answers.py`, which answers questions about a net with numbers; `reasons.py` explains its design.
`layer_tables.py` prints the layers, `derivations.py` the crop offsets, and `draw.py` draws the net.

This room may import `symbols` and `shared/`, but no command.
"""
